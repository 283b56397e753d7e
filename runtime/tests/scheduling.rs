//! Who runs when and where: nobody starves, nobody moves.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use common::{Counter, Gate, everywhere, inside_everywhere, on_several_workers, on_workers};
use filature::{
    Runtime, current, park, park_timeout, sleep, spawn, spawn_local, worker_index, yield_now,
};

/// A coroutine that yields for ever on each worker, until the gate opens.
fn spin_on_every_worker(runtime: &Runtime, stop: &Gate) {
    let spun_on = Arc::new(Mutex::new(HashSet::new()));
    while spun_on.lock().unwrap().len() < runtime.workers() {
        let (stop, spun_on) = (stop.clone(), spun_on.clone());
        let registered = Gate::new();
        runtime.spawn({
            let registered = registered.clone();
            move || {
                spun_on.lock().unwrap().insert(worker_index());
                registered.open();
                stop.wait();
            }
        });
        registered.wait();
    }
}

#[test]
fn spinners_do_not_starve_spawns_from_outside() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        spin_on_every_worker(&runtime, &stop);
        for i in 0..20 {
            assert_eq!(runtime.spawn(move || i).join().unwrap(), i);
        }
        stop.open();
    });
}

#[test]
fn spinners_do_not_starve_spawns_from_inside() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        spin_on_every_worker(&runtime, &stop);
        runtime.run(|| {
            for i in 0..100 {
                assert_eq!(spawn(move || i).join().unwrap(), i);
                assert_eq!(spawn_local(move || i).join().unwrap(), i);
            }
        });
        stop.open();
    });
}

#[test]
fn spinners_do_not_starve_timers() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        spin_on_every_worker(&runtime, &stop);
        runtime.run(|| {
            for _ in 0..10 {
                sleep(Duration::from_micros(200));
                park_timeout(Duration::from_micros(200));
            }
        });
        stop.open();
    });
}

#[test]
fn spinners_do_not_starve_wakeups_from_other_threads() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        spin_on_every_worker(&runtime, &stop);
        let (rounds, done) = (Counter::new(), Gate::new());
        let parked = runtime.spawn({
            let (rounds, done) = (rounds.clone(), done.opener());
            move || {
                let _done = done;
                for _ in 0..100 {
                    park();
                    rounds.up();
                }
            }
        });
        let mut sent = 0;
        while !done.is_open() {
            // One permit at a time, since two would be one.
            if rounds.get() == sent {
                parked.coroutine().unpark();
                sent += 1;
            }
            std::thread::yield_now();
        }
        parked.join().unwrap();
        stop.open();
    });
}

#[test]
fn a_fork_bomb_does_not_starve_the_oldest() {
    // Each starts the next before it ends, so that there is always a newest.
    fn bomb(stop: Gate, lit: Counter) {
        lit.up();
        if !stop.is_open() {
            spawn(move || bomb(stop, lit));
        }
    }
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (stop, lit) = (Gate::new(), Counter::new());
        let victims: Vec<_> = runtime.run(|| {
            // Older than every bomb.
            let victims = (0..10).map(|_| spawn(|| ())).collect();
            for _ in 0..setup.workers * 2 {
                let (stop, lit) = (stop.clone(), lit.clone());
                spawn(move || bomb(stop, lit));
            }
            victims
        });
        victims.into_iter().for_each(|v| v.join().unwrap());
        // Others may have run the victims before the first bomb.
        lit.wait_for(1);
        stop.open();
    });
}

#[test]
fn a_fork_bomb_does_not_starve_the_run_queue() {
    fn bomb(stop: Gate) {
        if !stop.is_open() {
            spawn(move || bomb(stop));
        }
    }
    inside_everywhere(|| {
        let stop = Gate::new();
        spawn({
            let stop = stop.clone();
            move || bomb(stop)
        });
        for _ in 0..1000 {
            yield_now();
        }
        sleep(Duration::from_micros(100));
        stop.open();
    });
}

/// What must stay the same over a coroutine's whole life.
#[derive(PartialEq, Eq, Debug, Clone, Copy)]
struct Place {
    thread: ThreadId,
    worker: Option<usize>,
    local: usize,
}

thread_local! {
    static LOCAL: Cell<u64> = const { Cell::new(0) };
}

fn place() -> Place {
    Place {
        thread: std::thread::current().id(),
        worker: worker_index(),
        local: LOCAL.with(|local| std::ptr::from_ref(local).addr()),
    }
}

#[test]
fn a_coroutine_stays_where_it_started_whatever_it_waits_for() {
    inside_everywhere(|| {
        let wanderers: Vec<_> = (0..100)
            .map(|_| {
                spawn(|| {
                    let home = place();
                    let kept = Rc::new(Cell::new(0));
                    for round in 0..20 {
                        kept.set(kept.get() + 1);
                        match round % 5 {
                            0 => yield_now(),
                            1 => sleep(Duration::from_micros(50)),
                            2 => spawn(yield_now).join().unwrap(),
                            3 => {
                                let me = current();
                                spawn(move || me.unpark());
                                park();
                            }
                            _ => park_timeout(Duration::from_micros(50)),
                        }
                        assert_eq!(place(), home);
                        let also = kept.clone();
                        spawn_local(move || also.set(also.get() + 1))
                            .join()
                            .unwrap();
                        assert_eq!(place(), home);
                    }
                    assert_eq!(kept.get(), 40);
                })
            })
            .collect();
        wanderers.into_iter().for_each(|w| w.join().unwrap());
    });
}

#[test]
fn a_thread_local_is_shared_by_the_coroutines_of_one_worker_and_no_others() {
    inside_everywhere(|| {
        let handles: Vec<_> = (0..500)
            .map(|_| {
                spawn(|| {
                    let before = LOCAL.get();
                    LOCAL.set(before + 1);
                    assert_eq!(LOCAL.get(), before + 1);
                    yield_now();
                    // The others of this worker have only added to it.
                    assert!(LOCAL.get() > before);
                    LOCAL.set(LOCAL.get() + 1);
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn what_a_busy_coroutine_spawned_is_started_elsewhere() {
    on_several_workers(|setup| {
        setup.runtime().run(|| {
            for _ in 0..20 {
                // A single one, and its spawner never suspends.
                let ran = Gate::new();
                spawn({
                    let ran = ran.clone();
                    move || ran.open()
                });
                ran.wait_busily();
            }
        });
    });
}

#[test]
fn all_that_a_busy_coroutine_spawned_is_started_elsewhere() {
    on_several_workers(|setup| {
        setup.runtime().run(|| {
            for _ in 0..5 {
                let (ran, all) = (Counter::new(), Gate::new());
                for _ in 0..1000 {
                    let (ran, all) = (ran.clone(), all.clone());
                    spawn(move || {
                        if ran.up() == 1000 {
                            all.open();
                        }
                    });
                }
                all.wait_busily();
            }
        });
    });
}

#[test]
fn what_comes_from_outside_is_found_while_one_worker_is_busy() {
    on_several_workers(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        let _open_on_failure = stop.opener();
        let busy = runtime.spawn({
            let stop = stop.clone();
            move || stop.wait_busily()
        });
        for i in 0..100 {
            assert_eq!(runtime.spawn(move || i).join().unwrap(), i);
        }
        stop.open();
        busy.join().unwrap();
    });
}

#[test]
fn what_comes_from_outside_to_sleeping_workers_is_found() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for i in 0..300 {
            assert_eq!(runtime.spawn(move || i).join().unwrap(), i);
        }
    });
}

#[test]
fn as_many_compute_at_once_as_there_are_workers() {
    on_several_workers(|setup| {
        setup.runtime().run(|| {
            // None of them suspends before all of them have started.
            let workers = setup.workers;
            let started = Counter::new();
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let started = started.clone();
                    spawn(move || {
                        started.up();
                        while started.get() < workers {
                            std::thread::yield_now();
                        }
                        worker_index()
                    })
                })
                .collect();
            let on: HashSet<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
            assert_eq!(on.len(), workers);
        });
    });
}

#[test]
fn a_few_compute_at_once_if_workers_sleep_whoever_took_them() {
    on_workers(&[4], |setup| {
        let runtime = setup.runtime();
        for round in 0..3000 {
            // A thief may take two of the three at once.
            runtime.run(|| {
                let started = Counter::new();
                let handles: Vec<_> = (0..3)
                    .map(|_| {
                        let started = started.clone();
                        spawn(move || {
                            started.up();
                            while started.get() < 3 {
                                std::thread::yield_now();
                            }
                        })
                    })
                    .collect();
                for _ in 0..round % 200 {
                    std::hint::spin_loop();
                }
                handles.into_iter().for_each(|h| h.join().unwrap());
            });
        }
    });
}

#[test]
fn those_that_are_ready_take_turns() {
    on_workers(&[1], |setup| {
        setup.runtime().run(|| {
            let turns = Rc::new(RefCell::new(Vec::new()));
            let handles: Vec<_> = (0..100)
                .map(|i| {
                    let turns = turns.clone();
                    spawn_local(move || {
                        for _ in 0..50 {
                            turns.borrow_mut().push(i);
                            yield_now();
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
            let turns = turns.borrow();
            for round in turns.chunks(100) {
                assert!(round.iter().copied().eq(0..100), "{round:?}");
            }
        });
    });
}

#[test]
fn long_lived_coroutines_that_come_one_by_one_settle_on_all_workers() {
    on_several_workers(|setup| {
        let runtime = setup.runtime();
        let settled: Arc<Vec<Counter>> =
            Arc::new((0..setup.workers).map(|_| Counter::new()).collect());
        let count = 400 * setup.workers;
        runtime.run(|| {
            for _ in 0..count {
                let (settled, arrived) = (settled.clone(), Gate::new());
                spawn({
                    let arrived = arrived.clone();
                    move || {
                        settled[worker_index().unwrap()].up();
                        arrived.open();
                        park();
                    }
                });
                arrived.wait();
            }
        });
        let settled: Vec<_> = settled.iter().map(Counter::get).collect();
        assert_eq!(settled.iter().sum::<usize>(), count);
        // Even would be 400 each, but a worker may not get a core for a while.
        assert!(settled.iter().all(|&n| n > 100), "{settled:?}");
    });
}

#[test]
fn a_worker_has_its_number_and_a_thread_none() {
    everywhere(|setup| {
        assert_eq!(worker_index(), None);
        let index = setup.runtime().run(worker_index).unwrap();
        assert!(index < setup.workers);
    });
}
