//! Sleeping and deadlines.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Counter, Gate, Random, everywhere, inside_everywhere, on_workers};
use filature::{current, park_timeout, sleep, spawn, spawn_local, yield_now};

#[test]
fn a_sleep_ends_not_before_its_time() {
    inside_everywhere(|| {
        let handles: Vec<_> = [0, 1, 10, 100, 999, 1000, 3000, 5000]
            .into_iter()
            .map(|micros| {
                spawn(move || {
                    let duration = Duration::from_micros(micros);
                    let before = Instant::now();
                    sleep(duration);
                    assert!(before.elapsed() >= duration);
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn a_plain_thread_sleeps_too() {
    let before = Instant::now();
    sleep(Duration::from_millis(2));
    assert!(before.elapsed() >= Duration::from_millis(2));
}

/// Sleepers of one worker, and when they came by and woke.
#[derive(Default)]
struct Sleepers {
    visits: RefCell<Vec<(usize, Duration, Instant)>>,
    wakes: RefCell<Vec<(usize, Instant)>>,
}

impl Sleepers {
    fn sleep(&self, number: usize, duration: Duration) {
        let now = Instant::now();
        self.visits.borrow_mut().push((number, duration, now));
        sleep(duration);
        self.wakes.borrow_mut().push((number, Instant::now()));
    }

    /// That nobody woke before one whose deadline was earlier for certain. The
    /// process may have stood still at any time: a sleeper's deadline is its
    /// duration after some moment between its own coming by and the next one's.
    fn assert_woken_in_order(&self) {
        let visits = self.visits.borrow();
        let mut bounds = vec![None; visits.len()];
        for (i, &(number, duration, earliest)) in visits.iter().enumerate() {
            let latest = visits.get(i + 1).map_or_else(Instant::now, |next| next.2);
            bounds[number] = Some((earliest + duration, latest + duration));
        }
        let mut latest_so_far = None;
        for &(number, woken) in self.wakes.borrow().iter() {
            let (earliest, latest) = bounds[number].unwrap();
            assert!(woken >= earliest, "{number} woke too early");
            // Nobody before it had a deadline that was certainly later.
            assert!(latest_so_far.is_none_or(|before| before <= latest));
            latest_so_far = latest_so_far.max(Some(earliest));
        }
        assert_eq!(self.wakes.borrow().len(), visits.len());
    }
}

#[test]
fn ten_thousand_sleepers_wake_in_the_order_of_their_deadlines() {
    on_workers(&[1], |setup| {
        setup.runtime().run(|| {
            let mut random = Random::new(1);
            let sleepers = Rc::new(Sleepers::default());
            let handles: Vec<_> = (0..10_000)
                .map(|number| {
                    let duration = Duration::from_micros(random.below(60_000) as u64);
                    let sleepers = sleepers.clone();
                    spawn_local(move || sleepers.sleep(number, duration))
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
            sleepers.assert_woken_in_order();
        });
    });
}

#[test]
fn ten_thousand_sleepers_of_all_workers_wake_not_before_their_time() {
    inside_everywhere(|| {
        let sleepers: Vec<_> = (0..10_000u64)
            .map(|i| {
                spawn(move || {
                    let duration = Duration::from_micros(i * 7919 % 20_000);
                    let before = Instant::now();
                    sleep(duration);
                    assert!(before.elapsed() >= duration);
                })
            })
            .collect();
        sleepers.into_iter().for_each(|s| s.join().unwrap());
    });
}

#[test]
fn a_sleep_of_no_time_returns() {
    inside_everywhere(|| {
        for _ in 0..1000 {
            sleep(Duration::ZERO);
        }
    });
}

#[test]
fn a_short_sleep_does_not_wait_for_longer_ones() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for _ in 0..100 {
                spawn(|| sleep(Duration::from_secs(100_000)));
            }
            let handles: Vec<_> = (0..100)
                .map(|i| spawn(move || sleep(Duration::from_micros(i))))
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

#[test]
fn durations_beyond_all_clocks_are_for_ever() {
    let centuries = Duration::from_secs(600 * 365 * 24 * 3600);
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (asleep, unwound) = (Counter::new(), Counter::new());
        for duration in [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_secs(i64::MAX as u64),
            Duration::from_nanos(u64::MAX),
            centuries,
        ] {
            for parks in [false, true] {
                let (asleep, unwound) = (asleep.clone(), unwound.on_drop());
                runtime.spawn(move || {
                    let _unwound = unwound;
                    asleep.up();
                    if parks {
                        park_timeout(duration);
                    } else {
                        sleep(duration);
                    }
                    unreachable!("woke from {duration:?}");
                });
            }
        }
        asleep.wait_for(10);
        runtime.run(|| sleep(Duration::from_millis(1)));
        assert_eq!(unwound.get(), 0);
        drop(runtime);
        assert_eq!(unwound.get(), 10);
    });
}

#[test]
fn time_goes_on_while_coroutines_spin() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        for _ in 0..setup.workers * 2 {
            let stop = stop.clone();
            runtime.spawn(move || stop.wait());
        }
        runtime.run(|| {
            let handles: Vec<_> = (0..50)
                .map(|i| spawn(move || sleep(Duration::from_micros(i * 20))))
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
        stop.open();
    });
}

#[test]
fn a_busy_worker_catches_up_with_what_it_missed() {
    inside_everywhere(|| {
        let sleepers = Rc::new(Sleepers::default());
        let handles: Vec<_> = [4, 1, 3, 2, 0]
            .into_iter()
            .map(|i| {
                let sleepers = sleepers.clone();
                spawn_local(move || sleepers.sleep(i, Duration::from_millis(i as u64)))
            })
            .collect();
        yield_now();
        // All deadlines pass before the worker gets to look.
        let end = Instant::now() + Duration::from_millis(4);
        while Instant::now() <= end {
            std::thread::yield_now();
        }
        handles.into_iter().for_each(|h| h.join().unwrap());
        sleepers.assert_woken_in_order();
    });
}

#[test]
fn deadlines_of_random_waits_come_and_go() {
    inside_everywhere(|| {
        let handles: Vec<_> = (0..100)
            .map(|seed| {
                spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..20 {
                        let micros = random.below(300) as u64;
                        match random.below(3) {
                            0 => sleep(Duration::from_micros(micros)),
                            1 => park_timeout(Duration::from_micros(micros)),
                            _ => {
                                current().unpark();
                                park_timeout(Duration::from_secs(1000 + micros));
                            }
                        }
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}
