//! Waking a worker that sleeps, by one that stays busy: how long until the woken coroutine runs.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::child::Reading;
use crate::sys;

const OVER: u32 = u32::MAX;

/// What the waker and the woken one share.
#[derive(Default)]
pub struct Wake {
    call: AtomicU32,
    woken_at_ns: AtomicU64,
}

impl Wake {
    /// Wakes again and again, each time 2 to 3 ms after the last and when all other threads are asleep, and never lets
    /// go of its own core meanwhile: it spins until the woken one has stamped the time. The pause differs from call to
    /// call, so that it falls into step with nobody's timers.
    pub fn waker(&self, case: &Case, wake: impl Fn()) -> Result<Reading, String> {
        let result = self.latencies(if case.quick { 50 } else { 400 }, &wake);
        self.call.store(OVER, Ordering::Release);
        wake();
        let mut latencies = result?;
        latencies.sort_unstable();
        let percentile = |p: usize| latencies[latencies.len() * p / 100] as f64;
        Ok(Reading::of(percentile(50)).with("p99_ns", percentile(99)))
    }

    fn latencies(&self, wakes: u32, wake: &impl Fn()) -> Result<Vec<u64>, String> {
        (1..=wakes)
            .map(|call| {
                // Multiples of the golden ratio are spread evenly over 0 to 1.
                let part = (f64::from(call) * 0.618_033_988_749_895).fract();
                spin_for(Duration::from_millis(2) + Duration::from_millis(1).mul_f64(part));
                spin_until(
                    "a worker with nothing to do did not fall asleep",
                    sys::others_asleep,
                )?;
                self.woken_at_ns.store(0, Ordering::Relaxed);
                let called_at = sys::now_ns();
                self.call.store(call, Ordering::Release);
                wake();
                let woken = || self.woken_at_ns.load(Ordering::Acquire) != 0;
                spin_until(
                    "the woken coroutine did not run while its waker was busy",
                    woken,
                )?;
                Ok(self
                    .woken_at_ns
                    .load(Ordering::Relaxed)
                    .saturating_sub(called_at))
            })
            .collect()
    }

    /// Is woken, by way of the runtime's own `park`, and stamps the time.
    pub fn sleeper(&self, park: impl Fn()) {
        let mut seen = 0;
        while seen != OVER {
            match self.called_since(seen) {
                Some(call) => seen = call,
                None => park(),
            }
        }
    }

    /// The call that has come since the one seen last, stamped with the time.
    pub fn called_since(&self, seen: u32) -> Option<u32> {
        let call = self.call.load(Ordering::Acquire);
        if call == seen {
            return None;
        }
        self.woken_at_ns.store(sys::now_ns(), Ordering::Release);
        Some(call)
    }

    /// Whether a call was the last.
    pub fn is_over(call: u32) -> bool {
        call == OVER
    }
}

fn spin_for(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        spin_loop();
    }
}

fn spin_until(otherwise: &str, condition: impl Fn() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > Duration::from_secs(1) {
            return Err(format!("{otherwise} within 1 s"));
        }
        spin_loop();
    }
    Ok(())
}

/// No runtime: a thread on one core writes to an eventfd for which a thread on another waits in epoll.
pub fn measure_bare(case: &Case) -> Result<Reading, String> {
    let cores = sys::allowed_cores();
    if cores.len() < 2 {
        return Err("this needs two cores".to_owned());
    }
    let pinned = |core| {
        sys::pin_to_core(core).map_err(|error| format!("pinning to core {core} failed: {error}"))
    };
    // SAFETY: neither call takes a pointer.
    let (event, epoll) = unsafe { (libc::eventfd(0, libc::EFD_NONBLOCK), libc::epoll_create1(0)) };
    let mut interest = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 0,
    };
    // SAFETY: both descriptors are open and `interest` lives over the call.
    if unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, event, &mut interest) } != 0 {
        return Err(format!(
            "eventfd or epoll failed: {}",
            std::io::Error::last_os_error()
        ));
    }
    let wait = || {
        let mut ready = libc::epoll_event { events: 0, u64: 0 };
        let mut count = 0u64;
        // SAFETY: there is room for one event and for the eight bytes of the count.
        unsafe {
            libc::epoll_wait(epoll, &mut ready, 1, -1);
            libc::read(event, (&raw mut count).cast(), 8);
        }
    };
    let one = 1u64;
    let write = || {
        // SAFETY: the eight bytes at `one` are readable.
        unsafe { libc::write(event, (&raw const one).cast(), 8) };
    };
    let wake = Wake::default();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            pinned(cores[1])?;
            wake.sleeper(wait);
            Ok(())
        });
        let waker = scope.spawn(|| {
            pinned(cores[0])?;
            wake.waker(case, write)
        });
        let reading = waker.join().expect("the waker does not panic")?;
        sleeper
            .join()
            .expect("the sleeper does not panic")
            .map(|()| reading)
    })
}
