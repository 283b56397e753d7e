//! Scopes: coroutines that borrow, and are waited for whatever happens.

mod common;

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Counter, FOR_EVER, Gate, ON_PURPOSE, everywhere, hush, inside_everywhere, on_several_workers,
    on_workers, wait_somehow,
};
use filature::{
    Builder, Cancelled, JoinError, JoinState, Runtime, catch_cancel, current, park, scope, shield,
    sleep, spawn, spawn_local, worker_index, yield_now,
};

/// What a scope's coroutines borrow: touched when it is gone, it says so.
struct Frame {
    there: AtomicBool,
    users: AtomicUsize,
}

impl Frame {
    fn new() -> Frame {
        Frame {
            there: AtomicBool::new(true),
            users: AtomicUsize::new(0),
        }
    }

    /// In use until the guard is dropped.
    fn enter(&self) -> User<'_> {
        assert!(self.there.load(Ordering::SeqCst));
        self.users.fetch_add(1, Ordering::SeqCst);
        User(self)
    }

    fn users(&self) -> usize {
        self.users.load(Ordering::SeqCst)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.there.store(false, Ordering::SeqCst);
        if self.users() != 0 {
            eprintln!("a frame is gone that is still in use");
            std::process::abort();
        }
    }
}

struct User<'a>(&'a Frame);

impl Drop for User<'_> {
    fn drop(&mut self) {
        let _last = Leaves(self.0);
        // Suspended in a destructor it still uses the frame, and may be cancelled.
        yield_now();
    }
}

struct Leaves<'a>(&'a Frame);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        assert!(self.0.there.load(Ordering::SeqCst));
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[test]
fn coroutines_borrow_and_are_joined() {
    inside_everywhere(|| {
        let mut numbers = vec![0; 100];
        let sum = AtomicUsize::new(0);
        let text = String::from("borrowed");
        let length = scope(|s| {
            for (n, place) in numbers.iter_mut().enumerate() {
                let sum = &sum;
                s.spawn(move || {
                    yield_now();
                    *place = n;
                    sum.fetch_add(n, Ordering::Relaxed);
                });
            }
            s.spawn(|| text.len()).join().unwrap()
        });
        assert_eq!(length, 8);
        assert_eq!(sum.into_inner(), 4950);
        assert!(numbers.iter().enumerate().all(|(n, place)| n == *place));
    });
}

#[test]
fn plain_threads_have_scopes_on_any_runtime() {
    let mut first = 0;
    scope(|s| {
        s.spawn(|| first = usize::from(worker_index().is_some()));
    });
    assert_eq!(first, 1);
    everywhere(|setup| {
        let runtime = setup.runtime();
        let seen = Counter::new();
        let result = runtime.scope(|s| {
            for _ in 0..50 {
                s.spawn(|| {
                    assert!(worker_index().unwrap() < setup.workers);
                    yield_now();
                    seen.up()
                });
            }
            s.spawn(|| 7).join().unwrap()
        });
        assert_eq!((result, seen.get()), (7, 50));
    });
}

#[test]
fn a_scope_of_another_runtime_is_waited_for() {
    everywhere(|setup| {
        let (here, there) = (setup.runtime(), setup.runtime());
        let frame = Frame::new();
        here.run(|| {
            there.scope(|s| {
                for _ in 0..20 {
                    s.spawn(|| {
                        let _user = frame.enter();
                        yield_now();
                    });
                }
            });
            assert_eq!(frame.users(), 0);
        });
    });
}

#[test]
fn coroutines_of_a_scope_spawn_others_in_it() {
    inside_everywhere(|| {
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    for _ in 0..10 {
                        s.spawn(|| {
                            yield_now();
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn handles_that_are_forgotten_are_waited_for() {
    inside_everywhere(|| {
        let frame = Frame::new();
        let drops = Counter::new();
        scope(|s| {
            for _ in 0..10 {
                forget(s.spawn(|| {
                    let _user = frame.enter();
                    yield_now();
                }));
            }
            drop(s.spawn(|| drops.on_drop()));
            let kept = s.spawn(|| drops.on_drop());
            yield_now();
            drop(kept);
        });
        assert_eq!(frame.users(), 0);
        assert_eq!(drops.get(), 2);
    });
}

#[test]
fn a_result_that_nobody_takes_is_dropped_before_the_scope_ends() {
    inside_everywhere(|| {
        let frame = Frame::new();
        scope(|s| {
            for _ in 0..10 {
                drop(s.spawn(|| frame.enter()));
            }
        });
        assert_eq!(frame.users(), 0);
    });
}

#[test]
fn a_panic_of_the_closure_waits_for_the_coroutines() {
    hush();
    inside_everywhere(|| {
        let frame = Frame::new();
        let done = Counter::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                for _ in 0..10 {
                    s.spawn(|| {
                        let _user = frame.enter();
                        yield_now();
                        done.up();
                    });
                }
                panic!("{ON_PURPOSE}");
            })
        }))
        .unwrap_err();
        assert_eq!(message(&*payload), ON_PURPOSE);
        assert_eq!(
            (frame.users(), done.get()),
            (0, 10),
            "they were not cancelled"
        );
    });
}

#[test]
fn a_panic_that_nobody_joins_is_the_scopes() {
    hush();
    inside_everywhere(|| {
        let unjoined = |forgotten: bool| {
            catch_unwind(|| {
                scope(|s| {
                    let handle = s.spawn(|| panic!("{ON_PURPOSE}"));
                    if forgotten {
                        forget(handle);
                    }
                })
            })
        };
        for forgotten in [false, true] {
            let payload = unjoined(forgotten).unwrap_err();
            assert_eq!(message(&*payload), "a scoped coroutine panicked");
        }
        let joined = scope(|s| s.spawn(|| panic!("{ON_PURPOSE}")).join());
        assert_eq!(
            message(&*joined.unwrap_err().into_panic().unwrap()),
            ON_PURPOSE
        );
    });
}

#[test]
fn a_result_that_panics_as_it_is_dropped_is_a_panic_of_the_scope() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("{ON_PURPOSE}");
        }
    }
    hush();
    inside_everywhere(|| {
        let gone = Gate::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                let handle = s.spawn(|| {
                    gone.wait();
                    Bomb
                });
                drop(handle);
                gone.open();
            })
        }))
        .unwrap_err();
        assert_eq!(message(&*payload), "a scoped coroutine panicked");
    });
}

#[test]
fn a_cancelled_parent_cancels_its_coroutines_and_waits_for_them() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        // Where the parent is: in the closure, in a join, at the scope's end.
        for place in 0..3 {
            for kind in KINDS {
                let (started, after) = (Counter::new(), Counter::new());
                let parent = runtime.spawn({
                    let (started, after) = (started.clone(), after.clone());
                    move || {
                        let _after = after.on_drop();
                        let frame = Frame::new();
                        scope(|s| {
                            let child = || {
                                let _user = frame.enter();
                                started.up();
                                wait_somehow(kind);
                            };
                            let first = s.spawn(child);
                            forget(s.spawn(child));
                            match place {
                                0 => park(),
                                1 => drop(first.join()),
                                _ => {}
                            }
                        });
                        unreachable!("its end was cancelled");
                    }
                });
                started.wait_for(2);
                parent.cancel().unwrap();
                assert!(parent.join().unwrap_err().is_cancelled());
                assert_eq!(after.get(), 1);
            }
        }
    });
}

#[test]
fn the_wait_of_a_scope_is_not_cut_short() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, asked, release) = (Gate::new(), Gate::new(), Gate::new());
        let parent = runtime.spawn({
            let (started, asked, release) = (started.clone(), asked.clone(), release.clone());
            move || {
                let frame = Frame::new();
                scope(|s| {
                    s.spawn(|| {
                        let _user = frame.enter();
                        shield(|| {
                            started.open();
                            while current().cancelling() == 0 {
                                yield_now();
                            }
                            asked.open();
                            release.wait();
                        });
                    });
                });
            }
        });
        started.wait();
        parent.cancel().unwrap();
        // By the parent, which was told at the scope's end.
        asked.wait();
        for _ in 0..10 {
            parent.cancel().unwrap();
            parent.coroutine().unpark();
            yield_now();
        }
        assert!(!parent.is_finished());
        release.open();
        assert!(parent.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_cancellation_that_the_closure_catches_is_not_the_coroutines() {
    inside_everywhere(|| {
        let parent = spawn_local(|| {
            let done = AtomicBool::new(false);
            let me = current();
            scope(|s| {
                s.spawn(|| {
                    me.cancel().unwrap();
                    yield_now();
                    done.store(true, Ordering::Relaxed);
                });
                assert_eq!(catch_cancel(park), Err(Cancelled));
            });
            done.into_inner()
        });
        assert!(parent.join().unwrap());
    });
}

#[test]
fn a_panic_comes_before_a_cancellation() {
    hush();
    inside_everywhere(|| {
        let parent = spawn(|| {
            let me = current();
            let result = catch_unwind(|| {
                scope(|s| {
                    s.spawn(|| {
                        me.cancel().unwrap();
                        panic!("{ON_PURPOSE}");
                    });
                })
            });
            assert_eq!(
                message(&*result.unwrap_err()),
                "a scoped coroutine panicked"
            );
            assert_eq!(catch_cancel(park), Err(Cancelled));
        });
        parent.join().unwrap();
    });
}

#[test]
fn what_has_not_started_in_a_cancelled_scope_never_runs() {
    on_workers(&[1], |setup| {
        let drops = Counter::new();
        let parent = setup.runtime().run(|| {
            spawn_local({
                let drops = drops.clone();
                move || {
                    scope(|s| {
                        for _ in 0..10 {
                            let capture = drops.on_drop();
                            s.spawn(move || {
                                drop(capture);
                                unreachable!("the scope was cancelled")
                            });
                        }
                        current().cancel().unwrap();
                        // Its own suspension comes before the first start.
                        park();
                    });
                }
            })
            .join()
        });
        assert!(matches!(parent, Err(JoinError::Cancelled)));
        assert_eq!(drops.get(), 10);
    });
}

#[test]
fn a_coroutine_of_a_scope_may_be_cancelled_alone() {
    inside_everywhere(|| {
        scope(|s| {
            let child = Builder::new().name("child").spawn_scoped(s, park).unwrap();
            assert_eq!(child.coroutine().name().as_deref(), Some("child"));
            let other = s.spawn(|| 1);
            child.cancel().unwrap();
            while !child.is_finished() {
                yield_now();
            }
            assert_eq!(child.state(), JoinState::Cancelled);
            assert!(child.join().unwrap_err().is_cancelled());
            assert_eq!(other.join().unwrap(), 1);
        });
    });
}

/// Ways to wait that a cancellation ends.
const KINDS: [usize; 7] = [0, 1, 2, 3, 4, 5, 7];

/// One parent in three waits in its closure, the others at the scope's end.
fn in_the_closure(kind: usize) {
    if kind.is_multiple_of(3) {
        sleep(FOR_EVER);
    }
}

/// Leaves a runtime with scopes whose parents wait and whose coroutines are on all
/// workers, started and not.
fn leave_scopes(runtime: &Runtime, inner: Option<&Arc<Runtime>>) -> (Counter, usize) {
    let (ended, started) = (Counter::new(), Counter::new());
    for kind in 0..24 {
        let (ended, started, inner) = (ended.on_drop(), started.clone(), inner.cloned());
        drop(runtime.spawn(move || {
            let _ended = ended;
            let frame = Frame::new();
            let child = || {
                let _user = frame.enter();
                started.up();
                wait_somehow(KINDS[kind % KINDS.len()]);
            };
            match inner {
                None => scope(|s| {
                    (0..8).for_each(|_| drop(s.spawn(child)));
                    in_the_closure(kind);
                }),
                Some(inner) => inner.scope(|s| {
                    (0..8).for_each(|_| drop(s.spawn(child)));
                    in_the_closure(kind);
                }),
            }
        }));
    }
    started.wait_for(24 * 4);
    (ended, 24)
}

#[test]
fn a_shutdown_waits_for_scopes_over_several_workers() {
    on_several_workers(|setup| {
        for _ in 0..5 {
            let runtime = setup.runtime();
            let (ended, all) = leave_scopes(&runtime, None);
            drop(runtime);
            assert_eq!(ended.get(), all);
        }
    });
}

#[test]
fn a_shutdown_waits_for_scopes_on_another_runtime() {
    everywhere(|setup| {
        let inner = Arc::new(setup.runtime());
        let runtime = setup.runtime();
        let (ended, all) = leave_scopes(&runtime, Some(&inner));
        drop(runtime);
        assert_eq!(ended.get(), all);
        drop(inner);
    });
}

#[test]
fn a_shutdown_wakes_a_parent_from_another_worker() {
    on_several_workers(|setup| {
        for round in 0..20 {
            let runtime = setup.runtime();
            let (waits, ended) = (Gate::new(), Counter::new());
            let ending = ended.on_drop();
            drop(runtime.spawn({
                let (waits, ended) = (waits.clone(), ended.clone());
                move || {
                    let _ending = ending;
                    let frame = Frame::new();
                    let started = Gate::new();
                    let home = worker_index();
                    scope(|s| {
                        let _ended = ended.on_drop();
                        s.spawn(|| {
                            let _user = frame.enter();
                            assert_ne!(worker_index(), home);
                            started.open();
                            if round % 2 == 0 {
                                park();
                            } else {
                                shield(|| ended.wait_for(1));
                            }
                        });
                        // The parent's worker is busy: another one starts it.
                        started.wait_busily();
                        waits.open();
                    });
                }
            }));
            waits.wait();
            drop(runtime);
            assert_eq!(ended.get(), 2);
        }
    });
}

#[test]
fn a_panic_that_has_waited_through_a_shutdown_is_not_unwound_again() {
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            for _ in 0..10 {
                yield_now();
            }
        }
    }
    hush();
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, panics, asked) = (Gate::new(), Gate::new(), Gate::new());
        let parent = runtime.spawn({
            let (panics, asked) = (panics.clone(), asked.clone());
            move || {
                // The panic goes on through this once the scope has ended.
                let _waits = Waits;
                scope(|s| {
                    s.spawn(|| {
                        let _waits = Waits;
                        // Deaf to its cancellation, but not to the shutdown.
                        shield(|| {
                            started.open();
                            while current().cancelling() == 0 {
                                yield_now();
                            }
                            asked.open();
                            park();
                        });
                    });
                    started.wait();
                    panics.open();
                    panic!("{ON_PURPOSE}");
                });
            }
        });
        // Before, it would be unwound where it waits for the child to start.
        panics.wait();
        parent.cancel().unwrap();
        // By the parent, which was told at the scope's end, and waits on.
        asked.wait();
        drop(runtime);
        assert!(parent.join().unwrap_err().is_panic());
    });
}

#[test]
fn a_cancellation_may_come_from_any_thread_at_any_time() {
    everywhere(|setup| {
        (0..4).for_each(|seed| cancel_from_outside(&setup.builder().chaos(seed).build().unwrap()));
    });
}

fn cancel_from_outside(runtime: &Runtime) {
    let (made, dropped) = (Counter::new(), Counter::new());
    let parents: Vec<_> = (0..50)
        .map(|turns| {
            let (made, dropped) = (made.clone(), dropped.clone());
            runtime.spawn(move || {
                let count = || {
                    made.up();
                    dropped.on_drop()
                };
                let frame = Frame::new();
                scope(|s| {
                    for kind in KINDS {
                        let (frame, count) = (&frame, &count);
                        s.spawn(move || {
                            let _user = frame.enter();
                            let _count = count();
                            for _ in 0..turns % 5 {
                                yield_now();
                            }
                            wait_somehow(kind);
                        });
                    }
                    for _ in 0..turns % 7 {
                        yield_now();
                    }
                });
            })
        })
        .collect();
    for parent in &parents {
        parent.cancel().unwrap();
    }
    for parent in parents {
        assert!(parent.join().unwrap_err().is_cancelled());
    }
    assert_eq!(made.get(), dropped.get());
}

/// Runs `program` in a coroutine again and again, cancelled after each number of turns
/// that it may take, until it comes through.
fn cancelled_everywhere(program: impl Fn() + Send + Sync + Clone + 'static) {
    for turns in 0.. {
        let parent = spawn_local(program.clone());
        for _ in 0..turns {
            yield_now();
        }
        parent.cancel().unwrap();
        match parent.join() {
            Ok(()) => return,
            Err(e) => assert!(e.is_cancelled(), "{e}"),
        }
    }
}

#[test]
fn it_is_cancelled_at_every_suspension() {
    everywhere(|setup| {
        let (made, dropped) = (Counter::new(), Counter::new());
        setup.runtime().run(|| {
            let (made, dropped) = (made.clone(), dropped.clone());
            cancelled_everywhere(move || {
                let count = &|| {
                    made.up();
                    dropped.on_drop()
                };
                let frame = &Frame::new();
                let _mine = count();
                // Nothing is dropped after a result is there: were it cancelled in that, the
                // compiler would leak the result (rust-lang/rust#47949).
                let in_use = &|f: &dyn Fn()| {
                    let _user = frame.enter();
                    f();
                };
                scope(|s| {
                    let first = s.spawn(move || {
                        in_use(&|| {
                            yield_now();
                            scope(|s| {
                                s.spawn(|| {
                                    in_use(&yield_now);
                                    count()
                                });
                                yield_now();
                            });
                        });
                        count()
                    });
                    yield_now();
                    let second = s.spawn(|| {
                        sleep(Duration::ZERO);
                        count()
                    });
                    drop(first.join());
                    s.spawn(count);
                    drop(second.join());
                });
                assert_eq!(frame.users(), 0);
            });
        });
        assert!(made.get() > 0);
        assert_eq!(made.get(), dropped.get());
    });
}

#[test]
fn on_a_plain_thread_a_timeout_cuts_it_short() {
    use filature::{Elapsed, join, race, task_group, timeout};
    let at_once = std::time::Duration::ZERO;
    let scoped = timeout(at_once, || {
        scope(|s| {
            s.spawn(|| sleep(FOR_EVER));
            7
        })
    });
    assert_eq!(scoped, Err(Elapsed));
    let grouped = timeout(at_once, || {
        let result = task_group(|group| {
            group.spawn(|| {
                sleep(FOR_EVER);
                Ok::<_, String>(1)
            });
        });
        result.is_ok()
    });
    assert_eq!(grouped, Err(Elapsed));
    assert_eq!(
        timeout(at_once, || race([|| sleep(FOR_EVER)])),
        Err(Elapsed)
    );
    let joined = timeout(at_once, || join!(|| sleep(FOR_EVER)).0);
    assert!(joined.is_err());
}
