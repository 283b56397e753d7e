//! How long to measure, and from when to when.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::child::Reading;
use crate::report::median;
use crate::sys;

/// How long a loop has to run for its time to be taken: long against the clock and a time slice.
pub fn window(case: &Case) -> Duration {
    Duration::from_millis(if case.quick { 30 } else { 200 })
}

/// Nanoseconds per operation. `run` does about as many operations as it is told and returns their number and the time
/// they took; it is run with ever more until the time fills the window, and at least once before to warm up.
pub fn per_operation(case: &Case, mut run: impl FnMut(usize) -> (usize, Duration)) -> Reading {
    let window = window(case);
    let (mut operations, _) = run(1_000);
    loop {
        let (done, time) = run(operations);
        if time >= window {
            return Reading::of(time.as_nanos() as f64 / done as f64);
        }
        let missing = window.as_secs_f64() / time.as_secs_f64().max(1e-9);
        operations = (done as f64 * (missing * 1.2).clamp(2.0, 20.0)) as usize;
    }
}

/// Milliseconds of the first run if the bench is a cold one, else the median of some runs after the first.
pub fn warm_or_cold(
    case: &Case,
    mut run: impl FnMut() -> Result<Duration, String>,
) -> Result<Reading, String> {
    let mut milliseconds = || Ok::<_, String>(run()?.as_secs_f64() * 1e3);
    let first = milliseconds()?;
    if case.bench.ends_with("_cold") {
        return Ok(Reading::of(first));
    }
    let repeats = if case.quick { 1 } else { 5 };
    let times = (0..repeats)
        .map(|_| milliseconds())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Reading::of(median(&times)))
}

/// The result of a tree of `leaves` leaves that are numbered from 0.
pub fn check_sum(sum: u64, leaves: u64) -> Result<(), String> {
    if sum == leaves * (leaves - 1) / 2 {
        Ok(())
    } else {
        Err(format!("the sum of the leaves is wrong: {sum}"))
    }
}

/// Times `f`.
pub fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed())
}

/// A race of many coroutines: the clock runs from when the last has arrived to when the last has finished.
pub struct Race {
    runners: usize,
    arrived: AtomicUsize,
    finished: AtomicUsize,
    started_ns: AtomicU64,
    finished_ns: AtomicU64,
}

impl Race {
    /// A race of so many.
    pub fn new(runners: usize) -> Self {
        Race {
            runners,
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            started_ns: AtomicU64::new(0),
            finished_ns: AtomicU64::new(0),
        }
    }

    /// One runner is ready; it has to wait until [`on`](Self::on).
    pub fn arrive(&self) {
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.runners {
            self.started_ns.store(sys::now_ns(), Ordering::Release);
        }
    }

    /// Whether all are ready.
    pub fn on(&self) -> bool {
        self.started_ns.load(Ordering::Acquire) != 0
    }

    /// One runner is through.
    pub fn finish(&self) {
        if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.runners {
            self.finished_ns.store(sys::now_ns(), Ordering::Release);
        }
    }

    /// From the last arrival to the last finish.
    pub fn time(&self) -> Duration {
        let finished = self.finished_ns.load(Ordering::Acquire);
        assert_ne!(finished, 0, "the race is still on");
        Duration::from_nanos(finished - self.started_ns.load(Ordering::Acquire))
    }
}
