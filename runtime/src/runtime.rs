//! A runtime: its workers' threads, from the first to the last.

use std::convert::Infallible;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Config, RuntimeBuilder};
use crate::coroutine::control::Control;
use crate::coroutine::overflow::{self, AltStack, OverflowReport};
use crate::dump::{Dump, Stats};
use crate::poller::{Io, Poller};
use crate::scheduler::deque::Owner;
use crate::scheduler::remote::DEQUE;
use crate::scheduler::shared::Shared;
use crate::scheduler::wait::{self, Here};
use crate::scheduler::worker::Worker;
use crate::spawn::{Builder, JoinHandle};

/// Entries of a ring's submission queue. Small, so that the queues, which are
/// gone through from end to end, stay in the near caches; a full one goes to the
/// kernel at once.
const RING_ENTRIES: u32 = 256;

/// A scheduler with its workers.
///
/// Most programs need none of their own: [`go!`](crate::go) and
/// [`run`](crate::run) start a process-wide one with one worker a core.
///
/// # Shutdown
///
/// Dropping a `Runtime` ends it in order. Coroutines that have not started are
/// dropped; the others are unwound, each on its own worker, at the next point
/// where it suspends, so that their destructors run; IO that the kernel still
/// has in hand is cancelled and waited for; then the threads are joined. A join
/// of such a coroutine gives [`JoinError::Cancelled`](crate::JoinError). The
/// drop waits for a coroutine that computes without ever suspending;
/// [`Runtime::shutdown_timeout`] does not. Dropped from within one of its own
/// coroutines a runtime cannot wait for itself: it is told to stop and ends
/// later.
///
/// A coroutine that catches the unwinding and goes on is unwound again where it
/// suspends next. One that does so in an endless loop, or keeps the payload that
/// it caught, keeps its runtime from ending.
///
/// Under `panic = "abort"` nothing can be unwound. Coroutines that have started
/// then go on by themselves until they end, and the drop does not wait for them.
#[derive(Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Disconnected once every worker has ended.
    ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("config", &self.config)
            .finish()
    }
}

// A panic leaves nothing half done in a runtime: coroutines' panics end with them.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

/// Every runtime of the process, for dumps.
static RUNTIMES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

pub(crate) fn runtimes() -> Vec<Arc<Shared>> {
    let mut all = RUNTIMES.lock().unwrap_or_else(|e| e.into_inner());
    all.retain(|weak| weak.strong_count() > 0);
    all.iter().filter_map(Weak::upgrade).collect()
}

impl Runtime {
    /// A runtime with the defaults.
    ///
    /// # Errors
    ///
    /// See [`RuntimeBuilder::build`].
    pub fn new() -> io::Result<Runtime> {
        Runtime::builder().build()
    }

    /// Configures a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    pub(crate) fn start(config: Config) -> io::Result<Runtime> {
        overflow::install(who_overflowed);
        let (shared, deques) = Shared::new(config)?;
        let (end, ended) = mpsc::channel();
        let mut runtime = Runtime {
            shared,
            threads: Vec::new(),
            ended: Mutex::new(ended),
        };
        let cores = if runtime.shared.config.pin {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            Vec::new()
        };
        let (ready, started) = mpsc::channel();
        let workers = deques.len();
        for (index, deque) in deques.into_iter().enumerate() {
            let shared = runtime.shared.clone();
            let ready = ready.clone();
            let core = cores.get(index % cores.len().max(1)).copied();
            let end = end.clone();
            let thread = thread::Builder::new()
                .name(format!("{}-{index}", shared.config.thread_name))
                .spawn(move || {
                    let _end = end;
                    work(index, shared, deque, core, ready);
                });
            let thread = match thread {
                Ok(thread) => thread,
                Err(e) => {
                    // The others would wait for these before they end.
                    for _ in index..workers {
                        runtime.shared.one_more_stops();
                    }
                    return Err(e);
                }
            };
            runtime.threads.push(thread);
        }
        drop(ready);
        for _ in 0..workers {
            // A worker that fails says so; `runtime`'s drop ends the others.
            match started.recv() {
                Ok(result) => result?,
                Err(_) => return Err(io::Error::other("a worker's thread ended as it started")),
            }
        }
        RUNTIMES
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(Arc::downgrade(&runtime.shared));
        Ok(runtime)
    }

    /// Runs `f` in a coroutine of this runtime and waits for it: a plain thread
    /// blocks, a coroutine suspends.
    ///
    /// `f` may borrow, as the call does not return, nor unwind, before it has
    /// ended; even a shutdown waits for it here. Other coroutines go on when
    /// `run` returns.
    ///
    /// # Panics
    ///
    /// With `f`'s panic if it panics; and if `f` cannot run because there is no
    /// stack to be had or the runtime is being shut down.
    ///
    /// # Cancellation
    ///
    /// Where the waiting coroutine is cancelled, or a timeout is to cut it short,
    /// `f` is asked to end as well, and the waiting one unwound from here once `f`
    /// has been. A shutdown of its own runtime unwinds it from here, too, but
    /// leaves an `f` that runs on another one to go on to its end. In a destructor
    /// that an unwinding runs, `f` runs in the coroutine itself.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        run_on(&self.shared, f)
    }

    /// Spawns a coroutine on this runtime, from anywhere.
    ///
    /// # Panics
    ///
    /// If it cannot be had; see [`Builder::spawn`].
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(Builder::new(), f)
            .unwrap_or_else(|e| panic!("Runtime::spawn: {e}"))
    }

    /// Spawns a coroutine on this runtime with a name or a stack size.
    ///
    /// # Errors
    ///
    /// See [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_with<F, T>(&self, builder: Builder, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: everything is 'static.
        unsafe { builder.spawn_unchecked_on(&self.shared, f) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether the caller runs on one of its workers, and so cannot wait for it.
    fn is_around_the_caller(&self) -> bool {
        // SAFETY: a worker's pointer is only set while it lives, on its thread.
        let worker = unsafe { wait::worker().as_ref() };
        worker.is_some_and(|worker| Arc::ptr_eq(&worker.shared, &self.shared))
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.shared.remotes.len()
    }

    /// Which poller it uses; never [`Io::Auto`].
    pub fn io(&self) -> Io {
        self.shared.io.get().copied().unwrap_or_default()
    }

    /// Its coroutines and workers.
    pub fn dump(&self) -> Dump {
        Dump::of(vec![self.shared.clone()])
    }

    /// Its workers' counters.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared)
    }

    /// Shuts down, but waits no longer than `timeout`. True: everything has
    /// ended. False: some coroutine has not suspended in that time; its worker
    /// ends when it does. Within one of its own coroutines that is so at once.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> bool {
        self.shared.stop();
        if self.is_around_the_caller() {
            return false;
        }
        let Some(end) = Instant::now().checked_add(timeout) else {
            drop(self);
            return true;
        };
        let left = end.saturating_duration_since(Instant::now());
        let all = self.ended.get_mut().unwrap_or_else(|e| e.into_inner());
        if all.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
            // They end on their own; to drop the runtime would be to wait for them.
            self.threads.clear();
            return false;
        }
        true
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.shared.stop();
        if self.is_around_the_caller() || cfg!(panic = "abort") {
            return;
        }
        for thread in self.threads.drain(..) {
            // A worker's thread does not panic; if it did, std has told.
            let _ = thread.join();
        }
    }
}

/// The life of a worker's thread.
fn work(
    index: usize,
    shared: Arc<Shared>,
    deque: Owner<Control, DEQUE>,
    core: Option<core_affinity::CoreId>,
    ready: mpsc::Sender<io::Result<()>>,
) {
    if shared.config.pin && !core.is_some_and(core_affinity::set_for_current) {
        log::warn!("worker {index} could not be pinned to a core and runs on any");
    }
    let set_up = || {
        let alt_stack = AltStack::for_this_thread()?;
        Ok((alt_stack, Poller::new(shared.config.io, RING_ENTRIES)?))
    };
    let (_alt_stack, poller) = match set_up() {
        Ok(parts) => parts,
        Err(e) => {
            // The others wait for every worker before they end.
            shared.one_more_stops();
            let _ = ready.send(Err(e));
            return;
        }
    };
    let _ = shared.io.set(poller.io());
    let _ = shared.remotes[index].waker.set(poller.waker());
    let worker = Worker::new(index, shared, deque, poller);
    // SAFETY: neither moves any more; `worker` is dropped at the end of this
    // function, on this thread.
    unsafe { worker.blocks.adopt() };
    if let Err(e) = worker.make_reserve() {
        worker.shared.one_more_stops();
        let _ = ready.send(Err(e));
        return;
    }
    wait::set_worker(&worker);
    let _ = ready.send(Ok(()));
    drop(ready);
    worker.run();
    worker.drop_reserve();
    wait::set_worker(std::ptr::null());
}

static DEFAULT: OnceLock<Runtime> = OnceLock::new();

/// The process-wide runtime, if anything has started it.
pub(crate) fn started_default() -> Option<&'static Runtime> {
    DEFAULT.get()
}

/// The process-wide runtime.
pub(crate) fn default_runtime() -> io::Result<&'static Runtime> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    let runtime = Runtime::new()?;
    Ok(DEFAULT.get_or_init(|| runtime))
}

/// Runs `f` in a coroutine and waits for it: on the current runtime inside a
/// coroutine, else on the process-wide one, which the first use starts.
///
/// ```
/// let sum = filature::run(|| {
///     let a = filature::spawn(|| 20);
///     let b = filature::spawn(|| 22);
///     a.join().unwrap() + b.join().unwrap()
/// });
/// assert_eq!(sum, 42);
/// ```
///
/// # Panics
///
/// As [`Runtime::run`], and if the process-wide runtime cannot be started, for
/// instance because an environment variable has a bad value.
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    if let Some(worker) = unsafe { wait::worker().as_ref() } {
        return run_on(&worker.shared, f);
    }
    match default_runtime() {
        Ok(runtime) => runtime.run(f),
        Err(e) => panic!("the process-wide runtime cannot be started: {e}"),
    }
}

#[track_caller]
fn run_on<F, T>(shared: &Arc<Shared>, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let here = wait::here().filter(|here| Arc::ptr_eq(&here.worker().shared, shared));
    let is_destructor = |here: Here| here.is_unwinding() || thread::panicking();
    if here.is_some_and(is_destructor) {
        // A shutdown starts nothing any more, may come at any moment, and must not
        // fail a destructor.
        return f();
    }
    // SAFETY: `join_masked` neither returns nor unwinds before `f` has ended and
    // its result is here.
    let handle = unsafe { Builder::new().spawn_unchecked_on(shared, f) };
    match handle.map(JoinHandle::join_masked) {
        Ok(Ok(value)) => value,
        Ok(Err(e)) => match e.into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            // Had a shutdown unwound `f` that is the caller's too, the join would
            // have unwound the caller.
            Err(e) => panic!("run: {e}"),
        },
        Err(e) => panic!("run: {e}"),
    }
}

/// In the signal handler: whether the fault at `address` is in the guard of the
/// coroutine that runs on this thread.
fn who_overflowed(address: usize) -> Option<OverflowReport> {
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    let worker = unsafe { wait::worker().as_ref() }?;
    let control: NonNull<Control> = worker.running()?;
    // SAFETY: it runs on this thread at this moment.
    let control = unsafe { control.as_ref() };
    // SAFETY: set by `run_on` to the fiber that it runs on, or null.
    let fiber = unsafe { control.fiber.get().as_ref() }?;
    if !fiber.guard.contains(&address) {
        return None;
    }
    let site = control.site()?;
    Some(OverflowReport {
        id: control.id(),
        // SAFETY: the reference is leaked, so the name stays; the process is
        // about to end.
        name: control
            .try_name()
            .map(|name| unsafe { &*Arc::into_raw(name) }),
        stack_size: fiber.size,
        file: site.file(),
        line: site.line(),
        column: site.column(),
    })
}
