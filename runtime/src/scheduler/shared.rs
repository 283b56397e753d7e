//! What the workers of one runtime share.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::coroutine::control::Control;
use crate::coroutine::outcome::JoinError;
use crate::coroutine::stack::StackPool;
use crate::facade::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::poller::Io;
use crate::scheduler::cancel::Letter;
use crate::scheduler::deque::{Owner, deque};
use crate::scheduler::idle::Idle;
use crate::scheduler::injector::Injector;
use crate::scheduler::remote::{DEQUE, Remote};
use crate::scheduler::requests::Requests;
use crate::scheduler::start;

pub(crate) struct Shared {
    /// Never used again by another runtime of the process.
    pub(crate) id: u64,
    pub(crate) config: Config,
    pub(crate) remotes: Box<[Remote]>,
    pub(crate) injector: Injector<Control>,
    pub(crate) idle: Idle,
    pub(crate) stacks: Arc<StackPool>,
    /// Of all workers' clocks.
    epoch: Instant,
    pub(crate) cancels: Requests<Letter>,
    stopping: AtomicBool,
    /// Workers that have taken notice, and so hand nothing over any more.
    stopped: AtomicUsize,
    /// What the first worker's poller turned out to be.
    pub(crate) io: std::sync::OnceLock<Io>,
    /// Whether a worker that waits for another may spin: there is a core for
    /// each.
    pub(crate) may_spin: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Shared {
    /// The shared part and the owners' ends of the workers' deques.
    pub(crate) fn new(config: Config) -> io::Result<(Arc<Shared>, Vec<Owner<Control, DEQUE>>)> {
        let stacks = StackPool::new(config.guard)?;
        let workers = config.workers;
        let mut owners = Vec::with_capacity(workers);
        let shared = Arc::new_cyclic(|weak: &std::sync::Weak<Shared>| {
            let remotes = (0..workers)
                .map(|index| {
                    let (owner, stealer) = deque();
                    owners.push(owner);
                    Remote::new(index, stealer, weak.as_ptr())
                })
                .collect();
            Shared {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                remotes,
                injector: Injector::new(),
                idle: Idle::new(workers),
                stacks,
                epoch: Instant::now(),
                cancels: Requests::new(),
                stopping: AtomicBool::new(false),
                stopped: AtomicUsize::new(0),
                io: std::sync::OnceLock::new(),
                may_spin: workers > 1 && workers <= num_cpus::get(),
                config,
            }
        });
        Ok((shared, owners))
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// A deadline on the workers' clock.
    pub(crate) fn at(&self, deadline: Instant) -> u64 {
        let ns = deadline.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Takes an unstarted coroutine from any thread.
    pub(crate) fn inject(&self, coroutine: NonNull<Control>) {
        self.injector.push(coroutine);
        // Ordering: against the fence of a worker that goes to sleep, and
        // against `stop`.
        fence(Ordering::SeqCst);
        if self.is_stopping() {
            self.abandon_injected();
        } else {
            self.call_searcher(0);
        }
    }

    /// Wakes a sleeper to look for work unless somebody looks already. The
    /// caller has published the work and fenced.
    pub(crate) fn call_searcher(&self, from: usize) {
        if let Some(index) = self.idle.call_searcher(from) {
            self.remotes[index].wake();
        }
    }

    /// Whether the runtime is being shut down.
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        // Ordering: Acquire; the handshakes that need more fence themselves.
        self.stopping.load(Ordering::Acquire)
    }

    /// Begins the shutdown: the workers unwind what is left and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Ordering: the waker's half of the handshake in `idle`.
        fence(Ordering::SeqCst);
        self.wake_all();
    }

    pub(crate) fn wake_all(&self) {
        for remote in &self.remotes {
            self.idle.wake(remote.index);
            remote.wake();
        }
    }

    /// A worker has begun to wind up, or will never run. The last one wakes
    /// those that only wait for it.
    pub(crate) fn one_more_stops(&self) {
        // Ordering: AcqRel, so that who sees them all sees what they handed
        // over before.
        if self.stopped.fetch_add(1, Ordering::AcqRel) + 1 == self.remotes.len() {
            // Ordering: against the fence in `inject`: whoever injects after
            // the workers' last look at the injector sees that they stop.
            fence(Ordering::SeqCst);
            self.wake_all();
        }
    }

    pub(crate) fn all_are_stopping(&self) -> bool {
        // Ordering: Acquire pairs with the above.
        self.stopped.load(Ordering::Acquire) == self.remotes.len()
    }

    /// Ends what nobody will start any more.
    pub(crate) fn abandon_injected(&self) {
        while let Some(coroutine) = self.injector.pop() {
            // SAFETY: popped, so ours, and never started.
            unsafe { start::abandon(coroutine, JoinError::Cancelled) };
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.abandon_injected();
    }
}
