//! [`Interval`].

use std::time::{Duration, Instant};

use super::later::sleep;

/// Ticks once a period; made by [`interval`].
///
/// The ticks are fixed: the *n*-th is *n* periods after the interval was made,
/// however late the ones before were taken. Whoever comes late to a tick gets it
/// at once, and the ones that were missed beyond it are left out: the next
/// is the next that is still to come.
///
/// ```
/// use std::time::{Duration, Instant};
/// # filature::run(|| {
/// let made = Instant::now();
/// let mut interval = filature::interval(Duration::from_millis(2));
/// let first = interval.tick();
/// let second = interval.tick();
/// assert!(first >= made + Duration::from_millis(2));
/// assert!(second >= first + Duration::from_millis(2));
/// # });
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    /// The next tick; none that could be told for an `Instant`, so never.
    next: Option<Instant>,
}

/// Something that ticks every `period`, for the first time one period from now.
///
/// # Panics
///
/// If `period` is zero.
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval's period is zero");
    let mut interval = Interval { period, next: None };
    interval.reset();
    interval
}

impl Interval {
    /// Waits for the next tick, and returns when that was due.
    ///
    /// # Cancellation
    ///
    /// As for [`sleep_until`](crate::sleep_until); the tick is not used up then.
    pub fn tick(&mut self) -> Instant {
        sleep(self.next);
        let due = self.next.expect("a sleep without end does not end");
        let missed = due.elapsed().as_nanos() / self.period.as_nanos();
        self.next = self.after(due, missed + 1);
        due
    }

    /// Begins anew: the next tick is one period from now.
    pub fn reset(&mut self) {
        self.next = Instant::now().checked_add(self.period);
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn after(&self, tick: Instant, periods: u128) -> Option<Instant> {
        let nanos = self.period.as_nanos().checked_mul(periods)?;
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        tick.checked_add(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
    }
}
