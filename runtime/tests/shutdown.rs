//! The end of a runtime: what is left is unwound at home, what has not started
//! is dropped, and whoever waits is told.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use common::{Counter, Gate, Setup, everywhere, on_a_thread, wait_somehow};
use filature::{JoinHandle, Runtime, current, is_coroutine, park, spawn, spawn_local, yield_now};

/// Notes on which thread it was made and on which it is dropped.
struct AtHome {
    made_on: ThreadId,
    log: Arc<Mutex<Vec<bool>>>,
}

impl AtHome {
    fn new(log: &Arc<Mutex<Vec<bool>>>) -> AtHome {
        AtHome {
            made_on: std::thread::current().id(),
            log: log.clone(),
        }
    }
}

impl Drop for AtHome {
    fn drop(&mut self) {
        let at_home = is_coroutine() && std::thread::current().id() == self.made_on;
        self.log.lock().unwrap().push(at_home);
    }
}

#[test]
fn leftovers_are_unwound_once_each_on_its_own_worker() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (log, started) = (Arc::new(Mutex::new(Vec::new())), Counter::new());
        let leftovers: Vec<_> = (0..200)
            .map(|kind| {
                let (log, started) = (log.clone(), started.clone());
                runtime.spawn(move || {
                    let _outer = AtHome::new(&log);
                    let inner = AtHome::new(&log);
                    started.up();
                    wait_somehow(kind);
                    drop(inner);
                })
            })
            .collect();
        started.wait_for(200);
        drop(runtime);
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 400);
        assert!(log.iter().all(|at_home| *at_home));
        for leftover in leftovers {
            assert!(leftover.is_finished());
            assert!(leftover.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn leftovers_end_with_a_timed_shutdown_too() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (drops, started) = (Counter::new(), Counter::new());
        for kind in 0..100 {
            let (guard, started) = (drops.on_drop(), started.clone());
            runtime.spawn(move || {
                let _guard = guard;
                started.up();
                wait_somehow(kind);
            });
        }
        started.wait_for(100);
        assert!(runtime.shutdown_timeout(Duration::MAX));
        assert_eq!(drops.get(), 100);
    });
}

/// A runtime with each worker held by a coroutine that computes until the gate
/// opens.
fn all_busy(setup: &Setup) -> (Runtime, Gate) {
    let runtime = setup.runtime();
    let gate = Gate::new();
    let barrier = Arc::new(Barrier::new(setup.workers + 1));
    for _ in 0..setup.workers {
        let (gate, barrier) = (gate.clone(), barrier.clone());
        runtime.spawn(move || {
            barrier.wait();
            gate.wait_busily();
        });
    }
    barrier.wait();
    (runtime, gate)
}

#[test]
fn a_timed_shutdown_does_not_wait_for_one_that_computes() {
    everywhere(|setup| {
        let (runtime, gate) = all_busy(setup);
        assert!(!runtime.shutdown_timeout(Duration::from_millis(1)));
        gate.open();
    });
}

#[test]
fn what_has_not_started_is_dropped() {
    everywhere(|setup| {
        let (runtime, gate) = all_busy(setup);
        let (drops, ran) = (Counter::new(), Gate::new());
        let handles: Vec<_> = (0..500)
            .map(|_| {
                let (guard, ran) = (drops.on_drop(), ran.clone());
                runtime.spawn(move || {
                    let _guard = guard;
                    ran.open();
                })
            })
            .collect();
        assert!(!runtime.shutdown_timeout(Duration::from_millis(1)));
        gate.open();
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_eq!(drops.get(), 500);
        assert!(!ran.is_open());
    });
}

#[test]
fn what_a_worker_has_not_started_is_dropped() {
    everywhere(|setup| {
        let (runtime, gate) = all_busy(setup);
        drop(runtime.spawn({
            let gate = gate.clone();
            move || drop(gate)
        }));
        gate.open();
        // One that holds its worker with unstarted ones in all of its queues.
        let (gate, drops, ran) = (Gate::new(), Counter::new(), Counter::new());
        let (send, receive) = mpsc::channel();
        runtime.spawn({
            let (gate, drops, ran) = (gate.clone(), drops.clone(), ran.clone());
            move || {
                let handles: Vec<_> = (0..1000)
                    .map(|i| {
                        let (guard, ran) = (drops.on_drop(), ran.clone());
                        let f = move || {
                            let _guard = guard;
                            ran.up();
                        };
                        if i % 3 == 0 { spawn_local(f) } else { spawn(f) }
                    })
                    .collect();
                send.send(handles).unwrap();
                gate.wait_busily();
            }
        });
        let handles: Vec<JoinHandle<()>> = receive.recv().unwrap();
        assert!(!runtime.shutdown_timeout(Duration::from_millis(1)));
        gate.open();
        let ended = handles.into_iter().map(JoinHandle::join);
        let cancelled = ended
            .filter(|r| r.as_ref().is_err_and(|e| e.is_cancelled()))
            .count();
        // Other workers may have started some of those that could be stolen.
        assert_eq!(cancelled + ran.get(), 1000);
        assert!(cancelled >= 334);
        assert_eq!(drops.get(), 1000);
    });
}

#[test]
fn a_thread_that_joins_a_leftover_is_told() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let joiners: Vec<_> = (0..10)
            .map(|_| {
                let leftover = runtime.spawn(park);
                std::thread::spawn(move || leftover.join().unwrap_err().is_cancelled())
            })
            .collect();
        drop(runtime);
        for joiner in joiners {
            assert!(joiner.join().unwrap());
        }
    });
}

#[test]
fn a_coroutine_of_another_runtime_that_joins_a_leftover_is_told() {
    everywhere(|setup| {
        let (ends, stays) = (setup.runtime(), setup.runtime());
        let joiners: Vec<_> = (0..10)
            .map(|_| {
                let leftover = ends.spawn(park);
                stays.spawn(move || leftover.join().unwrap_err().is_cancelled())
            })
            .collect();
        drop(ends);
        for joiner in joiners {
            assert!(joiner.join().unwrap());
        }
    });
}

#[test]
fn handles_outlive_their_runtime() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let finished = runtime.spawn(|| String::from("still there"));
        let (send, receive) = mpsc::channel();
        let leftover = runtime.spawn(move || {
            send.send(current()).unwrap();
            park();
        });
        let coroutine = receive.recv().unwrap();
        while !finished.is_finished() {
            yield_now();
        }
        drop(runtime);
        assert_eq!(finished.join().unwrap(), "still there");
        coroutine.unpark();
        assert_eq!(coroutine.id(), leftover.id());
        assert!(leftover.is_finished());
        assert!(leftover.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_runtime_dropped_in_its_own_coroutine_ends_later() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let drops = Counter::new();
        for _ in 0..20 {
            let guard = drops.on_drop();
            runtime.spawn(move || {
                let _guard = guard;
                park();
            });
        }
        let (give, take) = mpsc::channel::<Runtime>();
        let last = runtime.spawn({
            let guard = drops.on_drop();
            move || {
                let _guard = guard;
                drop(take.recv().unwrap());
                // From here on it is a leftover itself.
                park();
                unreachable!("unwound by the shutdown");
            }
        });
        give.send(runtime).unwrap();
        assert!(last.join().unwrap_err().is_cancelled());
        drops.wait_for(21);
    });
}

#[test]
fn a_timed_shutdown_in_a_coroutine_of_its_own_does_not_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (give, take) = mpsc::channel::<Runtime>();
        let last = runtime.spawn(move || take.recv().unwrap().shutdown_timeout(Duration::MAX));
        give.send(runtime).unwrap();
        assert!(!last.join().unwrap());
    });
}

#[test]
fn a_runtime_dropped_by_the_last_of_its_own_coroutines_ends_too() {
    everywhere(|setup| {
        let runtime = Arc::new(setup.runtime());
        let handle = runtime.spawn({
            let runtime = runtime.clone();
            move || {
                let mut runtime = runtime;
                loop {
                    // When it is the last to have it.
                    match Arc::try_unwrap(runtime) {
                        Ok(last) => return drop(last),
                        Err(shared) => runtime = shared,
                    }
                    yield_now();
                }
            }
        });
        drop(runtime);
        handle.join().unwrap();
    });
}

#[test]
fn spawns_race_with_the_shutdown_and_none_is_lost() {
    everywhere(|setup| {
        for _ in 0..10 {
            let runtime = setup.runtime();
            let (drops, spawned, enough) = (Counter::new(), Counter::new(), Gate::new());
            fn spread(depth: usize, drops: Counter, spawned: Counter, enough: Gate) {
                if enough.is_open() {
                    return;
                }
                for _ in 0..2 {
                    if spawned.up() > 2000 {
                        enough.open();
                    }
                    let guard = drops.on_drop();
                    let (drops, spawned, enough) = (drops.clone(), spawned.clone(), enough.clone());
                    spawn(move || {
                        let _guard = guard;
                        if depth.is_multiple_of(3) {
                            yield_now();
                        }
                        spread(depth + 1, drops, spawned, enough);
                        if depth.is_multiple_of(5) {
                            park();
                        }
                    });
                }
            }
            runtime.run(|| spread(0, drops.clone(), spawned.clone(), enough.clone()));
            drop(runtime);
            assert_eq!(drops.get(), spawned.get());
        }
    });
}

#[test]
fn wakeups_race_with_the_shutdown() {
    everywhere(|setup| {
        for _ in 0..10 {
            let runtime = setup.runtime();
            let started = Counter::new();
            let parked: Vec<_> = (0..20)
                .map(|_| {
                    let started = started.clone();
                    runtime.spawn(move || {
                        started.up();
                        loop {
                            park();
                        }
                    })
                })
                .collect();
            started.wait_for(20);
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let parked: Vec<_> = parked.iter().map(|p| p.coroutine().clone()).collect();
                    std::thread::spawn(move || {
                        for _ in 0..50 {
                            parked.iter().for_each(|p| p.unpark());
                        }
                    })
                })
                .collect();
            drop(runtime);
            for waker in wakers {
                waker.join().unwrap();
            }
            for p in parked {
                let p: JoinHandle<()> = p;
                assert!(p.join().unwrap_err().is_cancelled());
            }
        }
    });
}

#[test]
fn no_leftovers_destructor_runs_on_the_thread_that_drops() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        struct Tells(mpsc::Sender<ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let (send, receive) = mpsc::channel();
        let started = Counter::new();
        for _ in 0..50 {
            let (tells, started) = (Tells(send.clone()), started.clone());
            runtime.spawn(move || {
                let _tells = tells;
                started.up();
                park();
            });
        }
        drop(send);
        started.wait_for(50);
        let dropper = on_a_thread(move || {
            drop(runtime);
            std::thread::current().id()
        });
        let threads: Vec<_> = receive.into_iter().collect();
        assert_eq!(threads.len(), 50);
        let threads: HashSet<_> = threads.into_iter().collect();
        assert!(!threads.contains(&dropper));
        assert!(threads.len() <= setup.workers);
    });
}
