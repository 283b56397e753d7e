//! Task groups: tasks that succeed together or not at all.

mod common;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Counter, Gate, ON_PURPOSE, everywhere, hush, inside_everywhere, on_workers, wait_somehow,
};
use filature::{
    Builder, Cancelled, JoinError, TaskError, TaskErrors, catch_cancel, current, park, shield,
    sleep, spawn, spawn_local, task_group, yield_now,
};

#[test]
fn results_come_in_the_order_of_spawning() {
    inside_everywhere(|| {
        let words: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let lengths = task_group(|group| {
            for (n, word) in words.iter().enumerate() {
                group.spawn(move || {
                    for _ in 0..(50 - n) {
                        yield_now();
                    }
                    Ok::<_, ()>(word.parse::<usize>().unwrap())
                });
            }
        });
        assert_eq!(lengths.unwrap(), (0..50).collect::<Vec<_>>());
        let none = task_group::<(), (), _>(|_| {});
        assert_eq!(none.unwrap(), []);
    });
}

#[test]
fn a_plain_thread_has_groups_too() {
    let mut places = [0; 10];
    let done = task_group(|group| {
        for (n, place) in places.iter_mut().enumerate() {
            group.spawn(move || {
                yield_now();
                *place = n;
                Ok::<_, ()>(())
            });
        }
    });
    assert_eq!(done.unwrap().len(), 10);
    assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let failed = task_group(|group| {
        group.spawn(|| {
            park();
            Ok(())
        });
        group.spawn(|| Err(1));
    });
    assert_eq!(failed.unwrap_err().len(), 1);
}

#[test]
fn tasks_spawn_others_in_their_group() {
    inside_everywhere(|| {
        let values = task_group(|group| {
            group.spawn(move || {
                for n in 1..10 {
                    group.spawn(move || {
                        yield_now();
                        Ok::<_, ()>(n)
                    });
                }
                Ok(0)
            });
        });
        assert_eq!(values.unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let errors = task_group::<(), _, _>(|group| {
            group.spawn(|| {
                group.spawn(|| Err("from within"));
                park();
                Ok(())
            });
        })
        .unwrap_err();
        assert!(matches!(
            errors.first(),
            (1, TaskError::Failed("from within"))
        ));
    });
}

#[test]
fn the_first_failure_cancels_the_others_whatever_they_wait_for() {
    inside_everywhere(|| {
        for kind in [0, 1, 2, 3, 4, 5, 7] {
            let (started, unwound) = (Counter::new(), Counter::new());
            let errors = task_group::<(), _, _>(|group| {
                for _ in 0..5 {
                    group.spawn(|| {
                        let _unwound = unwound.on_drop();
                        started.up();
                        wait_somehow(kind);
                        Ok(())
                    });
                }
                group.spawn(|| {
                    started.wait_for(5);
                    Err("the first")
                });
            })
            .unwrap_err();
            assert_eq!(errors.len(), 1);
            assert!(matches!(
                errors.first(),
                (5, TaskError::Failed("the first"))
            ));
            assert_eq!(unwound.get(), 5);
        }
    });
}

#[test]
fn a_panic_is_a_failure() {
    hush();
    inside_everywhere(|| {
        let errors = task_group::<(), (), _>(|group| {
            group.spawn(|| {
                park();
                Ok(())
            });
            group.spawn(|| panic!("{ON_PURPOSE}"));
        })
        .unwrap_err();
        let (number, TaskError::Ended(error)) = errors.first() else {
            panic!("{errors:?}");
        };
        assert_eq!(number, 1);
        assert_eq!(error.downcast_ref::<String>().unwrap(), ON_PURPOSE);
    });
}

#[test]
fn all_errors_are_collected_in_the_order_in_which_they_happen() {
    // With one worker the next has its turn once the error of the one before is noted.
    on_workers(&[1], |setup| {
        let (started, turn) = (Counter::new(), AtomicUsize::new(4));
        let errors = setup.runtime().run(|| {
            task_group::<(), usize, _>(|group| {
                for n in 0..5 {
                    let (started, turn) = (&started, &turn);
                    group.spawn(move || {
                        shield(|| {
                            started.up();
                            started.wait_for(5);
                            while turn.load(Ordering::SeqCst) != n {
                                yield_now();
                            }
                        });
                        turn.fetch_sub(usize::from(n > 0), Ordering::SeqCst);
                        Err(n * 10)
                    });
                }
            })
            .unwrap_err()
        });
        assert_eq!(errors.iter().len(), 5);
        let errors = errors.into_iter().map(|(number, error)| match error {
            TaskError::Failed(e) => (number, e),
            other => panic!("{other}"),
        });
        assert!(errors.eq([(4, 40), (3, 30), (2, 20), (1, 10), (0, 0)]));
    });
}

#[test]
fn an_error_displays_as_the_first_and_the_number_of_the_rest() {
    inside_everywhere(|| {
        let errors: TaskErrors<String> = task_group::<(), _, _>(|group| {
            let both = Counter::new();
            for _ in 0..2 {
                let both = both.clone();
                group.spawn(move || {
                    both.up();
                    shield(|| both.wait_for(2));
                    Err(String::from("no answer"))
                });
            }
        })
        .unwrap_err();
        let text = errors.to_string();
        assert!(text.ends_with("failed: no answer (and 1 more)"), "{text}");
    });
}

#[test]
fn what_is_spawned_in_a_group_that_has_failed_never_runs() {
    inside_everywhere(|| {
        let drops = Counter::new();
        let errors = task_group(|group| {
            group.spawn(|| Err("first"));
            while !group.is_cancelled() {
                yield_now();
            }
            for _ in 0..10 {
                let capture = drops.on_drop();
                group.spawn(move || {
                    drop(capture);
                    unreachable!("the group has failed");
                });
            }
            group.spawn(|| Ok(()));
        })
        .unwrap_err();
        assert_eq!((errors.len(), drops.get()), (1, 10));
    });
}

#[test]
fn a_task_that_others_cancel_is_a_failure() {
    inside_everywhere(|| {
        let errors = task_group::<(), (), _>(|group| {
            group.spawn(|| {
                park();
                Ok(())
            });
            group.spawn(|| {
                current().cancel().unwrap();
                park();
                Ok(())
            });
        })
        .unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(matches!(
            errors.first(),
            (1, TaskError::Ended(JoinError::Cancelled))
        ));
    });
}

#[test]
fn a_task_that_cannot_be_had_is_a_failure() {
    inside_everywhere(|| {
        let unwound = Counter::new();
        let errors = task_group::<(), (), _>(|group| {
            let capture = unwound.on_drop();
            group.spawn(move || {
                let _capture = capture;
                park();
                Ok(())
            });
            group.spawn_with(Builder::new().stack_size(1), || Ok(()));
        })
        .unwrap_err();
        assert!(matches!(
            errors.first(),
            (1, TaskError::Ended(JoinError::NotStarted(e))) if e.kind() == ErrorKind::InvalidInput
        ));
        assert_eq!((errors.len(), unwound.get()), (1, 1));
    });
}

#[test]
fn a_panic_of_the_closure_cancels_the_tasks() {
    hush();
    inside_everywhere(|| {
        let unwound = Counter::new();
        let result = catch_unwind(AssertUnwindSafe(|| {
            task_group::<(), (), _>(|group| {
                for _ in 0..5 {
                    let capture = unwound.on_drop();
                    group.spawn(move || {
                        let _capture = capture;
                        park();
                        Ok(())
                    });
                }
                yield_now();
                panic!("{ON_PURPOSE}");
            })
        }));
        assert!(result.is_err());
        assert_eq!(unwound.get(), 5);
    });
}

#[test]
fn a_cancelled_parent_cancels_the_tasks() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, unwound) = (Counter::new(), Counter::new());
        let parent = runtime.spawn({
            let (started, unwound) = (started.clone(), unwound.clone());
            move || {
                drop(task_group::<(), (), _>(|group| {
                    for _ in 0..5 {
                        group.spawn(|| {
                            let _unwound = unwound.on_drop();
                            started.up();
                            park();
                            Ok(())
                        });
                    }
                }));
                unreachable!("it was cancelled");
            }
        });
        started.wait_for(5);
        parent.cancel().unwrap();
        assert!(parent.join().unwrap_err().is_cancelled());
        assert_eq!(unwound.get(), 5);
    });
}

#[test]
fn errors_come_before_a_cancellation() {
    inside_everywhere(|| {
        let parent = spawn(|| {
            let me = current();
            let result = task_group::<(), _, _>(|group| {
                group.spawn(|| {
                    me.cancel().unwrap();
                    Err(7)
                });
            });
            assert!(matches!(
                result.unwrap_err().first(),
                (0, TaskError::Failed(7))
            ));
            assert_eq!(catch_cancel(park), Err(Cancelled));
        });
        parent.join().unwrap();
    });
}

#[test]
fn a_shutdown_unwinds_parents_and_tasks() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, ended) = (Counter::new(), Counter::new());
        for kind in 0..16 {
            let (started, ended) = (started.clone(), ended.clone());
            drop(runtime.spawn(move || {
                let _ended = ended.on_drop();
                drop(task_group::<(), (), _>(|group| {
                    for _ in 0..4 {
                        group.spawn(|| {
                            let _ended = ended.on_drop();
                            started.up();
                            wait_somehow(kind);
                            Ok(())
                        });
                    }
                }));
                unreachable!("the shutdown has unwound it");
            }));
        }
        started.wait_for(16 * 4);
        drop(runtime);
        assert_eq!(ended.get(), 16 * 5);
    });
}

#[test]
fn it_is_cancelled_at_every_suspension() {
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
                let ended = Gate::new();
                let opener = ended.opener();
                let parent = spawn_local(move || {
                    let _opener = opener;
                    let values = task_group(|group| {
                        group.spawn(|| {
                            yield_now();
                            Ok(count())
                        });
                        group.spawn(|| {
                            let kept = count();
                            sleep(Duration::ZERO);
                            Ok(kept)
                        });
                        yield_now();
                        group.spawn(|| Ok::<_, ()>(count()));
                    });
                    assert_eq!(values.unwrap().len(), 3);
                    let errors = task_group(|group| {
                        group.spawn(|| {
                            yield_now();
                            Err(count())
                        });
                        group.spawn(|| {
                            let _kept = count();
                            park();
                            Ok(())
                        });
                    });
                    drop(errors);
                });
                for _ in 0..turns {
                    yield_now();
                }
                parent.cancel().unwrap();
                let outcome = parent.join();
                assert!(ended.is_open());
                if outcome.is_ok() {
                    break;
                }
                assert!(outcome.unwrap_err().is_cancelled());
            }
        });
        assert!(made.get() > 0);
        assert_eq!(made.get(), dropped.get());
    });
}
