//! Stands in for the spin lock, which a model would never get out of.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use loom::sync::{Mutex, MutexGuard};

pub(crate) struct Lock<T> {
    mutex: Mutex<()>,
    /// The holder's: it need not keep the guard itself, and may ask for it again.
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    value: UnsafeCell<T>,
}

// SAFETY: guard and value are only touched by the holder of the mutex.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: as above; it is moved before it is locked.
unsafe impl<T: Send> Send for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            mutex: Mutex::new(()),
            guard: UnsafeCell::new(None),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let guard = self.mutex.lock().unwrap();
        // SAFETY: the mutex is held, and outlives the guard, which is dropped by
        // `Locked` or, if that is forgotten, by one of `held`.
        unsafe {
            let guard = std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard);
            *self.guard.get() = Some(guard);
        }
        Locked(self)
    }

    /// # Safety
    ///
    /// The caller has the lock, and has forgotten its guard.
    pub(crate) unsafe fn held(&self) -> Locked<'_, T> {
        Locked(self)
    }
}

pub(crate) struct Locked<'a, T>(&'a Lock<T>);

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held by the caller.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is held by the caller, and `self` is borrowed.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the mutex is held by the caller until the guard is dropped.
        drop(unsafe { (*self.0.guard.get()).take() });
    }
}
