//! [`oneshot`], [`Promise`] and [`OneShot`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw_oneshot::{Missing, RawOneshot, Refused};

/// One value on its way from whoever holds the promise to whoever waits for it.
///
/// ```
/// use filature::{spawn, sync::oneshot};
///
/// # filature::run(|| {
/// let (promise, answer) = oneshot();
/// spawn(move || promise.set(6 * 7));
/// assert_eq!(answer.wait(), Ok(42));
/// # });
/// ```
pub fn oneshot<T>() -> (Promise<T>, OneShot<T>) {
    let raw = Arc::new(RawOneshot::new());
    (Promise { raw: raw.clone() }, OneShot { raw })
}

/// The side of a [`oneshot`] that sets the value. If it is dropped before, whoever waits is told so.
pub struct Promise<T> {
    raw: Arc<RawOneshot<T>>,
}

/// The side of a [`oneshot`] that waits for the value.
///
/// A coroutine that waits suspends, a plain thread blocks. What was done before the value was set is seen with it.
///
/// # Cancellation
///
/// Waiting is a suspension: a coroutine that is cancelled there unwinds. A value that was set is not lost by that: it
/// is there for the next to ask, or is dropped with the `OneShot`.
pub struct OneShot<T> {
    raw: Arc<RawOneshot<T>>,
}

/// Why [`Promise::set`] gives a value back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SetError<T> {
    /// A value was set before.
    AlreadySet(T),
    /// The [`OneShot`] was dropped: nobody will ask for the value.
    Disconnected(T),
}

/// The [`Promise`] was dropped and no value was set; or the value was taken already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenPromise;

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryWaitError {
    /// It has not been set yet.
    Pending,
    /// As [`BrokenPromise`].
    Broken,
}

impl<T> Promise<T> {
    /// Sets the value, and wakes whoever waits for it. Never waits.
    ///
    /// # Errors
    ///
    /// Gives the value back if one was set before, or if nobody will ask for it.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        self.raw.set(value).map_err(|(why, value)| match why {
            Refused::AlreadySet => SetError::AlreadySet(value),
            Refused::NotAwaited => SetError::Disconnected(value),
        })
    }

    /// Whether a value was set.
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Whether the [`OneShot`] was dropped, so that the value need not be made.
    pub fn is_disconnected(&self) -> bool {
        !self.raw.is_awaited()
    }
}

impl<T> OneShot<T> {
    /// Waits for the value.
    ///
    /// # Errors
    ///
    /// If the promise is dropped and no value was set, or if the value was taken already.
    pub fn wait(self) -> Result<T, BrokenPromise> {
        match self.raw.take(None) {
            Ok(value) => Ok(value),
            Err(Missing::Broken) => Err(BrokenPromise),
            Err(Missing::Pending) => unreachable!("there is no deadline"),
        }
    }

    /// [`wait`](Self::wait)s, for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`Pending`](TryWaitError::Pending) if the value was not set in time, or as [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<T, TryWaitError> {
        Ok(self.raw.take(Instant::now().checked_add(timeout))?)
    }

    /// Takes the value if it is there.
    ///
    /// # Errors
    ///
    /// [`Pending`](TryWaitError::Pending) if it was not set yet, or as [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<T, TryWaitError> {
        Ok(self.raw.try_take()?)
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.raw.abandon();
    }
}

impl<T> Drop for OneShot<T> {
    fn drop(&mut self) {
        drop(self.raw.close());
    }
}

impl From<Missing> for TryWaitError {
    fn from(missing: Missing) -> TryWaitError {
        match missing {
            Missing::Pending => TryWaitError::Pending,
            Missing::Broken => TryWaitError::Broken,
        }
    }
}

impl<T> SetError<T> {
    /// The value that was not set.
    pub fn into_inner(self) -> T {
        match self {
            SetError::AlreadySet(value) | SetError::Disconnected(value) => value,
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for OneShot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneShot").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadySet(_) => "AlreadySet(..)",
            SetError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadySet(_) => "the promise has a value already",
            SetError::Disconnected(_) => "nobody waits for the value any more",
        })
    }
}

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the promise was dropped before it had a value, or the value was taken")
    }
}

impl fmt::Display for TryWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryWaitError::Pending => f.write_str("the promise has no value yet"),
            TryWaitError::Broken => BrokenPromise.fmt(f),
        }
    }
}

impl<T> Error for SetError<T> {}
impl Error for BrokenPromise {}
impl Error for TryWaitError {}
