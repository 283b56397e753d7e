//! How far a coroutine has come, and what is called when it has ended.

mod common;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Counter, Gate, ON_PURPOSE, everywhere, hush, inside_everywhere, on_a_thread};
use filature::{
    Builder, Cancelled, JoinState, catch_cancel, current, is_coroutine, park, sleep, spawn,
    spawn_local, worker_index, yield_now,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<usize>>>);

impl Log {
    fn note(&self, number: usize) {
        self.0.lock().unwrap().push(number);
    }

    fn wait_for(&self, expected: &[usize]) {
        while self.0.lock().unwrap().len() < expected.len() {
            yield_now();
        }
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

#[test]
fn the_state_goes_from_pending_to_running_to_done() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let gate = Gate::new();
            let handle = spawn_local({
                let gate = gate.clone();
                move || gate.wait()
            });
            assert_eq!(handle.state(), JoinState::Pending);
            yield_now();
            assert_eq!(handle.state(), JoinState::Running);
            gate.open();
            while !handle.is_finished() {
                assert_eq!(handle.state(), JoinState::Running);
                yield_now();
            }
            assert_eq!(handle.state(), JoinState::Done);
            handle.join().unwrap();
        });
    });
}

#[test]
fn only_one_that_a_cancellation_has_ended_is_cancelled() {
    hush();
    inside_everywhere(|| {
        let state = |body: fn()| {
            let handle = spawn_local(body);
            yield_now();
            handle.cancel().unwrap();
            while !handle.is_finished() {
                yield_now();
            }
            handle.state()
        };
        assert_eq!(state(park), JoinState::Cancelled);
        assert_eq!(state(|| {}), JoinState::Done);
        assert_eq!(state(|| panic!("{ON_PURPOSE}")), JoinState::Done);
        assert_eq!(
            state(|| assert_eq!(catch_cancel(park), Err(Cancelled))),
            JoinState::Done
        );
        let unstarted = spawn_local(park);
        unstarted.cancel().unwrap();
        while !unstarted.is_finished() {
            yield_now();
        }
        assert_eq!(unstarted.state(), JoinState::Cancelled);
    });
}

#[test]
fn a_shutdown_cancels() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let started = Gate::new();
        let (told, hears) = mpsc::channel();
        let handle = runtime.spawn({
            let started = started.clone();
            move || {
                started.open();
                park();
            }
        });
        handle.on_exit(move |state| told.send(state).unwrap());
        started.wait();
        drop(runtime);
        assert_eq!(handle.state(), JoinState::Cancelled);
        assert_eq!(hears.recv(), Ok(JoinState::Cancelled));
    });
}

#[test]
fn one_that_a_shutdown_drops_unstarted_calls_back_too() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (busy, go_on) = (Counter::new(), Gate::new());
        for _ in 0..setup.workers {
            let (busy, go_on) = (busy.clone(), go_on.clone());
            drop(runtime.spawn(move || {
                busy.up();
                go_on.wait_busily();
            }));
        }
        busy.wait_for(setup.workers);
        let handle = runtime.spawn(|| unreachable!("all workers are busy"));
        assert_eq!(handle.state(), JoinState::Pending);
        let (told, hears) = mpsc::channel();
        handle.on_exit(move |state| told.send(state).unwrap());
        drop(handle);
        assert!(!runtime.shutdown_timeout(Duration::ZERO));
        go_on.open();
        assert_eq!(hears.recv(), Ok(JoinState::Cancelled));
    });
}

#[test]
fn callbacks_are_called_in_order_whatever_becomes_of_the_handle() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for fate in 0..3 {
            let (gate, log) = (Gate::new(), Log::default());
            let handle = runtime.spawn({
                let gate = gate.clone();
                move || gate.wait()
            });
            for number in 0..10 {
                let log = log.clone();
                handle.on_exit(move |state| {
                    assert_eq!(state, JoinState::Done);
                    assert!(is_coroutine());
                    yield_now();
                    log.note(number);
                });
            }
            match fate {
                0 => {
                    gate.open();
                    handle.join().unwrap();
                }
                1 => {
                    drop(handle);
                    gate.open();
                }
                _ => {
                    std::mem::forget(handle);
                    gate.open();
                }
            }
            log.wait_for(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
    });
}

#[test]
fn one_that_comes_late_is_called_at_once_by_who_adds_it() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| ());
        while !handle.is_finished() {
            yield_now();
        }
        let here = std::thread::current().id();
        for number in 0..3 {
            let log = Log::default();
            let noted = log.clone();
            handle.on_exit(move |_| {
                assert_eq!(std::thread::current().id(), here);
                noted.note(number);
            });
            assert_eq!(*log.0.lock().unwrap(), [number]);
        }
    });
}

#[test]
fn they_run_at_home() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (told, hears) = mpsc::channel();
            let gate = Gate::new();
            let handle = spawn({
                let (told, gate) = (told.clone(), gate.clone());
                move || {
                    told.send(worker_index()).unwrap();
                    gate.wait();
                }
            });
            handle.on_exit(move |_| told.send(worker_index()).unwrap());
            gate.open();
            handle.join().unwrap();
            let (home, callback) = on_a_thread(move || (hears.recv(), hears.recv()));
            assert_eq!(home, callback);
        });
    });
}

#[test]
fn one_that_panics_does_not_stop_the_rest() {
    hush();
    inside_everywhere(|| {
        let (gate, log) = (Gate::new(), Log::default());
        let handle = spawn({
            let gate = gate.clone();
            move || gate.wait()
        });
        for number in 0..6 {
            let log = log.clone();
            handle.on_exit(move |_| {
                log.note(number);
                if number % 2 == 0 {
                    panic!("{ON_PURPOSE}");
                }
            });
        }
        gate.open();
        handle.join().unwrap();
        log.wait_for(&[0, 1, 2, 3, 4, 5]);
        let late = spawn(|| ());
        while !late.is_finished() {
            yield_now();
        }
        late.on_exit(|_| panic!("{ON_PURPOSE}"));
    });
}

#[test]
fn one_that_is_added_while_others_are_called_comes_after_them() {
    inside_everywhere(|| {
        let (inside, go_on, log) = (Gate::new(), Gate::new(), Log::default());
        let handle = spawn(|| ());
        let gates = (inside.clone(), go_on.clone());
        let first = {
            let log = log.clone();
            move |_| {
                gates.0.open();
                gates.1.wait();
                log.note(0);
            }
        };
        let early = Builder::new().spawn(park).unwrap();
        early.on_exit(first);
        early.coroutine().unpark();
        inside.wait();
        assert!(early.is_finished());
        let noted = log.clone();
        early.on_exit(move |_| noted.note(1));
        assert!(log.0.lock().unwrap().is_empty());
        go_on.open();
        log.wait_for(&[0, 1]);
        handle.join().unwrap();
    });
}

#[test]
fn each_is_called_once_however_the_end_and_the_adding_fall_together() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let calls = Counter::new();
        let rounds = 300;
        for _ in 0..rounds {
            let handle = Arc::new(runtime.spawn(|| ()));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, calls) = (handle.clone(), calls.clone());
                    runtime.spawn(move || {
                        handle.on_exit(move |_| {
                            calls.up();
                        });
                    })
                })
                .collect();
            let count = calls.clone();
            handle.on_exit(move |_| {
                count.up();
            });
            for other in others {
                other.join().unwrap();
            }
        }
        calls.wait_for(rounds * 3);
        assert_eq!(calls.get(), rounds * 3);
    });
}

#[test]
fn callbacks_and_what_they_capture_are_dropped_once() {
    everywhere(|setup| {
        let drops = Counter::new();
        let runtime = setup.runtime();
        for late in [false, true] {
            let gate = Gate::new();
            let handle = runtime.spawn({
                let gate = gate.clone();
                move || gate.wait()
            });
            if late {
                gate.open();
                while !handle.is_finished() {
                    yield_now();
                }
            }
            let capture = drops.on_drop();
            handle.on_exit(move |_| drop(capture));
            gate.open();
        }
        drop(runtime);
        assert_eq!(drops.get(), 2);
    });
}

#[test]
fn a_callback_is_not_cut_short_by_a_cancellation_that_came_too_late() {
    inside_everywhere(|| {
        let log = Log::default();
        let handle = spawn_local(|| current().cancel().unwrap());
        let noted = log.clone();
        handle.on_exit(move |state| {
            assert_eq!(state, JoinState::Done);
            yield_now();
            sleep(Duration::ZERO);
            noted.note(1);
        });
        handle.join().unwrap();
        log.wait_for(&[1]);
    });
}

#[test]
fn a_late_callback_is_cut_short_with_its_caller() {
    inside_everywhere(|| {
        let ended = spawn_local(|| ());
        yield_now();
        let drops = Counter::new();
        let capture = drops.on_drop();
        let caller = spawn_local(move || {
            ended.on_exit(move |_| {
                let _capture = capture;
                park();
            });
            unreachable!("it was cancelled in the callback");
        });
        yield_now();
        caller.cancel().unwrap();
        assert!(caller.join().unwrap_err().is_cancelled());
        assert_eq!(drops.get(), 1);
    });
}
