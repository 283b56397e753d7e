//! [`scope`]: coroutines that borrow.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cancel::CancelError;
use crate::coroutine::exits::JoinState;
use crate::coroutine::outcome::{JoinError, Unwinding};
use crate::current::Coroutine;
use crate::nursery::unwind_told;
use crate::nursery::{Nursery, OnPanic, Ran};
use crate::runtime::Runtime;
use crate::spawn::{Builder, JoinHandle};

/// Where coroutines are spawned that may borrow what lives for `'env`; made by
/// [`scope`]. Shaped as [`std::thread::Scope`].
pub struct Scope<'scope, 'env: 'scope> {
    nursery: Nursery,
    /// How many of its coroutines have panicked and were not joined.
    panics: AtomicUsize,
    // Invariant, as std's: `'scope` neither shrinks nor grows.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Calls `f` with a scope, in which coroutines are spawned that may borrow from the
/// caller, and waits for all of them before it returns. Shaped as
/// [`std::thread::scope`].
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let mut sum = 0;
/// filature::scope(|s| {
///     s.spawn(|| sum += numbers.iter().sum::<i32>());
///     let longest = s.spawn(|| numbers.iter().max());
///     assert_eq!(longest.join().unwrap(), Some(&3));
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
///
/// The coroutines run on the caller's runtime; those of a plain thread on the
/// process-wide one, or on the one whose [`Runtime::scope`] is called. A coroutine
/// of the scope may spawn others in it.
///
/// Nothing makes it return, or unwind, while one of its coroutines is left: neither a
/// panic of `f`, nor a cancellation or a shutdown, nor a handle that is forgotten.
///
/// A borrow ends where the scope does:
///
/// ```compile_fail,E0373
/// filature::scope(|s| {
///     let inside = String::from("gone before the scope");
///     s.spawn(|| println!("{inside}"));
/// });
/// ```
///
/// ```compile_fail,E0499
/// let mut count = 0;
/// filature::scope(|s| {
///     s.spawn(|| count += 1);
///     s.spawn(|| count += 1);
/// });
/// ```
///
/// ```compile_fail,E0521
/// let mut escaped = None;
/// filature::scope(|s| {
///     escaped = Some(s);
/// });
/// escaped.unwrap().spawn(|| ());
/// ```
///
/// What goes into a coroutine and comes out of it is `Send`:
///
/// ```compile_fail,E0277
/// let not_send = std::rc::Rc::new(1);
/// filature::scope(|s| {
///     s.spawn(|| println!("{not_send}"));
/// });
/// ```
///
/// # Panics
///
/// With `f`'s panic, if it panics, after having waited; else with a message of its
/// own if one of the coroutines panicked and was not joined.
///
/// # Cancellation
///
/// A coroutine that is cancelled, or whose runtime is shut down, while it is in `f`
/// or waits after it cancels the coroutines of the scope, waits for them, and then
/// unwinds from here. If `f` or a coroutine of the scope has panicked that comes
/// first, and the cancellation stays pending. A cancellation that `f` itself catches
/// is no concern of the scope's. Under `panic = "abort"` nothing is cancelled.
///
/// A runtime that is being shut down starts nothing any more: in a destructor that the
/// shutdown runs, the coroutines of a scope are dropped unrun, and joins say so.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    scope_in(Nursery::new(), f)
}

impl Runtime {
    /// [`scope`], whose coroutines run on this runtime.
    ///
    /// # Panics
    ///
    /// As [`scope`].
    #[track_caller]
    pub fn scope<'env, F, T>(&self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        scope_in(Nursery::on(self.shared()), f)
    }
}

#[track_caller]
fn scope_in<'env, F, T>(nursery: Nursery, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        nursery,
        panics: AtomicUsize::new(0),
        scope: PhantomData,
        env: PhantomData,
    };
    let Ran { value, told } = scope.nursery.run(OnPanic::WaitForThem, || f(&scope));
    // Ordering: Relaxed, having waited for the coroutines orders it.
    if scope.panics.load(Ordering::Relaxed) > 0 {
        panic!("a scoped coroutine panicked");
    }
    if told {
        unwind_told();
    }
    value
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Spawns a coroutine in the scope. A handle that is dropped detaches it as far as
    /// its result goes; the scope still waits for it.
    ///
    /// In a scope that has been cancelled it never runs.
    ///
    /// # Panics
    ///
    /// If it cannot be had; [`Builder::spawn_scoped`] returns an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match Builder::new().spawn_scoped(self, f) {
            Ok(handle) => handle,
            Err(e) => panic!("a coroutine cannot be spawned: {e}"),
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl Builder {
    /// As [`Scope::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let outcome = Arc::new(Outcome {
            value: Mutex::new(None),
            panicked: AtomicBool::new(false),
        });
        let panics = &scope.panics;
        let theirs = outcome.clone();
        let body = move || {
            let ran = catch_unwind(AssertUnwindSafe(|| theirs.set(f())));
            if let Err(payload) = &ran {
                // Ordering: Relaxed, the end of the coroutine orders it.
                theirs
                    .panicked
                    .store(!payload.is::<Unwinding>(), Ordering::Relaxed);
            }
            // If the handle is gone, so is the result.
            let unclaimed = Arc::into_inner(theirs);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(unclaimed)));
            if let Err(payload) = ran.and(dropped) {
                if !payload.is::<Unwinding>() {
                    // Ordering: Relaxed, the end of the scope orders it.
                    panics.fetch_add(1, Ordering::Relaxed);
                }
                resume_unwind(payload);
            }
        };
        // SAFETY: a scope can only be had for `'scope`, which is within the call that
        // waits for the coroutine and outlived by all that the closure borrows.
        let handle = unsafe { scope.nursery.spawn(self, body)? };
        Ok(ScopedJoinHandle {
            handle,
            outcome,
            panics,
        })
    }
}

/// Where a coroutine of a scope leaves its result. Not with its control block, which
/// lasts until the handle is gone, and may be forgotten with it: a result that nobody
/// takes is to be dropped before the scope ends.
struct Outcome<T> {
    value: Mutex<Option<T>>,
    panicked: AtomicBool,
}

impl<T> Outcome<T> {
    fn set(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn take(&self) -> Option<T> {
        self.value
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Owns the right to the result of a coroutine of a scope, shaped as
/// [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    outcome: Arc<Outcome<T>>,
    panics: &'scope AtomicUsize,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the coroutine to end: a coroutine suspends, a plain thread blocks.
    /// Returns what the closure returned.
    ///
    /// # Errors
    ///
    /// [`JoinError`]: the payload if it panicked, which then is no concern of the
    /// scope's any more, and why not if it could not start or was cancelled.
    ///
    /// # Cancellation
    ///
    /// As [`JoinHandle::join`].
    pub fn join(self) -> Result<T, JoinError> {
        match self.handle.join() {
            Ok(()) => Ok(self
                .outcome
                .take()
                .expect("a coroutine that has returned has left its result")),
            Err(e) => {
                // Ordering: as in `spawn_scoped`.
                if self.outcome.panicked.load(Ordering::Relaxed) {
                    self.panics.fetch_sub(1, Ordering::Relaxed);
                }
                Err(e)
            }
        }
    }

    /// Whether the coroutine has ended, so that a join returns at once.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// How far the coroutine has come, as [`JoinHandle::state`].
    pub fn state(&self) -> JoinState {
        self.handle.state()
    }

    /// Has `f` called when the coroutine has ended, as [`JoinHandle::on_exit`]. The
    /// scope does not wait for that.
    pub fn on_exit<F>(&self, f: F)
    where
        F: FnOnce(JoinState) + Send + 'static,
    {
        self.handle.on_exit(f);
    }

    /// Asks the coroutine to end, as [`Coroutine::cancel`].
    ///
    /// # Errors
    ///
    /// [`CancelError`] under `panic = "abort"`.
    pub fn cancel(&self) -> Result<(), CancelError> {
        self.handle.cancel()
    }

    /// The coroutine.
    pub fn coroutine(&self) -> &Coroutine {
        self.handle.coroutine()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("coroutine", self.coroutine())
            .finish_non_exhaustive()
    }
}
