//! Panics: the joiner gets them, destructors run, and everybody else goes on.

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Mutex};
use std::thread::panicking;
use std::time::Duration;

use common::{Counter, Gate, everywhere, hush, inside_everywhere, on_a_thread};
use filature::{JoinError, current, park, park_timeout, run, sleep, spawn, spawn_local, yield_now};

fn payload_of<T: Any + Clone>(error: &JoinError) -> T {
    error.downcast_ref::<T>().expect("that type").clone()
}

#[test]
fn a_panic_comes_back_from_the_join_as_its_payload() {
    hush();
    inside_everywhere(|| {
        let error = spawn(|| panic!("on purpose"))
            .join()
            .map(|()| 0)
            .unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(payload_of::<&str>(&error), "on purpose");
        assert_eq!(error.to_string(), "the coroutine panicked: on purpose");

        let n = 7;
        let error = spawn(move || panic!("{n} on purpose"))
            .join()
            .map(|()| 0)
            .unwrap_err();
        assert_eq!(payload_of::<String>(&error), "7 on purpose");

        let error = spawn(|| resume_unwind(Box::new(vec![1, 2, 3])))
            .join()
            .map(|()| 0)
            .unwrap_err();
        assert!(error.downcast_ref::<&str>().is_none());
        assert_eq!(*error.downcast::<Vec<i32>>().unwrap(), [1, 2, 3]);

        let error = spawn(|| resume_unwind(Box::new(5u8)))
            .join()
            .map(|()| 0)
            .unwrap_err();
        let error = error.downcast::<u16>().unwrap_err();
        assert_eq!(*error.into_panic().unwrap().downcast::<u8>().unwrap(), 5);
    });
}

#[test]
fn a_plain_thread_gets_the_payload_too() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let error = runtime
            .spawn(|| resume_unwind(Box::new(1u8)))
            .join()
            .map(|()| 0)
            .unwrap_err();
        assert_eq!(payload_of::<u8>(&error), 1);
    });
}

#[test]
fn a_panic_after_suspending_comes_back_too() {
    hush();
    inside_everywhere(|| {
        let handle = spawn(|| {
            yield_now();
            park();
            sleep(Duration::from_micros(10));
            spawn(|| ()).join().unwrap();
            panic!("on purpose");
        });
        handle.coroutine().unpark();
        assert_eq!(
            payload_of::<&str>(&handle.join().map(|()| 0).unwrap_err()),
            "on purpose"
        );
    });
}

#[test]
fn a_local_coroutine_panics_like_any_other() {
    inside_everywhere(|| {
        let rc = std::rc::Rc::new(1);
        let captured = rc.clone();
        let handle = spawn_local(move || {
            let _captured = captured;
            yield_now();
            resume_unwind(Box::new(2u8))
        });
        assert_eq!(payload_of::<u8>(&handle.join().map(|()| 0).unwrap_err()), 2);
        assert_eq!(std::rc::Rc::strong_count(&rc), 1);
    });
}

#[test]
fn only_the_joiner_of_the_one_that_panicked_hears_of_it() {
    inside_everywhere(|| {
        let outer = spawn(|| {
            let inner = spawn(|| resume_unwind(Box::new(1u8)));
            inner.join().map(|()| 0).unwrap_err().is_panic()
        });
        assert!(outer.join().unwrap());
    });
}

#[test]
fn everybody_else_goes_on_after_a_thousand_panics() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            let witness = spawn(|| {
                let mut rounds = 0;
                for _ in 0..1000 {
                    yield_now();
                    rounds += 1;
                }
                rounds
            });
            let handles: Vec<_> = (0..1000usize)
                .map(|i| {
                    spawn(move || {
                        if i % 2 == 0 {
                            yield_now();
                        }
                        if i % 3 != 0 {
                            resume_unwind(Box::new(i));
                        }
                        i
                    })
                })
                .collect();
            for (i, handle) in handles.into_iter().enumerate() {
                match handle.join() {
                    Ok(value) => assert_eq!((value, i % 3), (i, 0)),
                    Err(error) => assert_eq!(payload_of::<usize>(&error), i),
                }
            }
            assert_eq!(witness.join().unwrap(), 1000);
        });
        assert_eq!(runtime.run(|| spawn(|| 1).join().unwrap()), 1);
    });
}

#[test]
fn a_panic_in_run_comes_out_of_run() {
    hush();
    everywhere(|setup| {
        let runtime = setup.runtime();
        let payload = catch_unwind(|| runtime.run(|| panic_any("on purpose"))).unwrap_err();
        assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "on purpose");
        // Also through a run inside of it, and with what it borrowed intact.
        let mut lent = 0;
        let payload = catch_unwind(AssertUnwindSafe(|| {
            runtime.run(|| {
                run(|| {
                    lent += 1;
                    yield_now();
                    resume_unwind(Box::new(3u8))
                })
            })
        }));
        assert_eq!(*payload.unwrap_err().downcast_ref::<u8>().unwrap(), 3);
        assert_eq!(lent, 1);
        assert_eq!(runtime.run(|| 5), 5);
    });
}

#[test]
fn a_panic_runs_the_destructors_of_all_frames_once() {
    inside_everywhere(|| {
        fn deep(levels: usize, drops: &Counter) {
            let _guard = drops.on_drop();
            yield_now();
            match levels {
                0 => resume_unwind(Box::new(0u8)),
                _ => deep(levels - 1, drops),
            }
        }
        let drops = Counter::new();
        let handle = spawn({
            let drops = drops.clone();
            move || deep(49, &drops)
        });
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(drops.get(), 50);
    });
}

/// Panics as it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb went off on purpose");
    }
}

#[test]
fn a_capture_that_panics_as_it_is_dropped_is_a_panic_of_the_coroutine() {
    hush();
    inside_everywhere(|| {
        let drops = Counter::new();
        let (bomb, other) = (Bomb, drops.on_drop());
        let handle = spawn(move || {
            let _other = other;
            let _bomb = bomb;
        });
        let error = handle.join().unwrap_err();
        assert!(payload_of::<&str>(&error).starts_with("a bomb"));
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_caught_panic_is_the_coroutines_own_affair() {
    inside_everywhere(|| {
        let handle = spawn(|| {
            let mut caught = 0;
            for i in 0..100u32 {
                let result = catch_unwind(|| {
                    yield_now();
                    if i % 2 == 0 {
                        resume_unwind(Box::new(i));
                    }
                    yield_now();
                });
                if let Err(payload) = result {
                    assert_eq!(*payload.downcast_ref::<u32>().unwrap(), i);
                    caught += 1;
                }
                yield_now();
                assert!(!panicking());
            }
            caught
        });
        assert_eq!(handle.join().unwrap(), 50);
    });
}

/// Waits in every way there is as it is dropped.
struct WaitsOnDrop(Gate, Counter);

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        yield_now();
        sleep(Duration::from_micros(10));
        park_timeout(Duration::from_micros(10));
        current().unpark();
        park();
        assert_eq!(spawn(|| 3).join().unwrap(), 3);
        self.0.wait();
        self.1.up();
    }
}

#[test]
fn a_destructor_may_wait_while_its_coroutine_unwinds() {
    inside_everywhere(|| {
        let (gate, waited) = (Gate::new(), Counter::new());
        let handles: Vec<_> = (0..20usize)
            .map(|i| {
                let waits = WaitsOnDrop(gate.clone(), waited.clone());
                spawn(move || {
                    let _waits = waits;
                    yield_now();
                    resume_unwind(Box::new(i))
                })
            })
            .collect();
        // Neighbours go on meanwhile, and may panic too.
        for i in 0..20 {
            let error = spawn(move || {
                yield_now();
                resume_unwind(Box::new(i))
            });
            assert_eq!(
                payload_of::<usize>(&error.join().map(|()| 0).unwrap_err()),
                i
            );
        }
        gate.open();
        for (i, handle) in handles.into_iter().enumerate() {
            let error = handle.join().map(|()| 0).unwrap_err();
            assert_eq!(payload_of::<usize>(&error), i);
        }
        assert_eq!(waited.get(), 20);
        assert!(!panicking());
    });
}

#[test]
fn a_neighbour_may_panic_with_a_message_while_a_destructor_waits() {
    hush();
    inside_everywhere(|| {
        let (gate, waited) = (Gate::new(), Counter::new());
        let waits = WaitsOnDrop(gate.clone(), waited.clone());
        let unwinding = spawn_local(move || {
            let _waits = waits;
            resume_unwind(Box::new(1u8))
        });
        // By then it waits for the gate.
        for _ in 0..100 {
            yield_now();
        }
        let neighbour = spawn_local(|| panic!("on purpose"));
        let error = neighbour.join().map(|()| 0).unwrap_err();
        assert_eq!(payload_of::<&str>(&error), "on purpose");
        gate.open();
        assert_eq!(
            payload_of::<u8>(&unwinding.join().map(|()| 0).unwrap_err()),
            1
        );
        assert_eq!(waited.get(), 1);
    });
}

#[test]
fn a_lock_held_by_a_panic_is_poisoned_as_ever() {
    hush();
    inside_everywhere(|| {
        let lock = Arc::new(Mutex::new(0));
        let handle = spawn({
            let lock = lock.clone();
            move || {
                let _held = lock.lock().unwrap();
                panic!("on purpose");
            }
        });
        assert!(handle.join().map(|()| 0).unwrap_err().is_panic());
        assert!(lock.is_poisoned());
    });
}

#[test]
fn panics_race_with_handles_being_dropped() {
    inside_everywhere(|| {
        let drops = Counter::new();
        for i in 0..500 {
            let guard = drops.on_drop();
            let handle = spawn(move || {
                let _guard = guard;
                if i % 4 == 0 {
                    yield_now();
                }
                if i % 2 == 0 {
                    // Cancelled and caught panics do not reach the hook.
                    let _ = catch_unwind(|| resume_unwind(Box::new(i)));
                }
            });
            match i % 3 {
                0 => drop(handle),
                1 => on_a_thread_now_and_then(i, handle),
                _ => handle.join().unwrap(),
            }
        }
        drops.wait_for(500);
    });
}

fn on_a_thread_now_and_then(i: usize, handle: filature::JoinHandle<()>) {
    if i % 50 == 1 {
        on_a_thread(move || drop(handle));
    } else {
        drop(handle);
    }
}
