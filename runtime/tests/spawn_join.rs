//! Starting coroutines and waiting for their end.

mod common;

use std::sync::mpsc;

use common::{Counter, Gate, everywhere, inside_everywhere, on_a_thread, on_workers};
use filature::{current, is_coroutine, park, spawn, try_spawn, yield_now};

#[test]
fn a_join_gives_what_the_closure_returned() {
    inside_everywhere(|| {
        assert_eq!(spawn(|| 6 * 7).join().unwrap(), 42);
        let text = String::from("moved in");
        assert_eq!(
            spawn(move || text + " and out").join().unwrap(),
            "moved in and out"
        );
        assert_eq!(try_spawn(|| 7).unwrap().join().unwrap(), 7);
    });
}

#[test]
fn a_plain_thread_joins_as_a_coroutine_does() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handles: Vec<_> = (0..1000)
            .map(|i| {
                runtime.spawn(move || {
                    yield_now();
                    i
                })
            })
            .collect();
        assert!(!is_coroutine());
        let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
        assert_eq!(sum, 999 * 1000 / 2);
    });
}

#[test]
fn coroutines_are_joined_in_any_order() {
    inside_everywhere(|| {
        let mut handles: Vec<_> = (0..1000usize)
            .map(|i| {
                Some(spawn(move || {
                    for _ in 0..i % 5 {
                        yield_now();
                    }
                    i
                }))
            })
            .collect();
        // 7 and 1000 have no common divisor: every handle, in an order that is
        // neither theirs nor its reverse.
        for i in (0..1000).map(|i| i * 7 % 1000) {
            assert_eq!(handles[i].take().unwrap().join().unwrap(), i);
        }
    });
}

#[test]
fn a_handle_is_joined_by_whoever_has_it() {
    inside_everywhere(|| {
        let gate = Gate::new();
        let first = spawn({
            let gate = gate.clone();
            move || {
                gate.wait();
                1
            }
        });
        let second = spawn(move || first.join().unwrap() + 1);
        gate.open();
        assert_eq!(on_a_thread(move || second.join().unwrap() + 1), 3);
    });
}

#[test]
fn a_chain_of_joins_ends_with_its_first_link() {
    inside_everywhere(|| {
        let (send, receive) = mpsc::channel();
        let mut last = spawn(move || {
            send.send(current()).unwrap();
            park();
            0
        });
        for _ in 0..1000 {
            last = spawn(move || last.join().unwrap() + 1);
        }
        let first = on_a_thread(move || receive.recv().unwrap());
        first.unpark();
        assert_eq!(last.join().unwrap(), 1000);
    });
}

#[test]
fn one_that_has_ended_is_joined_at_once() {
    inside_everywhere(|| {
        let handles: Vec<_> = (0..100).map(|i| spawn(move || i)).collect();
        for (i, handle) in handles.into_iter().enumerate() {
            while !handle.is_finished() {
                yield_now();
            }
            let value = if i % 2 == 0 {
                handle.join()
            } else {
                on_a_thread(move || handle.join())
            };
            assert_eq!(value.unwrap(), i);
        }
    });
}

#[test]
fn a_coroutine_is_finished_when_it_has_returned_and_not_before() {
    inside_everywhere(|| {
        let (started, leave) = (Gate::new(), Gate::new());
        let handle = spawn({
            let (started, leave) = (started.clone(), leave.clone());
            move || {
                started.open();
                leave.wait();
            }
        });
        assert!(!handle.is_finished());
        started.wait();
        assert!(!handle.is_finished());
        leave.open();
        while !handle.is_finished() {
            yield_now();
        }
        handle.join().unwrap();
    });
}

#[test]
fn a_dropped_handle_lets_the_coroutine_go_on() {
    inside_everywhere(|| {
        let (go_on, ended) = (Gate::new(), Counter::new());
        for _ in 0..100 {
            let (go_on, ended) = (go_on.clone(), ended.clone());
            drop(spawn(move || {
                go_on.wait();
                ended.up();
            }));
        }
        go_on.open();
        ended.wait_for(100);
    });
}

#[test]
fn spawns_nest_as_deep_as_one_likes() {
    fn nest(depth: usize) -> usize {
        match depth {
            0 => 0,
            _ => spawn(move || nest(depth - 1)).join().unwrap() + 1,
        }
    }
    inside_everywhere(|| assert_eq!(nest(2000), 2000));
}

/// Ten coroutines for each of which there are ten, and so on; the sum of the
/// numbers of the `leaves` from `first`.
fn tree(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / 10;
    let branches: Vec<_> = (0..10)
        .map(|i| spawn(move || tree(first + i * each, each)))
        .collect();
    branches.into_iter().map(|b| b.join().unwrap()).sum()
}

#[test]
fn a_tree_of_ten_thousand_leaves_adds_up() {
    inside_everywhere(|| assert_eq!(tree(0, 10_000), 9_999 * 10_000 / 2));
}

#[test]
fn a_million_coroutines_each_run_once() {
    on_workers(&[2], |setup| {
        let sum = setup.runtime().run(|| tree(0, 1_000_000));
        assert_eq!(sum, 999_999 * 1_000_000 / 2);
    });
}

#[test]
fn spawns_from_many_threads_each_run_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let ran = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let handles: Vec<_> = (0..2000)
                        .map(|i| {
                            let ran = ran.clone();
                            runtime.spawn(move || {
                                ran.up();
                                i
                            })
                        })
                        .collect();
                    for (i, handle) in handles.into_iter().enumerate() {
                        assert_eq!(handle.join().unwrap(), i);
                    }
                });
            }
        });
        assert_eq!(ran.get(), 8000);
    });
}
