//! Waiting for several coroutines.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Counter, Gate, ON_PURPOSE, everywhere, hush, inside_everywhere, on_a_thread, wait_somehow,
};
use filature::{
    Cancelled, JoinAll, JoinError, JoinHandle, catch_cancel, current, iter_finished, join,
    join_all, park, race, sleep, spawn, spawn_local, yield_now,
};

/// Coroutines that end when their gates open, with their number.
fn gated(count: usize) -> (Vec<Gate>, Vec<JoinHandle<usize>>) {
    (0..count)
        .map(|number| {
            let gate = Gate::new();
            let wait = gate.clone();
            let handle = spawn(move || {
                wait.wait();
                number
            });
            (gate, handle)
        })
        .unzip()
}

#[test]
fn join_runs_its_closures_at_once_and_returns_a_tuple() {
    inside_everywhere(|| {
        let (a, b) = (Gate::new(), Gate::new());
        let text = String::from("borrowed");
        let results = join!(
            || {
                a.open();
                b.wait();
                text.len()
            },
            || {
                a.wait();
                b.open();
                text.as_str()
            },
            || 'c',
        );
        assert_eq!(results, (8, "borrowed", 'c'));
        assert_eq!(join!(|| 1), (1,));
    });
}

#[test]
fn all_of_this_works_on_plain_threads() {
    assert_eq!(join!(|| 1, || 2), (1, 2));
    assert_eq!(race!(park_and(1), || 2), 2);
    let (gates, handles) = gated(3);
    let mut finished = iter_finished(handles);
    for number in [2, 0, 1] {
        gates[number].open();
        assert!(matches!(finished.next(), Some((n, Ok(m))) if n == number && m == n));
    }
    assert!(finished.next().is_none());
    let (gates, handles) = gated(2);
    let joined = JoinAll::new().timeout(Duration::ZERO).join(handles);
    assert_eq!((joined.finished.len(), joined.unfinished.len()), (0, 2));
    gates.iter().for_each(Gate::open);
    let joined = JoinAll::new().join(joined.unfinished.into_iter().map(|(_, handle)| handle));
    assert_eq!((joined.finished.len(), joined.unfinished.len()), (2, 0));
}

fn park_and<T: Send>(value: T) -> impl FnOnce() -> T + Send {
    move || {
        park();
        value
    }
}

#[test]
fn join_waits_for_all_and_panics_with_the_first_panic() {
    hush();
    inside_everywhere(|| {
        let done = Counter::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            join!(
                || {
                    yield_now();
                    done.up();
                },
                || panic!("{ON_PURPOSE}: the first"),
                || {
                    yield_now();
                    yield_now();
                    done.up();
                    panic!("{ON_PURPOSE}: the second")
                },
            )
        }))
        .map(|_: ((), (), ())| ())
        .unwrap_err();
        assert!(
            payload
                .downcast_ref::<String>()
                .unwrap()
                .ends_with("the first")
        );
        assert_eq!(done.get(), 2);
    });
}

#[test]
fn the_first_wins_a_race_and_the_others_are_cancelled() {
    inside_everywhere(|| {
        for kind in [0, 1, 2, 3, 4, 5, 7] {
            let (started, unwound) = (Counter::new(), Counter::new());
            let loses = || {
                let _unwound = unwound.on_drop();
                started.up();
                wait_somehow(kind);
                0
            };
            let wins = || {
                started.wait_for(2);
                7
            };
            assert_eq!(race!(loses, wins, loses), 7);
            assert_eq!(unwound.get(), 2);
        }
        assert_eq!(race((0..0).map(|n| move || n)), None);
        assert_eq!(race((0..1).map(|n| move || n)), Some(0));
    });
}

#[test]
fn a_panic_may_win_a_race() {
    hush();
    inside_everywhere(|| {
        let unwound = Counter::new();
        let result = catch_unwind(AssertUnwindSafe(|| {
            race!(
                || {
                    let _unwound = unwound.on_drop();
                    unwound.up();
                    park();
                },
                || {
                    unwound.wait_for(1);
                    panic!("{ON_PURPOSE}")
                },
            )
        }));
        assert_eq!(
            result.unwrap_err().downcast_ref::<String>().unwrap(),
            ON_PURPOSE
        );
        assert_eq!(unwound.get(), 2);
    });
}

#[test]
fn join_all_keeps_the_order_of_the_handles() {
    hush();
    inside_everywhere(|| {
        let (gates, mut handles) = gated(5);
        handles.push(spawn(|| panic!("{ON_PURPOSE}")));
        gates.iter().rev().for_each(Gate::open);
        let results = join_all(handles);
        let numbers = results[..5].iter().map(|result| *result.as_ref().unwrap());
        assert!(numbers.eq(0..5));
        assert!(results[5].as_ref().unwrap_err().is_panic());
        assert!(join_all(Vec::<JoinHandle<()>>::new()).is_empty());
    });
}

#[test]
fn iter_finished_goes_by_the_order_of_finishing() {
    inside_everywhere(|| {
        let (gates, handles) = gated(20);
        let mut finished = iter_finished(handles);
        for step in 0..20 {
            let number = step * 7 % 20;
            assert_eq!(finished.len(), 20 - step);
            gates[number].open();
            let (which, result) = finished.next().unwrap();
            assert_eq!((which, result.unwrap()), (number, number));
        }
        assert!(finished.next().is_none());
    });
}

#[test]
fn those_that_finish_unwatched_keep_their_order_too() {
    inside_everywhere(|| {
        let (gates, handles) = gated(5);
        let states: Vec<_> = handles
            .iter()
            .map(|handle| handle.coroutine().clone())
            .collect();
        let log = Arc::new(Mutex::new(Vec::new()));
        for (number, handle) in handles.iter().enumerate() {
            let log = log.clone();
            handle.on_exit(move |_| log.lock().unwrap().push(number));
        }
        let finished = iter_finished(handles);
        for number in [3, 1, 4, 0, 2] {
            gates[number].open();
            while !log.lock().unwrap().contains(&number) {
                yield_now();
            }
        }
        let order: Vec<_> = finished.map(|(number, _)| number).collect();
        assert_eq!(order, [3, 1, 4, 0, 2]);
        drop(states);
    });
}

#[test]
fn many_that_end_on_all_workers_are_each_seen_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handles: Vec<_> = (0..500)
            .map(|n: usize| {
                runtime.spawn(move || {
                    for _ in 0..n % 7 {
                        yield_now();
                    }
                    n
                })
            })
            .collect();
        let mut seen: Vec<_> = runtime.run(|| {
            iter_finished(handles)
                .map(|(number, result)| {
                    assert_eq!(number, result.unwrap());
                    number
                })
                .collect()
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..500));
    });
}

#[test]
fn a_time_limit_gives_the_others_back() {
    inside_everywhere(|| {
        let (gates, handles) = gated(4);
        gates[2].open();
        while !handles[2].is_finished() {
            yield_now();
        }
        let joined = JoinAll::new()
            .timeout(Duration::from_millis(1))
            .join(handles);
        assert!(matches!(joined.finished[..], [(2, Ok(2))]));
        let numbers = joined.unfinished.iter().map(|(number, _)| *number);
        assert!(numbers.eq([0, 1, 3]));
        gates.iter().for_each(Gate::open);
        // They can be joined, dropped and waited for as any.
        for (number, handle) in joined.unfinished {
            match number {
                0 => assert_eq!(handle.join().unwrap(), 0),
                1 => drop(handle),
                _ => assert!(matches!(iter_finished([handle]).next(), Some((0, Ok(3))))),
            }
        }
    });
}

#[test]
fn a_count_and_a_failure_end_the_wait() {
    hush();
    inside_everywhere(|| {
        let (gates, handles) = gated(4);
        gates[1].open();
        gates[3].open();
        let joined = JoinAll::new().count(2).join(handles);
        let mut which: Vec<_> = joined.finished.iter().map(|(number, _)| *number).collect();
        which.sort_unstable();
        assert_eq!(which, [1, 3]);
        assert_eq!(joined.unfinished.len(), 2);
        gates.iter().for_each(Gate::open);

        let failing = [spawn(park), spawn(|| panic!("{ON_PURPOSE}"))];
        let joined = JoinAll::new().fail_fast().join(failing);
        assert!(matches!(
            joined.finished[..],
            [(1, Err(JoinError::Panicked(_)))]
        ));
        let (number, parked) = joined.unfinished.into_iter().next().unwrap();
        assert_eq!(number, 0);
        parked.cancel().unwrap();
        assert!(parked.join().unwrap_err().is_cancelled());
        let none = JoinAll::new().count(0).join([spawn(|| 1)]);
        assert_eq!((none.finished.len(), none.unfinished.len()), (0, 1));
    });
}

#[test]
fn those_that_are_left_by_an_iterator_go_on_detached() {
    inside_everywhere(|| {
        let done = Counter::new();
        let gate = Gate::new();
        let handles: Vec<_> = (0..10)
            .map(|n| {
                let (done, gate) = (done.clone(), gate.clone());
                spawn(move || {
                    if n > 0 {
                        gate.wait();
                    }
                    done.on_drop()
                })
            })
            .collect();
        let mut finished = iter_finished(handles);
        assert!(matches!(finished.next(), Some((0, Ok(_)))));
        drop(finished);
        gate.open();
        done.wait_for(10);
    });
}

#[test]
fn a_forgotten_iterator_leaks_and_nothing_else() {
    inside_everywhere(|| {
        let gate = Gate::new();
        let ended = Counter::new();
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let (gate, ended) = (gate.clone(), ended.clone());
                spawn(move || {
                    gate.wait();
                    ended.up();
                })
            })
            .collect();
        std::mem::forget(iter_finished(handles));
        gate.open();
        ended.wait_for(3);
    });
}

#[test]
fn a_cancelled_wait_detaches_them() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for how in 0..3 {
            let (gate, done) = (Gate::new(), Counter::new());
            let waiting = Gate::new();
            let waiter = runtime.spawn({
                let (gate, done, waiting) = (gate.clone(), done.clone(), waiting.clone());
                move || {
                    let handles: Vec<_> = (0..3)
                        .map(|_| {
                            let (gate, done) = (gate.clone(), done.clone());
                            spawn(move || {
                                gate.wait();
                                done.up();
                            })
                        })
                        .collect();
                    waiting.open();
                    match how {
                        0 => drop(join_all(handles)),
                        1 => drop(iter_finished(handles).next()),
                        _ => drop(JoinAll::new().join(handles)),
                    }
                }
            });
            waiting.wait();
            waiter.cancel().unwrap();
            assert!(waiter.join().unwrap_err().is_cancelled());
            gate.open();
            done.wait_for(3);
        }
    });
}

#[test]
fn a_result_that_comes_with_a_cancellation_is_not_lost() {
    inside_everywhere(|| {
        let waiter = spawn_local(|| {
            let me = current();
            let handle = spawn_local(move || {
                me.cancel().unwrap();
                7
            });
            let mut finished = iter_finished([handle]);
            let first = catch_cancel(|| finished.next().map(|(_, result)| result.unwrap()));
            match first {
                Ok(first) => {
                    assert_eq!(first, Some(7));
                    assert_eq!(catch_cancel(park), Err(Cancelled));
                }
                Err(Cancelled) => {
                    assert!(matches!(finished.next(), Some((0, Ok(7)))));
                }
            }
        });
        waiter.join().unwrap();
    });
}

#[test]
fn a_shutdown_of_another_runtime_is_an_outcome() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let started = Counter::new();
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let started = started.clone();
                runtime.spawn(move || {
                    started.up();
                    park();
                })
            })
            .collect();
        started.wait_for(4);
        let waiter = setup.runtime();
        waiter.run(|| {
            let stopper = spawn(move || on_a_thread(move || drop(runtime)));
            for (_, result) in iter_finished(handles) {
                assert!(result.unwrap_err().is_cancelled());
            }
            stopper.join().unwrap();
        });
    });
}

#[test]
fn they_are_cancelled_at_every_suspension() {
    everywhere(|setup| {
        let (made, dropped) = (Counter::new(), Counter::new());
        let count = {
            let (made, dropped) = (made.clone(), dropped.clone());
            move || {
                made.up();
                dropped.on_drop()
            }
        };
        setup.runtime().run(|| {
            for turns in 0.. {
                let count = count.clone();
                let detached = Counter::new();
                let ended = detached.clone();
                let waiter = spawn_local(move || {
                    let pair = join!(
                        || {
                            yield_now();
                            count()
                        },
                        &count,
                    );
                    drop(pair);
                    drop(race!(
                        || {
                            yield_now();
                            count()
                        },
                        park_and(count()),
                    ));
                    let handles: Vec<_> = (0..4)
                        .map(|n| {
                            let count = count.clone();
                            let ended = ended.on_drop();
                            spawn_local(move || {
                                let _ended = ended;
                                sleep(Duration::from_nanos(n));
                                count()
                            })
                        })
                        .collect();
                    let joined = JoinAll::new().count(2).join(handles);
                    drop(joined.finished);
                    for (_, result) in
                        iter_finished(joined.unfinished.into_iter().map(|(_, handle)| handle))
                    {
                        drop(result);
                    }
                });
                for _ in 0..turns {
                    yield_now();
                }
                waiter.cancel().unwrap();
                match waiter.join() {
                    Ok(()) => break,
                    Err(e) => assert!(e.is_cancelled()),
                }
            }
        });
        assert!(made.get() > 0);
        assert_eq!(made.get(), dropped.get());
    });
}

#[test]
fn one_that_finished_as_it_was_given_up_is_waited_for_again() {
    for i in 0..3_000 {
        let handle = spawn(move || {
            for _ in 0..(i % 40) * 50 {
                std::hint::spin_loop();
            }
            vec![i; 10]
        });
        let time = std::time::Duration::from_micros(i % 7);
        let mut joined = filature::JoinAll::new().timeout(time).join([handle]);
        if let Some((_, handle)) = joined.unfinished.pop() {
            let (_, value) = filature::iter_finished([handle]).next().unwrap();
            assert_eq!(value.unwrap(), vec![i; 10]);
        }
    }
}
