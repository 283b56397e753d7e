//! Spawning and joining.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{Location, RefUnwindSafe, UnwindSafe, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::cancel::CancelError;
use crate::coroutine::control::{Birth, Control, Ref, Waiter};
use crate::coroutine::exits::{Callback, JoinState};
use crate::coroutine::outcome::JoinError;
use crate::coroutine::slab;
use crate::coroutine::stack::{MAX_STACK_SIZE, MIN_STACK_SIZE};
use crate::current::Coroutine;
use crate::facade::Ordering;
use crate::runtime::default_runtime;
use crate::scheduler::cancel;
use crate::scheduler::shared::Shared;
use crate::scheduler::start::{self, discard_detached};
use crate::scheduler::wait::{self, Wait, Woken, here};
use crate::scheduler::worker::{Worker, next_id};
use crate::sync::finished::Ticket;
use crate::thread::block_until;
use crate::time;

/// Starts a coroutine: `go!(closure)` is [`spawn(closure)`](crate::spawn), and
/// `go!(builder, closure)` is [`Builder::spawn`] with its error made a panic.
///
/// ```
/// use filature::go;
/// # filature::run(|| {
/// let answer = go!(|| 6 * 7);
/// let named = go!(filature::Builder::new().name("worker"), || 1);
/// assert_eq!(answer.join().unwrap() + named.join().unwrap(), 43);
/// # });
/// ```
///
/// What is moved in must be `Send`, since another worker may start it:
///
/// ```compile_fail,E0277
/// let not_send = std::rc::Rc::new(1);
/// filature::go!(move || println!("{not_send}"));
/// ```
///
/// and must not borrow from the caller, who may be gone before it:
///
/// ```compile_fail,E0597
/// let local = String::from("gone");
/// let borrowed = &local;
/// filature::go!(move || println!("{borrowed}"));
/// ```
///
/// What it returns goes to another worker too:
///
/// ```compile_fail,E0277
/// filature::go!(|| std::rc::Rc::new(1));
/// ```
#[macro_export]
macro_rules! go {
    ($f:expr $(,)?) => {
        $crate::spawn($f)
    };
    ($builder:expr, $f:expr $(,)?) => {
        match $crate::Builder::spawn($builder, $f) {
            Ok(handle) => handle,
            Err(e) => panic!("go!: {e}"),
        }
    };
}

/// Spawns a coroutine: on the current runtime inside one, else on the
/// process-wide one, which the first use starts. Shaped as
/// [`std::thread::spawn`].
///
/// The coroutine may be started by any worker and is at home on that one from
/// then on: it never changes threads once it runs, so what it keeps in its
/// frames need not be `Send`.
///
/// # Panics
///
/// If it cannot be had; [`try_spawn`] returns an error instead.
#[inline]
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn(f) {
        Ok(handle) => handle,
        Err(e) => failed(e),
    }
}

#[cold]
#[track_caller]
fn failed(e: io::Error) -> ! {
    panic!("a coroutine cannot be spawned: {e}")
}

/// [`spawn`], with an error where a coroutine cannot be had.
///
/// # Errors
///
/// See [`Builder::spawn`].
#[inline]
#[track_caller]
pub fn try_spawn<F, T>(f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f)
}

/// Spawns a coroutine on the current worker. Neither the closure nor its result
/// need be `Send`: coroutines of one worker share `Rc` and `RefCell` without a
/// lock.
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// # filature::run(|| {
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let other = filature::spawn_local({
///     let seen = seen.clone();
///     move || seen.borrow_mut().push(1)
/// });
/// other.join().unwrap();
/// assert_eq!(*seen.borrow(), [1]);
/// # });
/// ```
///
/// A handle to a result that is not `Send` stays on the worker as well:
///
/// ```compile_fail,E0277
/// # filature::run(|| {
/// let local = filature::spawn_local(|| std::rc::Rc::new(1));
/// filature::spawn(move || local.join());
/// # });
/// ```
///
/// # Panics
///
/// Outside of a coroutine, since there is no current worker then, and where
/// [`Builder::spawn_local`] gives an error.
#[inline]
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    match Builder::new().spawn_local(f) {
        Ok(handle) => handle,
        Err(e) => failed(e),
    }
}

/// A coroutine's name and stack size, shaped as [`std::thread::Builder`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<Arc<str>>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, and the runtime's stack size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The name, for dumps, panics and overflows.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into());
        self
    }

    /// The size of the stack in bytes, its guard page not included, rounded up
    /// to whole pages: 16 KiB to 1 GiB. See
    /// [`RuntimeBuilder::stack_size`](crate::RuntimeBuilder::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// As [`spawn`](crate::spawn).
    ///
    /// A stack is only taken when the coroutine first runs, so a spawn can
    /// succeed and the start fail; the join then gives
    /// [`JoinError::NotStarted`], or, if nobody joins, the panic hook is told.
    /// Once that has happened, spawns give the error themselves until a stack
    /// is free again.
    ///
    /// # Errors
    ///
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory): no stack or control block
    ///   can be had; the message says which limit was hit.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the stack size is out of
    ///   range.
    /// - Outside of a coroutine, what
    ///   [`RuntimeBuilder::build`](crate::RuntimeBuilder::build) says if the
    ///   process-wide runtime cannot be started.
    #[inline]
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: a worker's pointer is only set while it lives, on its thread.
        if let Some(worker) = unsafe { wait::worker().as_ref() } {
            // SAFETY: everything is 'static, and Send.
            let made = unsafe { self.make(&worker.shared, Some(worker), f)? };
            worker.push_unstarted(made.control());
            return Ok(made);
        }
        // SAFETY: everything is 'static.
        unsafe { self.spawn_unchecked_on(default_runtime()?.shared(), f) }
    }

    /// As [`spawn_local`](crate::spawn_local).
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`], and
    /// [`Unsupported`](io::ErrorKind::Unsupported) outside of a coroutine.
    #[inline]
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        // SAFETY: a worker's pointer is only set while it lives, on its thread.
        let Some(worker) = (unsafe { wait::worker().as_ref() }) else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "spawn_local was called outside of a coroutine, where there is no current \
                 worker; call it inside filature::run, or use spawn",
            ));
        };
        // SAFETY: everything is 'static; the run queue never leaves the thread, and
        // nobody hands on what is marked local.
        let made = unsafe { self.make(&worker.shared, Some(worker), f)? };
        made.inner().local.set(true);
        worker.push_ready(made.control());
        Ok(made)
    }

    /// Spawns on a given runtime, from any thread.
    ///
    /// # Safety
    ///
    /// `F` and `T` outlive the coroutine.
    #[track_caller]
    pub(crate) unsafe fn spawn_unchecked_on<F, T>(
        self,
        shared: &Arc<Shared>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // SAFETY: a worker's pointer is only set while it lives, on its thread.
        let worker = unsafe { wait::worker().as_ref() };
        let worker = worker.filter(|worker| Arc::ptr_eq(&worker.shared, shared));
        // SAFETY: the caller's promise, and Send.
        let made = unsafe { self.make(shared, worker, f)? };
        match worker {
            Some(worker) => worker.push_unstarted(made.control()),
            None => shared.inject(made.control()),
        }
        Ok(made)
    }

    /// A control block with `f` in it, in no queue yet.
    ///
    /// # Safety
    ///
    /// `F` and `T` outlive the coroutine, and it only goes to a queue of the
    /// current thread if they are not `Send`.
    #[inline]
    #[track_caller]
    unsafe fn make<F, T>(
        self,
        shared: &Arc<Shared>,
        worker: Option<&Worker>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T,
    {
        let stack_size = match self.stack_size {
            None => 0,
            Some(bytes) => odd_stack_size(bytes, shared)?,
        };
        if shared.stacks.exhausted() {
            return Err(shared.stacks.out_of_stacks());
        }
        let (control, id) = match worker {
            Some(worker) => (worker.blocks.take()?, worker.next_id()),
            None => (slab::take()?, next_id()),
        };
        let birth = Birth {
            id,
            site: Location::caller(),
            name: self.name,
            stack_size,
            runtime: shared.id,
        };
        // SAFETY: fresh from the slab; the rest is the caller's promise.
        unsafe { control.as_ref().init(birth, f) };
        // SAFETY: the handle's reference, one of the two that `init` makes.
        let coroutine = Coroutine::from_ref(unsafe { Ref::from_raw(control) });
        Ok(JoinHandle {
            coroutine,
            result: PhantomData,
        })
    }
}

/// The bytes to ask for; 0 if they come to the runtime's own size.
#[cold]
fn odd_stack_size(bytes: usize, shared: &Shared) -> io::Result<u32> {
    if !(MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&bytes) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "Builder::stack_size is {bytes}; allowed are numbers from {MIN_STACK_SIZE} to \
                 {MAX_STACK_SIZE}"
            ),
        ));
    }
    Ok(if bytes == shared.config.stack_size {
        0
    } else {
        bytes as u32
    })
}

/// Owns the right to a coroutine's result, shaped as
/// [`std::thread::JoinHandle`].
///
/// Dropping it detaches the coroutine, which goes on. If a detached one panics
/// the ordinary panic hook is told, twice: of the panic itself, where and when
/// it happens, and then of which coroutine it was and where that was spawned.
///
/// It may go to another thread if the result may. A result that is not `Send` is
/// joined on its own worker:
///
/// ```compile_fail,E0277
/// # filature::run(|| {
/// let local = filature::spawn_local(|| std::rc::Rc::new(1));
/// filature::spawn(move || drop(local.join()));
/// # });
/// ```
pub struct JoinHandle<T> {
    coroutine: Coroutine,
    result: PhantomData<T>,
}

// SAFETY: through `&JoinHandle` nobody gets at the `T`.
unsafe impl<T> Sync for JoinHandle<T> {}
impl<T> Unpin for JoinHandle<T> {}
// As for std's: a handle holds no value that a panic could leave half changed.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Waits for the coroutine to end: a coroutine suspends, a plain thread
    /// blocks. Returns what the closure returned.
    ///
    /// # Errors
    ///
    /// [`JoinError`]: the payload if it panicked, and why not if it could not
    /// start or was unwound by a shutdown.
    ///
    /// # Cancellation
    ///
    /// A shutdown of the waiting coroutine's own runtime unwinds it from here;
    /// the other one is then detached. The same happens if the shutdown has
    /// ended the other one first: [`JoinError::Cancelled`] is for those that go
    /// on, such as threads, coroutines of other runtimes, and destructors. (And
    /// for a coroutine that cannot be unwound yet, as a panic is under way on its
    /// worker that might be its own.)
    #[inline]
    pub fn join(self) -> Result<T, JoinError> {
        self.join_as(false)
    }

    /// [`JoinHandle::join`], but nothing unwinds the caller out of it before the
    /// coroutine has ended. If the caller is to end, the coroutine is asked to.
    pub(crate) fn join_masked(self) -> Result<T, JoinError> {
        self.join_as(true)
    }

    #[inline]
    fn join_as(self, masked: bool) -> Result<T, JoinError> {
        let told = !self.is_finished() && self.wait(masked);
        if told
            && let Some(here) = here()
            && here.is_last_chance()
        {
            // The handle is dropped, and sees to the outcome.
            here.unwind();
        }
        let outcome = self.take();
        if let Err(JoinError::Cancelled) = outcome {
            unwind_too(told);
        }
        outcome
    }

    /// Whether the coroutine has ended, so that a join returns at once.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.inner().life.is_done()
    }

    /// How far the coroutine has come. It may have come further by the time the
    /// caller looks, but never goes back.
    ///
    /// ```
    /// use filature::{JoinState, park, spawn};
    ///
    /// let handle = spawn(park);
    /// handle.cancel().unwrap();
    /// while !handle.is_finished() {
    ///     filature::yield_now();
    /// }
    /// assert_eq!(handle.state(), JoinState::Cancelled);
    /// ```
    pub fn state(&self) -> JoinState {
        self.inner().state()
    }

    /// Has `f` called when the coroutine has ended, with
    /// [`Done`](JoinState::Done) or [`Cancelled`](JoinState::Cancelled). If it has
    /// already, `f` is called at once, by the caller.
    ///
    /// Callbacks are called in the order in which they were added, one at a time:
    /// one that is added while others are called is called after them. They are the
    /// coroutine's last act, on its own worker, after its joiner was woken; a
    /// shutdown that ends one which never started may call them on another thread.
    /// They are called whether or not the handle is joined, dropped or forgotten.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (told, ended) = mpsc::channel();
    /// let handle = filature::spawn(|| 1);
    /// handle.on_exit(move |state| told.send(state).unwrap());
    /// assert_eq!(handle.join().unwrap(), 1);
    /// assert_eq!(ended.recv(), Ok(filature::JoinState::Done));
    /// ```
    ///
    /// # Panics
    ///
    /// A callback that panics keeps neither the others from being called nor the
    /// caller from going on. The panic hook is told of the panic, and then of which
    /// coroutine's callback it was.
    ///
    /// # Cancellation
    ///
    /// A callback may wait. A shutdown unwinds it as it does a coroutine, and then
    /// the next is called. Where it is called by the caller, at once, a cancellation
    /// of the caller unwinds it and then the caller.
    pub fn on_exit<F>(&self, f: F)
    where
        F: FnOnce(JoinState) + Send + 'static,
    {
        let control = self.inner();
        let mut unwinding = None;
        control
            .exits
            .add(&control.life, Box::new(f), |late: Callback| {
                let cut_short = start::call(control, late, control.ended_as());
                unwinding = unwinding.take().or(cut_short);
            });
        if let Some(payload) = unwinding {
            resume_unwind(payload);
        }
    }

    /// Asks the coroutine to end, as [`Coroutine::cancel`].
    ///
    /// # Errors
    ///
    /// [`CancelError`] under `panic = "abort"`.
    pub fn cancel(&self) -> Result<(), CancelError> {
        self.coroutine.cancel()
    }

    /// The coroutine.
    pub fn coroutine(&self) -> &Coroutine {
        &self.coroutine
    }

    /// Its number, unique in the process.
    pub fn id(&self) -> u64 {
        self.coroutine.id()
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<String> {
        self.coroutine.name()
    }

    #[inline]
    fn inner(&self) -> &Ref {
        self.coroutine.inner()
    }

    #[inline]
    fn control(&self) -> NonNull<Control> {
        self.inner().as_ptr()
    }

    #[inline]
    fn take(self) -> Result<T, JoinError> {
        let this = ManuallyDrop::new(self);
        // SAFETY: it is done, and the handle is the one to take the outcome;
        // `ManuallyDrop` keeps `drop` from doing so again.
        let outcome = unsafe { this.inner().take_outcome::<T>() };
        // SAFETY: not used after this, nor dropped otherwise.
        drop(unsafe { std::ptr::read(&this.coroutine) });
        outcome
    }

    /// Until the coroutine is done. Returns whether the caller was told meanwhile
    /// that it is to be unwound.
    #[inline]
    fn wait(&self, masked: bool) -> bool {
        let Some(here) = here() else {
            self.block(masked);
            return false;
        };
        if !self.register(Some(Waiter::Coroutine(here.coroutine()))) {
            return false;
        }
        let joining = &here.worker().remote().counters.joining;
        joining.store(joining.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Not in a shutdown: what runs on a runtime that goes on is not cut short.
        let asked = || here.control().due.get();
        let mut told = masked && asked() && here.is_cancelled();
        let mut passed_on = false;
        let unwind = loop {
            if masked && told && !passed_on && asked() {
                passed_on = true;
                cancel::request(self.inner());
            }
            let woken = if masked {
                here.park_masked(Wait::Joining)
            } else {
                here.park(Wait::Joining, None)
            };
            told |= woken == Woken::Cancelled;
            if self.is_finished() {
                break false;
            }
            if told && !masked && self.inner().life.clear_joining() {
                break true;
            }
        };
        joining.store(joining.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        if unwind {
            here.unwind();
        }
        told
    }

    /// Has the ticket handed in when the coroutine has ended. If it has already
    /// the ticket comes back. The handle is not to be dropped or joined before
    /// [`JoinHandle::withdraw`], unless the ticket was handed in.
    pub(crate) fn enter(&self, ticket: Ticket) -> Result<(), Box<Ticket>> {
        // Before the cell is written: if an earlier ticket came too late to be
        // withdrawn, the cell is still the finisher's.
        if self.is_finished() {
            return Err(Box::new(ticket));
        }
        if self.register(Some(Waiter::OfSeveral(Box::new(ticket)))) {
            return Ok(());
        }
        // SAFETY: it is done, so the cell is the handle's.
        match unsafe { self.take_waiter() } {
            Some(Waiter::OfSeveral(ticket)) => Err(ticket),
            _ => unreachable!("just written"),
        }
    }

    /// Takes the ticket back, unless the coroutine is done.
    pub(crate) fn withdraw(&self) {
        if self.inner().life.clear_joining() {
            // SAFETY: the cell is the handle's again.
            drop(unsafe { self.take_waiter() });
        }
    }

    /// Empties the waiter cell.
    ///
    /// # Safety
    ///
    /// The cell is the handle's.
    unsafe fn take_waiter(&self) -> Option<Waiter> {
        let joiner = &self.inner().joiner;
        // SAFETY: the caller's promise.
        joiner.with_mut(|cell| unsafe { (*cell).take() })
    }

    #[cold]
    fn block(&self, masked: bool) {
        loop {
            let limit = if masked {
                None
            } else {
                time::thread::limit(None)
            };
            block_until(
                limit,
                |thread| self.register(Some(Waiter::Thread(thread))),
                || self.is_finished(),
            );
            if self.is_finished() || !self.inner().life.clear_joining() {
                return;
            }
            time::thread::unwind_if_due();
        }
    }

    /// Tells the finisher whom to wake; none: that nobody waits. False: it is
    /// done already.
    #[inline]
    fn register(&self, waiter: Option<Waiter>) -> bool {
        let life = &self.inner().life;
        // SAFETY: the cell is the handle's until `set_joining`, and again after
        // a `clear_joining` that succeeded; then the finisher's.
        self.inner()
            .joiner
            .with_mut(|cell| unsafe { *cell = waiter });
        life.set_joining()
    }
}

/// What was joined fell to a shutdown: if that is the caller's too, the caller is
/// unwound as well. `told`: it has been told so.
#[cold]
pub(crate) fn unwind_too(told: bool) {
    if let Some(here) = here()
        && (told || here.is_to_be_unwound())
    {
        here.unwind();
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.is_finished() || !self.register(None) {
            // SAFETY: it is done, and its outcome the handle's.
            unsafe { discard_detached(self.inner()) };
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("coroutine", &self.coroutine)
            .finish_non_exhaustive()
    }
}
