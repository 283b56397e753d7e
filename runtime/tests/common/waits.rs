//! Ways to wait.

use std::time::Duration;

use filature::{park, park_timeout, run, sleep, spawn, spawn_local, yield_now};

/// Longer than any test is allowed to take.
pub const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Every way to be in the middle of something.
pub fn wait_somehow(kind: usize) {
    match kind % 8 {
        0 => park(),
        1 => sleep(FOR_EVER),
        2 => park_timeout(FOR_EVER),
        3 => drop(spawn(park).join()),
        4 => loop {
            yield_now();
        },
        5 => loop {
            sleep(Duration::ZERO);
        },
        6 => run(park),
        _ => drop(spawn_local(|| sleep(FOR_EVER)).join()),
    }
    unreachable!("kind {kind} is not left by waiting");
}
