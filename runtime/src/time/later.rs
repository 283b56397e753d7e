//! Waiting for a moment, and starting then.

use std::time::{Duration, Instant};

use crate::scheduler::wait::{Wait, Woken, here};
use crate::spawn::{JoinHandle, spawn};
use crate::thread;

/// Waits until `moment`, at least. Only the current coroutine, or thread, waits.
///
/// One that has passed lets others run, as [`yield_now`](crate::yield_now) does.
///
/// # Cancellation
///
/// A point at which a cancellation, a timeout or a shutdown unwinds.
pub fn sleep_until(moment: Instant) {
    sleep(Some(moment));
}

/// The same; without a moment, for ever.
pub(crate) fn sleep(moment: Option<Instant>) {
    let Some(here) = here() else {
        return thread::sleep_until(moment);
    };
    loop {
        match here.park(Wait::Sleeping, moment) {
            Woken::Unparked => {}
            Woken::TimedOut => return,
            Woken::Cancelled => here.unwind(),
        }
    }
}

/// Spawns a coroutine that calls `f` when `delay` has passed, counted from now.
/// Until then [`JoinHandle::cancel`] keeps `f` from being called at all.
///
/// It is started at once, and sleeps: it has a stack while it waits.
///
/// ```
/// use std::time::Duration;
/// # filature::run(|| {
/// let soon = filature::spawn_after(Duration::from_millis(1), || "called");
/// let never = filature::spawn_after(Duration::from_secs(3600), || "called");
/// never.cancel().unwrap();
/// assert_eq!(soon.join().unwrap(), "called");
/// assert!(never.join().unwrap_err().is_cancelled());
/// # });
/// ```
///
/// # Panics
///
/// As [`spawn`](crate::spawn).
#[track_caller]
pub fn spawn_after<F, T>(delay: Duration, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let moment = Instant::now().checked_add(delay);
    spawn(move || {
        sleep(moment);
        f()
    })
}
