//! park and unpark: a permit is never lost, never doubled, and nobody else's.

mod common;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use common::{Counter, FOR_EVER, Gate, everywhere, inside_everywhere, on_a_thread};
use filature::{
    Coroutine, JoinHandle, current, park, park_timeout, sleep, spawn, spawn_local, yield_now,
};

/// Whether there was a permit; takes it.
fn had_permit() -> bool {
    let before = Instant::now();
    let wait = Duration::from_millis(20);
    park_timeout(wait);
    // Without a permit it waits its whole time out.
    before.elapsed() < wait
}

#[test]
fn a_wakeup_sent_before_parking_is_not_lost() {
    inside_everywhere(|| {
        current().unpark();
        park();

        let (unparked, started) = (Gate::new(), Gate::new());
        let handle = spawn({
            let (unparked, started) = (unparked.clone(), started.clone());
            move || {
                started.open();
                unparked.wait();
                park();
            }
        });
        started.wait();
        handle.coroutine().unpark();
        unparked.open();
        handle.join().unwrap();
    });
}

#[test]
fn a_wakeup_sent_before_the_coroutine_starts_is_not_lost() {
    inside_everywhere(|| {
        for i in 0..100 {
            let handle = if i % 2 == 0 {
                spawn(park)
            } else {
                spawn_local(park)
            };
            handle.coroutine().unpark();
            handle.join().unwrap();
        }
    });
}

#[test]
fn two_unparks_are_one_permit() {
    everywhere(|setup| {
        if setup.workers > 2 {
            return;
        }
        setup.runtime().run(|| {
            assert!(!had_permit());
            current().unpark();
            current().unpark();
            on_a_thread({
                let me = current();
                move || me.unpark()
            });
            park();
            assert!(!had_permit());
        });
    });
}

#[test]
fn two_unparks_of_a_thread_are_one_permit() {
    current().unpark();
    current().unpark();
    park();
    assert!(!had_permit());
}

#[test]
fn a_parked_coroutine_and_its_worker_let_others_run() {
    inside_everywhere(|| {
        let parked: Vec<_> = (0..100).map(|_| spawn(park)).collect();
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
        parked.iter().for_each(|p| p.coroutine().unpark());
        parked.into_iter().for_each(|p| p.join().unwrap());
    });
}

#[test]
fn a_park_never_returns_for_no_reason() {
    inside_everywhere(|| {
        // One permit a round and an answer to each: as many returns as permits.
        let returns = Counter::new();
        let waker = current();
        let handle = spawn({
            let returns = returns.clone();
            move || {
                for _ in 0..1000 {
                    park();
                    returns.up();
                    spawn(|| ()).join().unwrap();
                    yield_now();
                    waker.unpark();
                }
            }
        });
        for round in 0..1000 {
            for _ in 0..round % 3 {
                yield_now();
            }
            assert_eq!(returns.get(), round);
            handle.coroutine().unpark();
            park();
        }
        handle.join().unwrap();
    });
}

#[test]
fn a_join_leaves_the_permit_alone() {
    inside_everywhere(|| {
        for _ in 0..200 {
            current().unpark();
            let gate = Gate::new();
            let handle = spawn({
                let gate = gate.clone();
                move || gate.wait()
            });
            spawn(move || gate.open());
            handle.join().unwrap();
            park();
        }
    });
}

#[test]
fn a_sleep_leaves_the_permit_alone_and_is_not_cut_short_by_it() {
    inside_everywhere(|| {
        let started = Gate::new();
        let sleeper = spawn({
            let started = started.clone();
            move || {
                let before = Instant::now();
                started.open();
                sleep(Duration::from_millis(5));
                let slept = before.elapsed();
                park();
                slept
            }
        });
        started.wait();
        for _ in 0..100 {
            sleeper.coroutine().unpark();
            yield_now();
        }
        assert!(sleeper.join().unwrap() >= Duration::from_millis(5));
    });
}

#[test]
fn a_yield_leaves_the_permit_alone() {
    inside_everywhere(|| {
        current().unpark();
        for _ in 0..100 {
            yield_now();
        }
        park();
    });
}

#[test]
fn a_run_inside_of_a_run_leaves_the_permit_alone() {
    inside_everywhere(|| {
        current().unpark();
        filature::run(yield_now);
        park();
    });
}

#[test]
fn an_unpark_of_one_that_has_ended_is_harmless() {
    everywhere(|setup| {
        if setup.workers > 2 {
            return;
        }
        let runtime = setup.runtime();
        let ended = runtime.run(|| {
            let ended: Vec<_> = (0..100).map(|_| spawn(current).join().unwrap()).collect();
            // Whoever has taken the places of those must not hear it.
            let fresh: Vec<_> = (0..100).map(|_| spawn_local(had_permit)).collect();
            for _ in 0..10 {
                ended.iter().for_each(Coroutine::unpark);
                yield_now();
            }
            fresh.into_iter().for_each(|h| assert!(!h.join().unwrap()));
            ended
        });
        drop(runtime);
        ended.iter().for_each(Coroutine::unpark);
    });
}

#[test]
fn an_unpark_of_a_thread_that_has_ended_is_harmless() {
    let ended = std::thread::spawn(current).join().unwrap();
    ended.unpark();
    inside_everywhere(|| ended.unpark());
}

#[test]
fn an_unparked_coroutine_need_not_wait_its_timeout_out() {
    inside_everywhere(|| {
        for timeout in [FOR_EVER, Duration::MAX] {
            let handle = spawn(move || park_timeout(timeout));
            for _ in 0..10 {
                yield_now();
            }
            handle.coroutine().unpark();
            handle.join().unwrap();
            current().unpark();
            park_timeout(timeout);
        }
    });
}

#[test]
fn a_timeout_ends_the_wait_not_before_its_time() {
    inside_everywhere(|| {
        for micros in [0, 1, 10, 100, 1000, 5000] {
            let timeout = Duration::from_micros(micros);
            let before = Instant::now();
            park_timeout(timeout);
            assert!(before.elapsed() >= timeout);
        }
    });
    let before = Instant::now();
    park_timeout(Duration::from_millis(2));
    assert!(before.elapsed() >= Duration::from_millis(2));
}

#[test]
fn a_permit_that_comes_with_the_timeout_is_not_lost() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let given = Counter::new();
        let sleeper = runtime.spawn({
            let given = given.clone();
            move || {
                for round in 1..=500 {
                    let mut micros = 1;
                    while given.get() < round {
                        park_timeout(Duration::from_micros(micros));
                        micros = (micros * 3) % 101;
                    }
                    // Whether or not a timed park took the permit, here is another.
                    current().unpark();
                    park();
                }
            }
        });
        let coroutine = sleeper.coroutine().clone();
        while !sleeper.is_finished() {
            given.up();
            coroutine.unpark();
            std::thread::yield_now();
        }
        sleeper.join().unwrap();
    });
}

#[test]
fn waits_that_end_early_leave_no_timer_behind() {
    inside_everywhere(|| {
        for _ in 0..20_000 {
            current().unpark();
            park_timeout(FOR_EVER);
        }
        // A timer left behind would point into the frame of one of those.
        let before = Instant::now();
        sleep(Duration::from_millis(1));
        assert!(before.elapsed() >= Duration::from_millis(1));
    });
}

/// Ways to wait that never have to.
const EAGER: [fn(); 2] = [park, || park_timeout(FOR_EVER)];

#[test]
fn one_that_always_has_a_permit_lets_others_run() {
    everywhere(|setup| {
        for wait in EAGER {
            setup.runtime().run(|| {
                let ran = Gate::new();
                spawn_local({
                    let ran = ran.clone();
                    move || ran.open()
                });
                while !ran.is_open() {
                    current().unpark();
                    wait();
                }
            });
        }
    });
}

#[test]
fn one_that_always_has_a_permit_is_unwound_by_a_shutdown() {
    everywhere(|setup| {
        for wait in EAGER {
            let runtime = setup.runtime();
            let started = Gate::new();
            let eager = runtime.spawn({
                let started = started.clone();
                move || {
                    started.open();
                    loop {
                        current().unpark();
                        wait();
                    }
                }
            });
            started.wait();
            drop(runtime);
            let eager: JoinHandle<()> = eager;
            assert!(eager.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn one_that_is_unwound_with_a_permit_keeps_it() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let started = Gate::new();
        let eager = runtime.spawn({
            let started = started.clone();
            move || {
                started.open();
                let unwound = catch_unwind(|| {
                    loop {
                        current().unpark();
                        park();
                    }
                });
                // While the payload is there a park is an ordinary one.
                let _kept = unwound.unwrap_err();
                park();
            }
        });
        started.wait();
        drop(runtime);
        eager.join().unwrap();
    });
}
