//! Cancelling coroutines.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counter, FOR_EVER, Gate, Random, everywhere, hush, io, on_workers, wait_somehow};
use filature::{
    CancelError, Cancelled, JoinError, JoinHandle, catch_cancel, current, park, run, shield, sleep,
    spawn, spawn_local, yield_now,
};

#[test]
fn whatever_it_waits_for_it_is_unwound() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for kind in 0..8 {
                let started = Gate::new();
                let handle = spawn({
                    let started = started.clone();
                    move || {
                        started.open();
                        wait_somehow(kind);
                    }
                });
                started.wait();
                handle.cancel().unwrap();
                assert!(matches!(handle.join(), Err(JoinError::Cancelled)), "{kind}");
            }
        });
    });
}

#[test]
fn from_a_plain_thread_as_well() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for kind in 0..8 {
            let started = Gate::new();
            let handle = runtime.spawn({
                let started = started.clone();
                move || {
                    started.open();
                    wait_somehow(kind);
                }
            });
            started.wait();
            handle.cancel().unwrap();
            assert!(matches!(handle.join(), Err(JoinError::Cancelled)), "{kind}");
        }
    });
}

#[test]
fn one_that_has_not_started_never_runs() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let handle = spawn_local(|| unreachable!("it was cancelled before"));
            handle.cancel().unwrap();
            handle.cancel().unwrap();
            assert!(handle.join().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn one_that_does_not_suspend_returns_its_value() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            current().cancel().unwrap();
            7
        });
        assert_eq!(handle.join().unwrap(), 7);
    });
}

#[test]
fn a_cancellation_is_delivered_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            let me = current();
            me.cancel().unwrap();
            me.cancel().unwrap();
            assert_eq!(catch_cancel(park), Err(Cancelled));
            assert_eq!(catch_cancel(yield_now), Ok(()));
            assert_eq!(me.cancelling(), 2);
            assert_eq!(me.uncancel(), 1);
            assert_eq!(me.uncancel(), 0);
            me.cancel().unwrap();
            assert_eq!(catch_cancel(yield_now), Err(Cancelled));
        });
        handle.join().unwrap();
    });
}

#[test]
fn what_it_has_got_by_then_is_kept_though_a_neighbour_panics() {
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
            let (panics, may_end, may_return) = (Gate::new(), Gate::new(), Gate::new());
            let joined = spawn_local({
                let may_return = may_return.clone();
                move || {
                    may_return.wait();
                    7
                }
            });
            let got = Counter::new();
            let joiner = spawn_local({
                let got = got.clone();
                move || {
                    assert_eq!(joined.join().unwrap(), 7);
                    got.up();
                    park();
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
            may_return.open();
            // What is joined ends, and its joiner comes after us.
            yield_now();
            joiner.cancel().unwrap();
            got.wait_for(1);
            may_end.open();
            assert!(panicking.join().unwrap_err().is_panic());
            assert!(joiner.join().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_shield_holds_it_back() {
    everywhere(|setup| {
        let steps = Arc::new(AtomicUsize::new(0));
        let runtime = setup.runtime();
        let handle = runtime.spawn({
            let steps = steps.clone();
            move || {
                current().cancel().unwrap();
                shield(|| {
                    yield_now();
                    shield(yield_now);
                    sleep(std::time::Duration::ZERO);
                    steps.fetch_add(1, Ordering::Relaxed);
                });
                steps.fetch_add(1, Ordering::Relaxed);
                sleep(FOR_EVER);
            }
        });
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(steps.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn clean_up_may_wait_and_the_coroutine_may_still_return_a_value() {
    everywhere(|setup| {
        let started = Gate::new();
        let runtime = setup.runtime();
        let handle = runtime.spawn({
            let started = started.clone();
            move || {
                started.open();
                let caught = catch_cancel(|| sleep(FOR_EVER));
                yield_now();
                sleep(std::time::Duration::from_micros(1));
                spawn(|| ()).join().unwrap();
                caught
            }
        });
        started.wait();
        handle.cancel().unwrap();
        assert_eq!(handle.join().unwrap(), Err(Cancelled));
    });
}

#[test]
fn destructors_run_and_may_wait() {
    everywhere(|setup| {
        struct Waits(Counter);
        impl Drop for Waits {
            fn drop(&mut self) {
                yield_now();
                self.0.up();
                spawn(yield_now).join().unwrap();
                self.0.up();
            }
        }
        let steps = Counter::new();
        let runtime = setup.runtime();
        let (theirs, started) = (steps.clone(), Gate::new());
        let opens = started.clone();
        let handle = runtime.spawn(move || {
            let _waits = Waits(theirs);
            opens.open();
            park();
            unreachable!();
        });
        started.wait();
        handle.cancel().unwrap();
        handle.cancel().unwrap();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(steps.get(), 2);
    });
}

#[test]
fn what_runs_for_it_elsewhere_is_asked_to_end_as_well() {
    everywhere(|setup| {
        let (runtime, other) = (setup.runtime(), setup.runtime());
        let dropped = Counter::new();
        let (started, counts) = (Gate::new(), dropped.on_drop());
        let opens = started.clone();
        let handle = runtime.spawn(move || {
            other.run(|| {
                let _counts = counts;
                run(|| {
                    opens.open();
                    sleep(FOR_EVER);
                });
            });
        });
        started.wait();
        handle.cancel().unwrap();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_plain_thread_is_not_cancelled() {
    let main = current();
    assert_eq!(main.cancel(), Err(CancelError::Thread));
    assert_eq!((main.cancelling(), main.uncancel()), (0, 0));
    assert_eq!(catch_cancel(|| shield(|| 1)), Ok(1));
}

#[test]
fn to_cancel_what_has_ended_does_nothing() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| 7);
        while !handle.is_finished() {
            yield_now();
        }
        handle.cancel().unwrap();
        let leftover = runtime.spawn(park);
        drop(runtime);
        leftover.cancel().unwrap();
        assert_eq!(handle.join().unwrap(), 7);
        assert!(leftover.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_shutdown_is_not_caught_as_a_cancellation() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let started = Gate::new();
        let opens = started.clone();
        let handle = runtime.spawn(move || {
            opens.open();
            let _ = catch_cancel(park);
            unreachable!("a shutdown was caught");
        });
        started.wait();
        drop(runtime);
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_receive_is_called_off_and_swallows_nothing() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (ours, theirs) = io::unix_pair();
        let ours = Arc::new(ours);
        for round in 0..20u8 {
            let started = Gate::new();
            let (opens, source) = (started.clone(), ours.clone());
            let reader = runtime.spawn(move || {
                opens.open();
                let mut byte = [0];
                source.recv(&mut byte, 0, None).map(|_| byte[0])
            });
            started.wait();
            // Some find the byte there, some wait for it.
            if round % 2 == 0 {
                theirs.send(&[round], 0, None).unwrap();
                reader.cancel().unwrap();
            } else {
                reader.cancel().unwrap();
                theirs.send(&[round], 0, None).unwrap();
            }
            let got = match reader.join() {
                Ok(byte) => byte.unwrap(),
                Err(error) => {
                    assert!(error.is_cancelled());
                    let mut byte = [0];
                    assert_eq!(ours.recv(&mut byte, 0, None).unwrap(), 1);
                    byte[0]
                }
            };
            assert_eq!(got, round);
        }
    });
}

#[test]
fn many_ask_many_from_everywhere() {
    everywhere(|setup| {
        let mut random = Random::seeded();
        let runtime = setup.runtime();
        let (alive, dropped) = (Counter::new(), Counter::new());
        let handles: Vec<_> = (0..300)
            .map(|kind| {
                let (alive, dropped) = (alive.clone(), dropped.on_drop());
                runtime.spawn(move || {
                    let _dropped = dropped;
                    alive.up();
                    wait_somehow(kind);
                })
            })
            .collect();
        // Some before they start, and each by several.
        let coroutines: Vec<_> = handles.iter().map(|h| h.coroutine().clone()).collect();
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let (coroutines, mut random) = (coroutines.clone(), random.fork());
                let ask = move || {
                    for _ in 0..200 {
                        coroutines[random.below(300)].cancel().unwrap();
                        yield_now();
                    }
                };
                runtime.spawn(ask)
            })
            .collect();
        for asker in askers {
            asker.join().unwrap();
        }
        for handle in handles {
            handle.cancel().unwrap();
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_eq!(dropped.get(), 300);
    });
}

/// Cancels and joins it, as clean-up does.
struct CancelAndJoin(Option<JoinHandle<()>>);

impl CancelAndJoin {
    fn new(handle: JoinHandle<()>) -> Self {
        Self(Some(handle))
    }
}

impl Drop for CancelAndJoin {
    fn drop(&mut self) {
        let handle = self.0.take().unwrap();
        handle.cancel().unwrap();
        let _ = handle.join();
    }
}

fn yields_for_ever() {
    loop {
        yield_now();
    }
}

#[test]
fn a_destructor_may_cancel_and_join_one_that_yields() {
    common::hush();
    everywhere(|setup| {
        setup.runtime().run(|| {
            for by_panic in [true, false] {
                let child = spawn_local(yields_for_ever);
                yield_now();
                let parent = spawn_local(move || {
                    let _cleans_up = CancelAndJoin::new(child);
                    assert!(!by_panic, "{}", common::ON_PURPOSE);
                    park();
                });
                yield_now();
                parent.cancel().unwrap();
                assert_eq!(parent.join().unwrap_err().is_panic(), by_panic);
            }
        });
    });
}

#[test]
fn one_that_was_asked_before_a_neighbour_panicked_ends_meanwhile() {
    common::hush();
    everywhere(|setup| {
        setup.runtime().run(|| {
            let child = spawn_local(yields_for_ever);
            yield_now();
            child.cancel().unwrap();
            let parent = spawn_local(move || {
                let _joins = CancelAndJoin::new(child);
                panic!("{}", common::ON_PURPOSE);
            });
            assert!(parent.join().unwrap_err().is_panic());
        });
    });
}

#[test]
fn requests_from_several_threads_unwind_once() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let handle = spawn_local(|| {
                let mut times = usize::from(catch_cancel(park).is_err());
                for _ in 0..100 {
                    times += usize::from(catch_cancel(yield_now).is_err());
                }
                times
            });
            yield_now();
            handle.cancel().unwrap();
            let coroutine = handle.coroutine().clone();
            std::thread::spawn(move || coroutine.cancel().unwrap())
                .join()
                .unwrap();
            assert_eq!(handle.join().unwrap(), 1);
        });
    });
}

#[test]
fn what_was_taken_back_before_the_start_is_forgotten() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (started, go_on) = (Gate::new(), Gate::new());
            let handle = spawn_local({
                let (started, go_on) = (started.clone(), go_on.clone());
                move || {
                    started.open();
                    go_on.wait();
                }
            });
            handle.cancel().unwrap();
            assert_eq!(handle.coroutine().uncancel(), 0);
            started.wait();
            // Has the worker look at its letters.
            let other = spawn_local(park);
            other.cancel().unwrap();
            assert!(other.join().unwrap_err().is_cancelled());
            go_on.open();
            handle.join().unwrap();
        });
    });
}

#[test]
fn another_ones_cancellation_is_not_caught() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            current().cancel().unwrap();
            catch_unwind(park).unwrap_err()
        });
        let payload = handle.join().unwrap();
        let passed = catch_unwind(AssertUnwindSafe(|| catch_cancel(|| resume_unwind(payload))));
        assert!(passed.is_err());
    });
}

#[test]
fn what_is_left_of_one_that_returned_is_not_cut_short() {
    everywhere(|setup| {
        struct Waits(Counter);
        impl Drop for Waits {
            fn drop(&mut self) {
                yield_now();
                self.0.up();
            }
        }
        let runtime = setup.runtime();
        let done = Counter::new();
        let waits = Waits(done.clone());
        drop(runtime.spawn(move || {
            current().cancel().unwrap();
            waits
        }));
        runtime.run(|| done.wait_for(1));
    });
}
