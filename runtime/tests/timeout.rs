//! Timeouts: which of several fires, what holds one back, and what it meets on
//! its way.

mod common;

use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use common::{Counter, FOR_EVER, Gate, Random, Watchdog, everywhere, hush, on_workers};
use filature::{
    Cancelled, Elapsed, JoinError, catch_cancel, current, park, park_timeout, shield, sleep, spawn,
    spawn_local, timeout, timeout_at, with_deadline, yield_now,
};

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(1);

/// In a coroutine on runtimes of every kind, and on a plain thread.
fn on_both_sides(test: impl Fn() + Sync) {
    everywhere(|setup| setup.runtime().run(&test));
    let _watchdog = Watchdog::new("a plain thread".into());
    std::thread::scope(|scope| {
        scope.spawn(&test);
    });
}

#[test]
fn no_time_at_all_ends_at_the_next_suspension() {
    on_both_sides(|| {
        let steps = Counter::new();
        let result = timeout(NOW, || {
            steps.up();
            yield_now();
            steps.up();
        });
        assert_eq!(result, Err(Elapsed));
        assert_eq!(steps.get(), 1);
        let past = Instant::now();
        assert_eq!(timeout_at(past, || sleep(NOW)), Err(Elapsed));
        assert_eq!(timeout_at(past + SOON, park), Err(Elapsed));
        yield_now();
    });
}

#[test]
fn what_does_not_suspend_any_more_returns_its_value() {
    on_both_sides(|| {
        assert_eq!(timeout(NOW, || 7), Ok(7));
        let busy = || {
            yield_now();
            let end = Instant::now() + 2 * SOON;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            8
        };
        // The yield may be late itself.
        assert!(matches!(timeout(SOON, busy), Ok(8) | Err(Elapsed)));
        yield_now();
    });
}

#[test]
fn more_time_than_can_be_told_is_no_limit() {
    on_both_sides(|| {
        for long in [FOR_EVER, Duration::MAX] {
            assert_eq!(
                timeout(long, || {
                    sleep(SOON);
                    1
                }),
                Ok(1)
            );
        }
    });
}

#[test]
fn of_two_in_one_another_each_stops_its_own() {
    on_both_sides(|| {
        let inner_first = timeout(FOR_EVER, || {
            assert_eq!(timeout(SOON, park), Err(Elapsed));
            yield_now();
            1
        });
        assert_eq!(inner_first, Ok(1));
        let outer_first: Result<(), _> = timeout(SOON, || {
            let _ = timeout(FOR_EVER, park);
            unreachable!("the outer one unwinds the inner one too")
        });
        assert_eq!(outer_first, Err(Elapsed));
        let both: Result<(), _> = timeout(NOW, || {
            let _ = timeout(NOW, park);
            unreachable!("the outer one goes first")
        });
        assert_eq!(both, Err(Elapsed));
        let one_after_the_other: Result<(), _> = timeout(SOON, || {
            loop {
                assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
                yield_now();
            }
        });
        assert_eq!(one_after_the_other, Err(Elapsed));
    });
}

#[test]
fn a_hundred_in_one_another_are_left_by_the_one_that_fires() {
    fn nest(depth: usize, fires: usize) -> Option<usize> {
        let time = if depth == fires { NOW } else { FOR_EVER };
        let inside = || match depth {
            99 => {
                yield_now();
                unreachable!("one of them fires")
            }
            _ => nest(depth + 1, fires),
        };
        match timeout(time, inside) {
            Ok(fired) => fired,
            Err(Elapsed) => Some(depth),
        }
    }
    on_both_sides(|| {
        for fires in [0, 1, 50, 98, 99] {
            assert_eq!(nest(0, fires), Some(fires));
        }
    });
}

#[test]
fn destructors_run_on_the_way_and_may_wait() {
    struct Waits(Counter);
    impl Drop for Waits {
        fn drop(&mut self) {
            yield_now();
            sleep(SOON);
            let end = Instant::now() + SOON;
            park_timeout(SOON);
            assert!(Instant::now() >= end);
            // Nothing is cut short in here.
            let rest = || {
                yield_now();
                sleep(SOON);
            };
            assert_eq!(timeout(NOW, rest), Ok(()));
            assert_eq!(timeout(SOON, || shield(|| sleep(2 * SOON))), Ok(()));
            self.0.up();
        }
    }
    on_both_sides(|| {
        let waited = Counter::new();
        for time in [NOW, SOON] {
            let result = timeout(time, || {
                let _outer = Waits(waited.clone());
                let _inner = Waits(waited.clone());
                park();
            });
            assert_eq!(result, Err(Elapsed));
        }
        assert_eq!(waited.get(), 4);
        // And after a panic of its own.
        hush();
        let panicked = catch_unwind(|| {
            let _waits = Waits(waited.clone());
            let _ = timeout(NOW, || -> () { panic!("on purpose") });
        });
        assert!(panicked.is_err());
        let result = timeout(NOW, || {
            catch_unwind(|| -> () {
                let _waits = Waits(waited.clone());
                panic!("on purpose")
            })
        });
        assert!(result.unwrap().is_err());
        assert_eq!(waited.get(), 6);
        assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
    });
}

#[test]
fn panics_pass_through() {
    on_both_sides(|| {
        let panicked =
            catch_unwind(|| timeout(FOR_EVER, || timeout(NOW, || resume_unwind(Box::new(7u8)))));
        let Err(payload) = panicked else {
            unreachable!("it panicked")
        };
        assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
        yield_now();
    });
}

#[test]
fn one_that_is_caught_is_over() {
    on_both_sides(|| {
        let result = timeout(NOW, || {
            assert!(catch_unwind(yield_now).is_err());
            yield_now();
            sleep(SOON);
            5
        });
        assert_eq!(result, Ok(5));
    });
}

#[test]
fn as_long_as_the_payload_is_kept_nothing_is_cut_short() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let result = timeout(NOW, || {
                let kept = catch_unwind(yield_now).unwrap_err();
                assert_eq!(timeout(NOW, yield_now), Ok(()));
                drop(kept);
                assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
                5
            });
            assert_eq!(result, Ok(5));
        });
    });
}

#[test]
fn a_payload_that_has_left_its_timeout_is_caught_by_no_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            let smuggled = timeout(NOW, || catch_unwind(yield_now).unwrap_err()).unwrap();
            let _ = timeout(FOR_EVER, || -> () { resume_unwind(smuggled) });
            unreachable!("that was another one's")
        });
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_cancellation_passes_through() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            current().cancel().unwrap();
            let result = catch_cancel(|| {
                let _ = timeout(FOR_EVER, park);
                unreachable!("it is no timeout")
            });
            assert_eq!(result, Err::<(), _>(Cancelled));
            current().cancel().unwrap();
            let _ = timeout(FOR_EVER, park);
            unreachable!("it is no timeout")
        });
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn no_catch_of_a_cancellation_stops_a_timeout() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            for time in [NOW, SOON] {
                let result = timeout(time, || {
                    let _ = catch_cancel(park);
                    unreachable!("nobody cancelled it")
                });
                assert_eq!(result, Err::<(), _>(Elapsed));
            }
        });
    });
}

#[test]
fn where_both_have_come_it_is_a_cancellation_and_then_the_timeout() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            current().cancel().unwrap();
            let result = timeout(NOW, || {
                assert_eq!(catch_cancel(yield_now), Err(Cancelled));
                yield_now();
                unreachable!("the timeout is still to be delivered")
            });
            assert_eq!(result, Err::<(), _>(Elapsed));
            // The other way round: the timeout is over with its call.
            current().cancel().unwrap();
            let result = catch_cancel(|| timeout(NOW, yield_now));
            assert_eq!(result, Err(Cancelled));
            yield_now();
        });
        handle.join().unwrap();
    });
}

#[test]
fn a_shield_inside_holds_it_back() {
    on_both_sides(|| {
        for time in [NOW, SOON] {
            let steps = Counter::new();
            let result = timeout(time, || {
                shield(|| {
                    sleep(2 * SOON);
                    shield(yield_now);
                    steps.up();
                    // One inside the shield is not held back.
                    assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
                    assert_eq!(timeout(SOON, park), Err(Elapsed));
                    steps.up();
                });
                steps.up();
                yield_now();
                steps.up();
            });
            assert_eq!(result, Err(Elapsed));
            assert_eq!(steps.get(), 3);
        }
        assert_eq!(shield(|| timeout(SOON, park)), Err(Elapsed));
    });
}

#[test]
fn inside_a_shield_a_timeout_fires_though_a_cancellation_is_held_back() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            current().cancel().unwrap();
            shield(|| {
                assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
                assert_eq!(timeout(SOON, park), Err(Elapsed));
                yield_now();
            });
            assert_eq!(catch_cancel(yield_now), Err(Cancelled));
            yield_now();
        });
        handle.join().unwrap();
    });
}

#[test]
fn a_deadline_can_be_seen_and_moved() {
    on_both_sides(|| {
        let result = with_deadline(None, |deadline| {
            assert_eq!(deadline.when(), None);
            sleep(SOON);
            let moment = Instant::now() + FOR_EVER;
            deadline.reset_at(moment);
            assert_eq!(deadline.when(), Some(moment));
            yield_now();
            deadline.reset_after(SOON);
            assert!(deadline.when().unwrap() < moment);
            deadline.clear();
            assert_eq!(deadline.when(), None);
            sleep(2 * SOON);
            deadline.reset_after(SOON);
            park();
        });
        assert_eq!(result, Err(Elapsed));
        let moment = Instant::now() + FOR_EVER;
        let result = with_deadline(Some(moment), |deadline| {
            assert_eq!(deadline.when(), Some(moment));
            deadline.reset_after(NOW);
            yield_now();
        });
        assert_eq!(result, Err(Elapsed));
    });
}

#[test]
fn what_has_not_been_delivered_is_taken_back_by_moving_it() {
    on_both_sides(|| {
        let result = with_deadline(Some(Instant::now()), |deadline| {
            shield(yield_now);
            deadline.reset_after(FOR_EVER);
            yield_now();
            deadline.reset_after(NOW);
            deadline.clear();
            yield_now();
            3
        });
        assert_eq!(result, Ok(3));
    });
}

#[test]
fn one_that_was_caught_can_be_set_again() {
    on_both_sides(|| {
        let result = with_deadline(Some(Instant::now()), |deadline| {
            assert!(catch_unwind(yield_now).is_err());
            deadline.reset_after(SOON);
            park();
        });
        assert_eq!(result, Err(Elapsed));
    });
}

#[test]
fn an_outer_deadline_can_be_moved_from_inside_an_inner_one() {
    on_both_sides(|| {
        let result = with_deadline(None, |outer| {
            let inner: Result<(), _> = with_deadline(Some(Instant::now()), |inner| {
                outer.reset_after(NOW);
                inner.reset_after(FOR_EVER);
                yield_now();
                unreachable!("the outer one has passed")
            });
            unreachable!("the inner one is unwound with it: {inner:?}")
        });
        assert_eq!(result, Err::<(), _>(Elapsed));
    });
}

#[test]
fn a_shutdown_passes_through() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, drops) = (Counter::new(), Counter::new());
        for time in [FOR_EVER, Duration::MAX] {
            let (started, drops) = (started.clone(), drops.on_drop());
            runtime.spawn(move || {
                let _drops = drops;
                let _ = timeout(FOR_EVER, || {
                    started.up();
                    let _ = timeout(time, park);
                    unreachable!("it is no timeout")
                });
                unreachable!("it is no timeout")
            });
        }
        started.wait_for(2);
        drop(runtime);
        assert_eq!(drops.get(), 2);
    });
}

#[test]
fn while_a_neighbour_panics_it_is_put_off() {
    struct WaitsFor(Gate, Gate);
    impl Drop for WaitsFor {
        fn drop(&mut self) {
            self.0.open();
            self.1.wait();
        }
    }
    hush();
    on_workers(&[1], |setup| {
        setup.runtime().run(|| {
            let (panics, may_end) = (Gate::new(), Gate::new());
            let neighbour = spawn_local({
                let panics = panics.clone();
                move || {
                    timeout(FOR_EVER, || {
                        panics.wait();
                        timeout(NOW, park)
                    })
                }
            });
            let panicking = spawn_local({
                let (panics, may_end) = (panics.clone(), may_end.clone());
                move || {
                    let _waits = WaitsFor(panics, may_end);
                    panic!("on purpose")
                }
            });
            panics.wait();
            for _ in 0..3 {
                yield_now();
            }
            assert!(!neighbour.is_finished());
            may_end.open();
            assert!(panicking.join().unwrap_err().is_panic());
            assert_eq!(neighbour.join().unwrap(), Ok(Err(Elapsed)));
        });
    });
}

#[test]
fn each_ends_as_one_thing_however_cancellations_and_deadlines_race() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (made, drops) = (Counter::new(), Counter::new());
        let value = {
            let (made, drops) = (made.clone(), drops.clone());
            move || {
                made.up();
                drops.on_drop()
            }
        };
        let handles: Vec<_> = (0..500u32)
            .map(|i| {
                let value = value.clone();
                runtime.spawn(move || {
                    let _outer = value();
                    let time = Duration::from_micros(u64::from(i * 7 % 300));
                    let result = timeout(2 * time, || {
                        let _inner = value();
                        let result = timeout(time, || {
                            let _innermost = value();
                            park();
                        });
                        assert_eq!(result, Err(Elapsed));
                        park();
                    });
                    assert_eq!(result, Err(Elapsed));
                    park();
                })
            })
            .collect();
        for handle in &handles {
            handle.cancel().unwrap();
            if handle.id() % 8 == 0 {
                std::thread::yield_now();
            }
        }
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_eq!(drops.get(), made.get());
    });
}

#[test]
fn thousands_that_are_moved_end_each_at_its_own_time() {
    everywhere(|setup| {
        for chaos in [None, Some(7)] {
            let mut builder = setup.builder();
            if let Some(seed) = chaos {
                builder = builder.chaos(seed);
            }
            let runtime = builder.build().unwrap();
            let handles: Vec<_> = (0..3000)
                .map(|seed| {
                    runtime.spawn(move || {
                        let mut random = Random::new(seed);
                        let moment = Cell::new(None);
                        let result = with_deadline(None, |deadline| {
                            for _ in 0..4 {
                                deadline
                                    .reset_after(Duration::from_micros(random.below(3000) as u64));
                                moment.set(deadline.when());
                                yield_now();
                            }
                            park();
                        });
                        assert_eq!(result, Err(Elapsed));
                        assert!(Instant::now() >= moment.get().unwrap());
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        }
    });
}

#[test]
fn an_elapsed_is_an_io_error_too() {
    let error = std::io::Error::from(Elapsed);
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), Elapsed.to_string());
}

#[test]
fn what_it_spawned_goes_on() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let gate = Gate::new();
            let mut spawned = None;
            let result = timeout(SOON, || {
                let gate = gate.clone();
                spawned = Some(spawn(move || gate.wait()));
                park();
            });
            assert_eq!(result, Err(Elapsed));
            gate.open();
            spawned.unwrap().join().unwrap();
        });
    });
}
