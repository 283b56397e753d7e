//! [`ReentrantMutex`].

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::raw_mutex::RawMutex;
use crate::scheduler::wait::here;
use crate::thread;

/// A lock that its owner may take again while it has it. The owner is a coroutine, not the worker on which that runs,
/// or a plain thread. A coroutine that waits for it suspends, a plain thread blocks; both may use the same one, and
/// guards may be held over a suspension.
///
/// Since the owner may have several guards, they give but a shared reference. There is no poisoning: what a panic
/// leaves behind in a `Cell` or `RefCell` is as it is without a lock.
///
/// Whoever is running may take the lock before those who wait for it, but passes over each at most once.
///
/// # Cancellation
///
/// Waiting for the lock is a suspension: a coroutine that is cancelled there unwinds without the lock. To take it again
/// is none.
///
/// # What it holds
///
/// The value goes from thread to thread, so to be shared the lock asks for one that is `Send`:
///
/// ```compile_fail,E0277
/// let lock = filature::sync::ReentrantMutex::new(std::rc::Rc::new(0));
/// std::thread::scope(|scope| {
///     scope.spawn(|| drop(lock.lock().clone()));
/// });
/// ```
pub struct ReentrantMutex<T: ?Sized> {
    raw: RawMutex,
    /// Who has the lock, by a number that nobody else ever has; 0 is nobody. Written by
    /// whoever has the lock.
    owner: AtomicU64,
    /// How many guards there are. Of the thread on which the owner runs.
    guards: Cell<u32>,
    value: UnsafeCell<T>,
}

// SAFETY: it owns the value.
unsafe impl<T: ?Sized + Send> Send for ReentrantMutex<T> {}
// SAFETY: the lock hands the value, and the count of guards, from one owner to
// the next. All guards of an owner are on its one thread: they are not `Send`,
// and a coroutine stays at home. So the value need not be `Sync`. An owner that
// forgets a guard has the lock for ever, as its number is never given again.
unsafe impl<T: ?Sized + Send> Sync for ReentrantMutex<T> {}
// As for std's `ReentrantLock`.
impl<T: ?Sized + UnwindSafe> UnwindSafe for ReentrantMutex<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for ReentrantMutex<T> {}

/// The right to what a [`ReentrantMutex`] holds; the lock is released when the last one of its owner is dropped.
///
/// Not `Send`:
///
/// ```compile_fail,E0277
/// let mutex = filature::sync::ReentrantMutex::new(0);
/// let guard = mutex.lock();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// and not the only one:
///
/// ```compile_fail,E0594
/// let mutex = filature::sync::ReentrantMutex::new(0);
/// *mutex.lock() = 1;
/// ```
#[must_use = "if unused the ReentrantMutex will immediately unlock"]
pub struct ReentrantMutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a ReentrantMutex<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a reference to the guard gives one to the value.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantMutexGuard<'_, T> {}

/// The number of the calling coroutine, or of the thread if it is none. Coroutines and threads are numbered
/// together, and no number is given twice.
fn caller() -> u64 {
    match here() {
        Some(here) => here.control().id(),
        None => thread::id(),
    }
}

impl<T> ReentrantMutex<T> {
    /// An unlocked mutex.
    #[inline]
    pub const fn new(value: T) -> ReentrantMutex<T> {
        ReentrantMutex {
            raw: RawMutex::new(),
            owner: AtomicU64::new(0),
            guards: Cell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> ReentrantMutex<T> {
    /// Waits for the lock, unless the caller has it already.
    ///
    /// # Panics
    ///
    /// If the caller has 4,294,967,295 guards.
    #[inline]
    pub fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        let caller = caller();
        if !self.is_owned_by(caller) {
            self.raw.lock(None, false);
        }
        self.guard(caller)
    }

    /// [`lock`](Self::lock), for `timeout` at the most; `None` if the lock could not be had in time.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Option<ReentrantMutexGuard<'_, T>> {
        let caller = caller();
        let has =
            self.is_owned_by(caller) || self.raw.lock(Instant::now().checked_add(timeout), false);
        has.then(|| self.guard(caller))
    }

    /// Takes the lock if it is free, or the caller's already; `None` if it is another's.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        let caller = caller();
        let has = self.is_owned_by(caller) || self.raw.try_lock();
        has.then(|| self.guard(caller))
    }

    /// The value, which nobody else can have locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[inline]
    fn is_owned_by(&self, caller: u64) -> bool {
        // Ordering: Relaxed. Only the caller itself writes its number here, and takes
        // it away.
        self.owner.load(Ordering::Relaxed) == caller
    }

    /// For the caller, who has the lock.
    #[inline]
    fn guard(&self, caller: u64) -> ReentrantMutexGuard<'_, T> {
        // Ordering: as above.
        self.owner.store(caller, Ordering::Relaxed);
        let guards = self.guards.get().checked_add(1);
        self.guards
            .set(guards.expect("too many guards of one ReentrantMutex"));
        ReentrantMutexGuard {
            mutex: self,
            _not_send: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the owner has the lock, and gives nobody a unique reference.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for ReentrantMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let guards = self.mutex.guards.get() - 1;
        self.mutex.guards.set(guards);
        if guards == 0 {
            self.mutex.owner.store(0, Ordering::Relaxed);
            // SAFETY: this was the last guard of the holder.
            unsafe { self.mutex.raw.unlock() };
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    fn default() -> ReentrantMutex<T> {
        ReentrantMutex::new(T::default())
    }
}

impl<T> From<T> for ReentrantMutex<T> {
    fn from(value: T) -> ReentrantMutex<T> {
        ReentrantMutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ReentrantMutex");
        match self.try_lock() {
            Some(guard) => debug.field("data", &&*guard),
            None => debug.field("data", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}
