//! [`RwLock`].

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Before, Flag, result};
use super::raw_rwlock::RawRwLock;

/// A lock around a value for many readers or one writer, shaped as [`std::sync::RwLock`], poisoning included: a writer
/// that panics poisons, a reader does not. A coroutine that waits for it suspends, a plain thread blocks; both may use
/// the same one. Guards may be held over a suspension.
///
/// Neither readers nor writers starve: while anybody waits, no reader joins those that hold the lock, and when both
/// kinds wait they take turns, as in the phase-fair locks of Brandenburg and Anderson. So one that has the lock for
/// reading and asks for it once more may wait for ever, if a writer waits in between.
///
/// # Cancellation
///
/// Waiting for the lock is a suspension: a coroutine that is cancelled there unwinds without the lock. A guard that a
/// cancellation drops does not poison.
///
/// # What it holds
///
/// Readers on several threads have references at once, so to be shared the lock asks for a value that is `Sync`:
///
/// ```compile_fail,E0277
/// let lock = filature::sync::RwLock::new(std::cell::Cell::new(0));
/// std::thread::scope(|scope| {
///     scope.spawn(|| lock.read().unwrap().set(1));
/// });
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: Flag,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value from one thread to another.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above, and several readers may have a reference at once.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// As for std's: a panic in the middle of a change is told by the poison.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// The right to read what a [`RwLock`] holds, until it is dropped.
///
/// Not `Send`, as std's:
///
/// ```compile_fail,E0277
/// let lock = filature::sync::RwLock::new(0);
/// let guard = lock.read().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
/// and it gives but a shared reference:
///
/// ```compile_fail,E0594
/// let lock = filature::sync::RwLock::new(0);
/// *lock.read().unwrap() = 1;
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// Not a reference to the lock, with which the guard could not be used where
    /// one with a shorter-lived `T` is expected. Being a pointer, it also keeps
    /// the guard from being `Send`.
    value: NonNull<T>,
    raw: &'a RawRwLock,
}

/// The right to read and change what a [`RwLock`] holds, until it is dropped.
///
/// Not `Send`, as std's:
///
/// ```compile_fail,E0277
/// let lock = filature::sync::RwLock::new(0);
/// let guard = lock.write().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    before: Before,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a reference to the guard gives one to the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    #[inline]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            raw: RawRwLock::new(),
            poison: Flag::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the error has the value as well.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.poison.get();
        result(poisoned, self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until it may read. A writer that asks for this waits for ever, and a reader may.
    ///
    /// # Errors
    ///
    /// If a writer panicked; the error has the guard as well.
    ///
    /// # Panics
    ///
    /// If more readers have the lock than can be counted, about an eighth of [`usize::MAX`].
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read(None);
        self.read_guard()
    }

    /// [`read`](Self::read), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if the lock could not be had in time, or as [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// As [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.read(Instant::now().checked_add(timeout)) {
            Ok(self.read_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Takes the lock for reading, if that is possible at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if a writer has it or waits for it, or as [`read`](Self::read).
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            Ok(self.read_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits until it has the lock alone. A holder that asks for this waits for ever.
    ///
    /// # Errors
    ///
    /// If a writer panicked; the error has the guard as well.
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write(None);
        self.write_guard()
    }

    /// [`write`](Self::write), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if the lock could not be had in time, or as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.write(Instant::now().checked_add(timeout)) {
            Ok(self.write_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Takes the lock for writing, if it is free.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it is not, or as [`write`](Self::write).
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() {
            Ok(self.write_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Whether a writer panicked.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Takes the value for sound again.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, which nobody else can have locked.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the error has the reference as well.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.poison.get();
        result(poisoned, self.value.get_mut())
    }

    /// For one that has the lock for reading.
    #[inline]
    fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        // SAFETY: the pointer of a cell is not null.
        let value = unsafe { NonNull::new_unchecked(self.value.get()) };
        let guard = RwLockReadGuard {
            value,
            raw: &self.raw,
        };
        result(self.poison.get(), guard)
    }

    /// For the one that has the lock for writing.
    #[inline]
    fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let guard = RwLockWriteGuard {
            lock: self,
            before: Flag::before(),
            _not_send: PhantomData,
        };
        result(self.poison.get(), guard)
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader; no other writer comes in between. Readers that wait come in as well.
    pub fn downgrade(this: Self) -> RwLockReadGuard<'a, T> {
        let lock = this.lock;
        lock.poison.done(&this.before);
        mem::forget(this);
        // SAFETY: the guard was the writer.
        unsafe { lock.raw.downgrade() };
        lock.read_guard().unwrap_or_else(|e| e.into_inner())
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: readers have the lock, and the guard borrows it.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the writer has the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the writer has the lock, and the guard is borrowed.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard is a reader.
        unsafe { self.raw.unlock_read() };
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(&self.before);
        // SAFETY: the guard is the writer.
        unsafe { self.lock.raw.unlock_write() };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
