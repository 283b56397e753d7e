//! [`LazyLock`].

use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::Once;
use crate::cancel::shield;

/// A value that is made when it is first asked for. Shaped as [`std::sync::LazyLock`], poisoning included. Unlike with
/// std's, what makes the value may suspend: a coroutine that has to wait for it suspends too, a plain thread blocks.
///
/// ```
/// use filature::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u64>> = LazyLock::new(|| (0..10).map(|n| n * n).collect());
///
/// assert_eq!(SQUARES[3], 9);
/// ```
///
/// # Cancellation
///
/// Waiting for another to make the value is a suspension: a coroutine that is cancelled there unwinds. The initialiser
/// can be called but once, so it is [shielded](crate::shield): if its coroutine is cancelled meanwhile, the first
/// suspension after it unwinds. A shutdown is not held back, and poisons as a panic does.
///
/// # What it holds
///
/// All threads have references, so to be shared it asks for a value that is `Sync`, and for one that is `Send`, since
/// any of them may have made it:
///
/// ```compile_fail,E0277
/// static COUNT: filature::sync::LazyLock<std::cell::Cell<i32>> = filature::sync::LazyLock::new(|| 0.into());
/// ```
///
/// # Recursion
///
/// An initialiser that asks for the same value waits for itself, for ever.
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    /// Belongs to the call that `once` lets through. Nobody changes it any more
    /// once that is complete.
    state: UnsafeCell<State<T, F>>,
}

enum State<T, F> {
    Uninit(F),
    Init(T),
    /// The initialiser runs, or did not return.
    Gone,
}

// SAFETY: references to the value go to all threads, and any of them may call `F`;
// one of them may drop what another has made.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}
// As for std's.
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// One whose value `f` is to make.
    #[inline]
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock {
            once: Once::new(),
            state: UnsafeCell::new(State::Uninit(f)),
        }
    }

    /// The value, which is made if nobody has asked for it yet. `*this` does the same.
    ///
    /// # Panics
    ///
    /// If the initialiser does, or has done so.
    #[inline]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.once.call_once_force(|_| this.initialise());
        LazyLock::get(this).expect("the call has made it")
    }

    /// The same, to be changed.
    ///
    /// # Panics
    ///
    /// As [`force`](Self::force).
    #[inline]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        LazyLock::get_mut(this).expect("it has been made")
    }

    /// Called by `once`.
    fn initialise(&self) {
        // SAFETY: one call at a time gets here, and nobody has a reference before
        // one has returned. The same below; in between the initialiser runs, to
        // which nothing of this is lent.
        let state = unsafe { mem::replace(&mut *self.state.get(), State::Gone) };
        let State::Uninit(f) = state else {
            panic!("LazyLock instance has previously been poisoned");
        };
        let value = shield(f);
        // SAFETY: as above.
        unsafe { *self.state.get() = State::Init(value) };
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been made. Never waits.
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        if !this.once.is_completed() {
            return None;
        }
        // SAFETY: the call has returned, so nobody writes to it any more.
        match unsafe { &*this.state.get() } {
            State::Init(value) => Some(value),
            State::Uninit(_) | State::Gone => None,
        }
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.state.get_mut() {
            State::Init(value) => Some(value),
            State::Uninit(_) | State::Gone => None,
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("LazyLock");
        match LazyLock::get(self) {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
