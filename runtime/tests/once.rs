//! `sync::Once`, `OnceLock` and `LazyLock`.

mod common;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use common::{Counter, FOR_EVER, Gate, everywhere, inside_everywhere};
use filature::sync::{LazyLock, Once, OnceLock};
use filature::{catch_cancel, current, park, sleep, spawn, yield_now};

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn panic() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[test]
fn it_is_done_once_and_all_see_it_done() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (once, calls) = (Arc::new(Once::new()), Counter::new());
        let call = || {
            let (once, calls) = (once.clone(), calls.clone());
            move || {
                once.call_once(|| {
                    yield_now();
                    calls.up();
                });
                assert!(once.is_completed());
                assert_eq!(calls.get(), 1);
                once.wait();
            }
        };
        let handles: Vec<_> = (0..20).map(|_| runtime.spawn(call())).collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(call())).collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn a_panic_poisons() {
    inside_everywhere(|| {
        let once = Arc::new(Once::new());
        let waits = spawn({
            let once = once.clone();
            move || once.wait_force()
        });
        let hears = spawn({
            let once = once.clone();
            move || assert!(panics(|| once.wait()))
        });
        assert!(panics(|| once.call_once(|| {
            yield_now();
            panic();
        })));
        hears.join().unwrap();
        assert!(!once.is_completed());
        let again = catch_unwind(AssertUnwindSafe(|| once.call_once(|| unreachable!())));
        let message = again.unwrap_err();
        assert!(message.downcast_ref::<&str>().unwrap().contains("poisoned"));
        once.call_once_force(|state| assert!(state.is_poisoned()));
        once.call_once_force(|_| unreachable!("it is done"));
        once.call_once(|| unreachable!("it is done"));
        waits.join().unwrap();
    });
}

#[test]
fn a_cancellation_does_not_poison_and_another_does_it() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            for round in 0..20 {
                let (once, calls) = (Arc::new(Once::new()), Counter::new());
                let begun = Gate::new();
                let first = spawn({
                    let (once, begun) = (once.clone(), begun.clone());
                    move || {
                        once.call_once_force(|state| {
                            assert!(!state.is_poisoned());
                            begun.open();
                            sleep(FOR_EVER);
                        });
                    }
                });
                begun.wait();
                let others: Vec<_> = (0..4)
                    .map(|_| {
                        let (once, calls) = (once.clone(), calls.clone());
                        spawn(move || {
                            once.call_once(|| {
                                calls.up();
                            });
                        })
                    })
                    .collect();
                let waits = spawn({
                    let once = once.clone();
                    move || once.wait()
                });
                for _ in 0..round % 4 {
                    yield_now();
                }
                others[0].cancel().unwrap();
                first.cancel().unwrap();
                assert!(first.join().unwrap_err().is_cancelled());
                for (i, other) in others.into_iter().enumerate() {
                    assert!(other.join().is_ok() || i == 0);
                }
                waits.join().unwrap();
                assert_eq!(calls.get(), 1);
            }
        });
    });
}

#[test]
fn a_cancellation_leaves_the_poison_of_a_panic_before_it() {
    inside_everywhere(|| {
        let once = Arc::new(Once::new());
        assert!(panics(|| once.call_once(|| panic())));
        current().cancel().unwrap();
        let cancelled = catch_cancel(|| once.call_once_force(|_| yield_now()));
        assert!(cancelled.is_err());
        once.call_once_force(|state| assert!(state.is_poisoned()));
    });
}

/// Calls its closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_panic_in_a_destructor_of_one_that_is_cancelled_poisons() {
    inside_everywhere(|| {
        let once = Once::new();
        current().cancel().unwrap();
        let cancelled = catch_cancel(|| {
            let _on_drop = OnDrop(|| assert!(panics(|| once.call_once(|| panic()))));
            yield_now();
        });
        assert!(cancelled.is_err());
        once.call_once_force(|state| assert!(state.is_poisoned()));
    });
}

#[test]
fn a_shutdown_does_not_poison() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (once, begun) = (Arc::new(Once::new()), Gate::new());
        let call = || {
            let (once, begun) = (once.clone(), begun.clone());
            move || {
                once.call_once(|| {
                    begun.open();
                    park();
                });
            }
        };
        runtime.spawn(call());
        runtime.spawn(call());
        begun.wait();
        drop(runtime);
        once.call_once_force(|state| assert!(!state.is_poisoned()));
    });
}

#[test]
fn a_value_is_made_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, made) = (Arc::new(OnceLock::new()), Counter::new());
        let waits = runtime.spawn({
            let lock = lock.clone();
            move || *lock.wait()
        });
        let get = || {
            let (lock, made) = (lock.clone(), made.clone());
            move || {
                *lock.get_or_init(|| {
                    yield_now();
                    made.up()
                })
            }
        };
        let handles: Vec<_> = (0..20).map(|_| runtime.spawn(get())).collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(get())).collect();
        assert!(handles.into_iter().all(|h| h.join().unwrap() == 1));
        assert!(threads.into_iter().all(|t| t.join().unwrap() == 1));
        assert_eq!(waits.join().unwrap(), 1);
        assert_eq!(lock.set(2), Err(2));
        assert_eq!(lock.get(), Some(&1));
    });
}

#[test]
fn an_initialiser_that_fails_leaves_no_value() {
    inside_everywhere(|| {
        let mut lock = OnceLock::new();
        assert!(panics(|| {
            lock.get_or_init(|| panic());
        }));
        current().cancel().unwrap();
        let cancelled = catch_cancel(|| {
            lock.get_or_init(|| {
                yield_now();
                0
            });
        });
        assert!(cancelled.is_err());
        assert_eq!(lock.get_or_try_init(|| Err::<i32, _>("no")), Err("no"));
        assert_eq!(lock.get(), None);
        assert_eq!(lock.get_or_try_init(|| Ok::<_, ()>(3)), Ok(&3));
        assert_eq!(lock.get_or_try_init(|| Err("not called")), Ok(&3));
        *lock.get_mut().unwrap() = 4;
        let copy = lock.clone();
        assert_eq!(lock.take(), Some(4));
        assert_eq!(lock.get(), None);
        assert_eq!(lock.set(5), Ok(()));
        assert_eq!(lock.into_inner(), Some(5));
        assert_eq!(copy, OnceLock::from(4));
        assert_eq!(
            format!("{copy:?} {:?}", OnceLock::<()>::new()),
            "OnceLock(4) OnceLock(<uninit>)"
        );
    });
}

#[test]
fn a_value_is_dropped_once() {
    let drops = Counter::new();
    let lock = OnceLock::new();
    assert!(lock.set(drops.on_drop()).is_ok());
    assert!(lock.set(drops.on_drop()).is_err());
    assert_eq!(drops.get(), 1);
    drop(lock);
    assert_eq!(drops.get(), 2);
    let lazy = LazyLock::new(|| drops.on_drop());
    LazyLock::force(&lazy);
    drop(lazy);
    assert_eq!(drops.get(), 3);
    let unused = drops.on_drop();
    drop(LazyLock::new(move || unused));
    assert_eq!(drops.get(), 4);
}

#[test]
fn a_lazy_value_is_made_when_it_is_first_asked_for() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let made = Counter::new();
        let lazy = Arc::new(LazyLock::new({
            let made = made.clone();
            move || {
                yield_now();
                made.up()
            }
        }));
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        let get = || {
            let lazy = lazy.clone();
            move || **lazy
        };
        let handles: Vec<_> = (0..20).map(|_| runtime.spawn(get())).collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(get())).collect();
        assert!(handles.into_iter().all(|h| h.join().unwrap() == 1));
        assert!(threads.into_iter().all(|t| t.join().unwrap() == 1));
        assert_eq!(format!("{lazy:?}"), "LazyLock(1)");
    });
}

#[test]
fn a_lazy_value_can_be_changed_by_its_owner() {
    let mut lazy = LazyLock::new(|| vec![1]);
    assert_eq!(LazyLock::get_mut(&mut lazy), None);
    lazy.push(2);
    LazyLock::force_mut(&mut lazy).push(3);
    LazyLock::get_mut(&mut lazy).unwrap().push(4);
    assert_eq!(LazyLock::get(&lazy), Some(&vec![1, 2, 3, 4]));
}

#[test]
fn the_initialiser_of_a_lazy_value_is_not_cut_short_by_a_cancellation() {
    inside_everywhere(|| {
        let lazy = LazyLock::new(|| {
            yield_now();
            7
        });
        current().cancel().unwrap();
        assert_eq!(catch_cancel(|| *lazy), Ok(7));
        assert!(catch_cancel(yield_now).is_err());
    });
}

#[test]
fn a_panic_poisons_a_lazy_value_and_so_does_a_shutdown() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lazy: LazyLock<Cell<i32>, _> = LazyLock::new(|| panic());
        assert!(panics(|| assert_eq!(lazy.get(), 1)));
        assert!(panics(|| assert_eq!(lazy.get(), 1)));

        let begun = Gate::new();
        let lazy = Arc::new(LazyLock::new({
            let begun = begun.clone();
            move || {
                begun.open();
                park();
                1
            }
        }));
        runtime.spawn({
            let lazy = lazy.clone();
            move || **lazy
        });
        begun.wait();
        drop(runtime);
        assert!(panics(|| assert_eq!(**lazy, 1)));
        assert!(panics(|| assert_eq!(**lazy, 1)));
    });
}

#[test]
fn a_timeout_on_a_plain_thread_leaves_it_as_if_not_called() {
    let once = Once::new();
    let result = filature::timeout(std::time::Duration::ZERO, || {
        once.call_once(|| filature::sleep(FOR_EVER))
    });
    assert!(result.is_err());
    once.call_once(|| ());
    assert!(once.is_completed());
}
