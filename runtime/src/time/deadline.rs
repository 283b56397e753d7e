//! Calls that are cut short: [`timeout`] and its kin.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::frame::Frame;

/// What [`timeout`] returns where it cut the call short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

/// Of kind [`TimedOut`](io::ErrorKind::TimedOut).
impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Calls `f`, for `duration` at the most: when that has passed, `f` is unwound
/// from the suspension that it is in, or from its next one, with its destructors
/// and without a word from the panic hook.
///
/// ```
/// use filature::{Elapsed, park, timeout};
/// use std::time::Duration;
/// # filature::run(|| {
/// assert_eq!(timeout(Duration::from_millis(1), park), Err(Elapsed));
/// assert_eq!(timeout(Duration::from_secs(60), || 6 * 7), Ok(42));
/// # });
/// ```
///
/// It holds for every wait of this crate inside `f`, in the current coroutine or
/// thread; not for coroutines that `f` spawns. The closure of a
/// [`run`](crate::run) is waited for, and a coroutine that waits for it asks it to
/// end. IO in flight is called off, and waited for, before the unwinding; what had
/// been received by then is returned instead, and the unwinding left to the next
/// suspension.
///
/// - *No time at all* means: at the next suspension. `f` is called in any case, and
///   one that does not suspend any more returns its value, however late.
/// - *More time than an [`Instant`] can tell* is no limit.
/// - *In one another*, each stops what it has begun itself: if the outer one
///   comes first the inner one is unwound with everything else. If both have
///   passed it is the outer one.
/// - *Beside cancellation*, neither catches the other's unwinding. Where both have come it is a
///   cancellation. A [`shield`](crate::shield) inside `f` holds the timeout back, one around it
///   does not.
/// - *What is caught* with `catch_unwind` inside `f` is over: the timeout is delivered once, and
///   if `f` then returns a value, that is the result. As long as a coroutine keeps the payload, nothing
///   of its is cut short.
/// - *In a destructor* that runs because the coroutine, or thread, unwinds, nothing is cut short:
///   a second unwinding would abort the process. To clean up with a time limit use
///   [`catch_cancel`](crate::catch_cancel), and wait after it.
/// - *A lock* whose guard the unwinding drops is not poisoned by that.
///
/// Under `panic = "abort"` nothing can be unwound, so `f` is never cut short; a warning is logged
/// the first time.
///
/// A coroutine's time is up when its worker looks at the clock, which it does between coroutines. It
/// costs a reading of the clock and a timer in the worker's heap, however often `f` waits.
///
/// # Errors
///
/// [`Elapsed`], if `f` was cut short. Panics of `f` pass through.
#[inline]
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let now = Instant::now();
    Frame::call(now.checked_add(duration), now, |_| f())
}

/// [`timeout`], until `moment` at the most. One that has passed means: at the
/// next suspension.
///
/// # Errors
///
/// [`Elapsed`], if `f` was cut short.
#[inline]
pub fn timeout_at<T>(moment: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    Frame::call(Some(moment), Instant::now(), |_| f())
}

/// [`timeout`], with a deadline that `f` may look at and move. Without a moment
/// there is none at first.
///
/// ```
/// use filature::{Elapsed, sleep, with_deadline};
/// use std::time::Duration;
/// # filature::run(|| {
/// let mut messages = 0;
/// let result = with_deadline(None, |deadline| {
///     loop {
///         // Each message may take that long.
///         deadline.reset_after(Duration::from_millis(20));
///         sleep(Duration::from_millis(messages * 10));
///         messages += 1;
///     }
/// });
/// assert_eq!(result, Err::<(), _>(Elapsed));
/// # });
/// ```
///
/// # Errors
///
/// [`Elapsed`], if `f` was cut short.
pub fn with_deadline<T>(
    moment: Option<Instant>,
    f: impl FnOnce(Deadline<'_>) -> T,
) -> Result<T, Elapsed> {
    Frame::call(moment, Instant::now(), |frame| f(Deadline(frame)))
}

/// When a call is cut short; [`with_deadline`] hands it to the call.
///
/// It stays with its coroutine or thread:
///
/// ```compile_fail,E0277
/// filature::with_deadline(None, |deadline| {
///     std::thread::scope(|scope| {
///         scope.spawn(|| deadline.clear());
///     });
/// });
/// ```
///
/// and does not outlive the call:
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// filature::with_deadline(None, |deadline| kept = Some(deadline));
/// ```
#[derive(Clone, Copy)]
pub struct Deadline<'a>(&'a Frame);

impl Deadline<'_> {
    /// The moment, if there is one.
    pub fn when(&self) -> Option<Instant> {
        self.0.when()
    }

    /// Moves it to `moment`. If it had passed, and the call has not been unwound
    /// for it yet, that is taken back. If it was, it may be a second time.
    pub fn reset_at(&self, moment: Instant) {
        self.0.reset(Some(moment));
    }

    /// Moves it to `duration` from now, as [`reset_at`](Self::reset_at) does.
    pub fn reset_after(&self, duration: Duration) {
        self.0.reset(Instant::now().checked_add(duration));
    }

    /// Takes it away, until it is set anew.
    pub fn clear(&self) {
        self.0.reset(None);
    }
}

impl fmt::Debug for Deadline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("when", &self.when())
            .finish_non_exhaustive()
    }
}
