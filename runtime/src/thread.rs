//! Plain threads that wait: each blocks on a parker of its own.

use std::cell::{Cell, OnceCell};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::Parker;

use crate::coroutine::claim::Claim;
use crate::scheduler::worker::next_id;
use crate::time;

/// A thread as [`crate::current`] shows it, with its permit for
/// [`crate::park`].
#[derive(Debug)]
pub(crate) struct ThreadHandle {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    permit: Mutex<bool>,
    given: Condvar,
}

thread_local! {
    /// 0 until it is asked for. Has no destructor, so it is there for as long as
    /// the thread.
    static ID: Cell<u64> = const { Cell::new(0) };
    static PARKER: Parker = Parker::new();
    static HANDLE: OnceCell<Arc<ThreadHandle>> = const { OnceCell::new() };
    static WAIT: Arc<ThreadWait> = Arc::default();
}

/// The current thread's number, which no other thread or coroutine ever has.
pub(crate) fn id() -> u64 {
    if ID.get() == 0 {
        ID.set(next_id());
    }
    ID.get()
}

/// A thread as one that waits in the queue of a lock or a channel. It waits in
/// one call at a time, so it has one of these.
#[derive(Default)]
pub(crate) struct ThreadWait {
    pub(crate) claim: Claim,
    ended: Mutex<bool>,
    told: Condvar,
}

/// The current thread's.
pub(crate) fn waiter() -> Arc<ThreadWait> {
    // The thread ends and its locals are gone: one for this call.
    WAIT.try_with(Arc::clone).unwrap_or_default()
}

impl ThreadWait {
    /// Begins a wait.
    pub(crate) fn open(&self) {
        *self.ended() = false;
        self.claim.open();
    }

    /// Blocks until whoever took the claim has said so; false if the deadline
    /// passed before.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut ended = self.ended();
        while !*ended {
            ended = match deadline {
                None => self.told.wait(ended).unwrap_or_else(|e| e.into_inner()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.told
                        .wait_timeout(ended, left)
                        .unwrap_or_else(|e| e.into_inner())
                        .0
                }
            };
        }
        true
    }

    /// For whoever took the claim: the wait is over.
    pub(crate) fn end(&self) {
        *self.ended() = true;
        self.told.notify_one();
    }

    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Blocks the thread until `done`, of which whoever makes it so tells the
/// unparker that `register` is given, or until the deadline has passed. `register`
/// says whether there is anything to wait for.
pub(crate) fn block_until(
    deadline: Option<Instant>,
    register: impl FnOnce(crossbeam_utils::sync::Unparker) -> bool,
    done: impl Fn() -> bool,
) {
    let wait = |parker: &Parker| {
        if register(parker.unparker().clone()) {
            while !done() && deadline.is_none_or(|at| Instant::now() < at) {
                match deadline {
                    None => parker.park(),
                    Some(deadline) => parker.park_deadline(deadline),
                }
            }
        }
    };
    let mut wait = Some(wait);
    let waited = PARKER.try_with(|parker| (wait.take().expect("called once"))(parker));
    if waited.is_err() {
        // The thread ends and its locals are gone.
        (wait.take().expect("not called yet"))(&Parker::new());
    }
}

/// Blocks the thread until that moment, or for ever.
pub(crate) fn sleep_until(moment: Option<Instant>) {
    // The longest that std sleeps at once.
    let longest = Duration::MAX;
    loop {
        let limit = time::thread::limit(moment);
        let left = limit.map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        std::thread::sleep(left);
        time::thread::unwind_if_due();
        if moment.is_some_and(|at| at <= Instant::now()) {
            return;
        }
    }
}

impl ThreadHandle {
    pub(crate) fn current() -> Arc<ThreadHandle> {
        let make = || {
            Arc::new(ThreadHandle {
                id: id(),
                name: std::thread::current().name().map(String::from),
                permit: Mutex::new(false),
                given: Condvar::new(),
            })
        };
        HANDLE
            .try_with(|handle| handle.get_or_init(make).clone())
            .unwrap_or_else(|_| make())
    }

    pub(crate) fn unpark(&self) {
        *self.permit.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.given.notify_all();
    }

    pub(crate) fn park(&self, deadline: Option<Instant>) {
        if !self.wait(time::thread::limit(deadline)) {
            time::thread::unwind_if_due();
        }
    }

    /// Whether there was a permit in time; it is used up.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut permit = self.permit.lock().unwrap_or_else(|e| e.into_inner());
        while !*permit {
            permit = match deadline {
                None => self.given.wait(permit).unwrap_or_else(|e| e.into_inner()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.given
                        .wait_timeout(permit, left)
                        .unwrap_or_else(|e| e.into_inner())
                        .0
                }
            };
        }
        *permit = false;
        true
    }
}
