//! [`OnceLock`].

use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::Once;

/// A value that is written once, whoever comes first. Shaped as [`std::sync::OnceLock`]. Unlike with std's, what makes
/// the value may suspend: a coroutine that has to wait for it suspends too, a plain thread blocks.
///
/// ```
/// use filature::sync::OnceLock;
///
/// static GREETING: OnceLock<String> = OnceLock::new();
///
/// assert_eq!(GREETING.get_or_init(|| "hello".to_owned()), "hello");
/// assert_eq!(GREETING.set("hi".to_owned()), Err("hi".to_owned()));
/// ```
///
/// # Cancellation
///
/// Waiting for another's call is a suspension: a coroutine that is cancelled there unwinds. After an initialiser that
/// panicked or was cancelled there is still no value: one of those that wait, or the next to come, calls its own.
///
/// # What it holds
///
/// All threads have references, so to be shared it asks for a value that is `Sync`, and for one that is `Send`, since
/// any of them may have made it:
///
/// ```compile_fail,E0277
/// static COUNT: filature::sync::OnceLock<std::cell::Cell<i32>> = filature::sync::OnceLock::new();
/// ```
///
/// # Recursion
///
/// An initialiser that initialises the same `OnceLock` waits for itself, for ever.
pub struct OnceLock<T> {
    once: Once,
    /// Written by the call that `once` lets through; there once that is complete.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: references to the value go to all threads, and one of them may drop a
// value that another has made.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for OnceLock<T> {}
// As for std's.
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// One without a value.
    #[inline]
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if there is one. Never waits.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: nobody writes to it any more.
            unsafe { &*self.value.get() }.as_ref()
        } else {
            None
        }
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until there is a value.
    #[inline]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("the call that made it has returned")
    }

    /// Writes the value, if there is none. Waits for an initialiser that is under way.
    ///
    /// # Errors
    ///
    /// Gives `value` back if there is one already.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// The value, which `f` makes if there is none. Waits for an initialiser that is under way.
    ///
    /// # Panics
    ///
    /// If `f` does; there is still no value then.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        match self.get_or_try_init(|| Ok::<T, Infallible>(f())) {
            Ok(value) => value,
        }
    }

    /// The value, which `f` makes if there is none. Waits for an initialiser that is under way.
    ///
    /// # Errors
    ///
    /// What `f` returns; there is still no value then.
    ///
    /// # Panics
    ///
    /// If `f` does; there is still no value then.
    #[inline]
    pub fn get_or_try_init<F, E>(&self, f: F) -> Result<&T, E>
    where
        F: FnOnce() -> Result<T, E>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        self.initialise(f)?;
        Ok(self.get().expect("it has been made"))
    }

    #[cold]
    fn initialise<F, E>(&self, f: F) -> Result<(), E>
    where
        F: FnOnce() -> Result<T, E>,
    {
        let mut result = Ok(());
        self.once.call(true, |_| match f() {
            Ok(value) => {
                // SAFETY: one call at a time gets here, and nobody has a reference
                // before it has returned.
                unsafe { *self.value.get() = Some(value) };
                true
            }
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result
    }

    /// The value, if there is one.
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out; there is none after that.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        match self.get() {
            Some(value) => OnceLock::from(value.clone()),
            None => OnceLock::new(),
        }
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let cell = OnceLock::new();
        let set = cell.set(value);
        debug_assert!(set.is_ok(), "it is new");
        cell
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
