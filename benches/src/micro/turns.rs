//! Two coroutines that unpark each other in turn, and how to get them onto two workers.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock;
use crate::sys;

const PING: u32 = 0;
const PONG: u32 = 1;
const OVER: u32 = 2;

/// Whose turn it is. The runtime's own `park` and `unpark` come in as closures, which the compiler inlines.
#[derive(Default)]
pub struct Turns(AtomicU32);

impl Turns {
    /// Takes the first turn of every round trip until the window is over; returns nanoseconds per round trip.
    #[inline(always)]
    pub fn ping(&self, window: Duration, unpark_other: impl Fn(), park: impl Fn()) -> f64 {
        let mut start = Instant::now();
        let mut trips = 0u64;
        let mut warm = false;
        loop {
            // Seldom enough that reading the clock does not count, often enough for trips of several milliseconds.
            for _ in 0..32 {
                self.0.store(PONG, Ordering::Release);
                unpark_other();
                while self.0.load(Ordering::Acquire) == PONG {
                    park();
                }
            }
            trips += 32;
            let time = start.elapsed();
            if !warm && time >= window / 10 {
                (start, trips, warm) = (Instant::now(), 0, true);
            } else if warm && time >= window {
                self.0.store(OVER, Ordering::Release);
                unpark_other();
                return time.as_nanos() as f64 / trips as f64;
            }
        }
    }

    /// Takes the other turn of every round trip.
    #[inline(always)]
    pub fn pong(&self, unpark_other: impl Fn(), park: impl Fn()) {
        loop {
            loop {
                match self.0.load(Ordering::Acquire) {
                    PING => park(),
                    PONG => break,
                    _ => return,
                }
            }
            self.0.store(PING, Ordering::Release);
            unpark_other();
        }
    }
}

/// Two coroutines that each block their worker until the other has come are on two workers.
#[derive(Default)]
pub struct Meeting(AtomicUsize);

impl Meeting {
    /// Blocks the worker until the other one is there too.
    pub fn meet(&self) -> Result<(), String> {
        self.0.fetch_add(1, Ordering::AcqRel);
        let start = Instant::now();
        while self.0.load(Ordering::Acquire) < 2 {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(
                    "a coroutine did not start within 5 s while the only other worker was busy"
                        .to_owned(),
                );
            }
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// What two coroutines that have finished talking leave behind: the processor time of all threads in the 2 s after.
pub fn with_aftermath(case: &Case, round_trip_ns: f64) -> Reading {
    // Falling asleep is allowed to take a moment.
    std::thread::sleep(Duration::from_millis(20));
    let after = sys::activity_of_others(if case.quick {
        clock::window(case)
    } else {
        Duration::from_secs(2)
    });
    Reading::of(round_trip_ns)
        .with("cpu_after_us", after.cpu_ns as f64 / 1e3)
        .with("switches_after", after.switches)
}
