//! The lock inside of locks and channels, held for some instructions at a time
//! and never over a suspension or a call of user code.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::Backoff;

/// A spin lock: an exchange to take it and a store to release it, half of what
/// a lock with sleepers costs. Where the holder's thread has lost its core, the
/// others give up theirs.
pub(crate) struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one thread at a time at the value.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Lock<T> {}
// Nothing that may panic happens while it is held.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        // Ordering: Acquire, to see what the last holder did.
        if self
            .held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slowly();
        }
        Locked {
            lock: self,
            _value: PhantomData,
        }
    }

    /// The guard anew, of a lock whose guard was forgotten.
    ///
    /// # Safety
    ///
    /// The caller has taken the lock and forgotten the guard, and each other one
    /// that it had from here.
    #[inline]
    pub(crate) unsafe fn held(&self) -> Locked<'_, T> {
        Locked {
            lock: self,
            _value: PhantomData,
        }
    }

    #[cold]
    fn lock_slowly(&self) {
        let backoff = Backoff::new();
        loop {
            while self.held.load(Ordering::Relaxed) {
                // Past some rounds this gives the core away.
                backoff.snooze();
            }
            // Ordering: as in `lock`.
            if self
                .held
                .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }
}

/// The lock, held.
pub(crate) struct Locked<'a, T> {
    lock: &'a Lock<T>,
    /// It gives access to the value, and may be shared or sent only where that may.
    _value: PhantomData<&'a mut T>,
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and `self` is borrowed.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Ordering: Release, for the next holder.
        self.lock.held.store(false, Ordering::Release);
    }
}
