//! `sync::Condvar`.

mod common;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, everywhere, on_a_thread};
use filature::sync::{Condvar, Mutex};
use filature::{catch_cancel, current, spawn, yield_now};

/// A queue that can be waited at.
#[derive(Default)]
struct Shop {
    goods: Mutex<VecDeque<usize>>,
    more: Condvar,
}

impl Shop {
    fn put(&self, what: usize) {
        self.goods.lock().unwrap().push_back(what);
        self.more.notify_one();
    }

    fn take(&self) -> usize {
        let goods = self.goods.lock().unwrap();
        let mut goods = self
            .more
            .wait_while(goods, |goods| goods.is_empty())
            .unwrap();
        goods.pop_front().unwrap()
    }
}

#[test]
fn what_is_put_is_taken_by_coroutines_and_threads_alike() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let shop = Arc::new(Shop::default());
        let take = |shop: Arc<Shop>| move || (0..100).map(|_| shop.take()).sum::<usize>();
        let put = |shop: Arc<Shop>| {
            move || {
                for i in 0..100 {
                    shop.put(i);
                    if i % 7 == 0 {
                        yield_now();
                    }
                }
            }
        };
        let takers: Vec<_> = (0..6).map(|_| runtime.spawn(take(shop.clone()))).collect();
        let threads: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(take(shop.clone())))
            .collect();
        let putters: Vec<_> = (0..6).map(|_| runtime.spawn(put(shop.clone()))).collect();
        let others: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(put(shop.clone())))
            .collect();
        let mut sum = 0;
        sum += takers.into_iter().map(|t| t.join().unwrap()).sum::<usize>();
        sum += threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .sum::<usize>();
        putters.into_iter().for_each(|p| p.join().unwrap());
        others.into_iter().for_each(|p| p.join().unwrap());
        assert_eq!(sum, 8 * (99 * 100 / 2));
        assert!(shop.goods.lock().unwrap().is_empty());
    });
}

#[test]
fn coroutines_of_two_runtimes_meet_at_one() {
    everywhere(|setup| {
        let (here, there) = (setup.runtime(), setup.runtime());
        let (questions, answers) = (Arc::new(Shop::default()), Arc::new(Shop::default()));
        let answering = there.spawn({
            let (questions, answers) = (questions.clone(), answers.clone());
            move || (0..100).for_each(|_| answers.put(questions.take() + 1))
        });
        let asking = here.spawn(move || {
            for i in 0..100 {
                questions.put(i);
                assert_eq!(answers.take(), i + 1);
            }
        });
        asking.join().unwrap();
        answering.join().unwrap();
    });
}

/// Starts `count` coroutines that wait once, and returns when all do.
fn waiters(
    state: &Arc<(Mutex<usize>, Condvar)>,
    count: usize,
    woken: &Arc<Mutex<Vec<usize>>>,
) -> Vec<filature::JoinHandle<()>> {
    let handles = (0..count).map(|i| {
        let (state, woken) = (state.clone(), woken.clone());
        spawn(move || {
            let mut waiting = state.0.lock().unwrap();
            *waiting += 1;
            let _waiting = state.1.wait(waiting).unwrap();
            woken.lock().unwrap().push(i);
        })
    });
    let mut started = Vec::new();
    for handle in handles {
        started.push(handle);
        while *state.0.lock().unwrap() < started.len() {
            yield_now();
        }
    }
    started
}

#[test]
fn those_who_wait_are_notified_in_the_order_in_which_they_came() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(0), Condvar::new()));
            let woken = Arc::new(Mutex::new(Vec::new()));
            let waiters = waiters(&state, 5, &woken);
            for i in 0..3 {
                state.1.notify_one();
                while woken.lock().unwrap().len() <= i {
                    yield_now();
                }
            }
            assert_eq!(*woken.lock().unwrap(), [0, 1, 2]);
            state.1.notify_all();
            waiters.into_iter().for_each(|w| w.join().unwrap());
            assert_eq!(woken.lock().unwrap().len(), 5);
        });
    });
}

#[test]
fn a_notification_that_nobody_waits_for_is_not_kept() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (lock, change) = (Mutex::new(()), Condvar::new());
            change.notify_one();
            change.notify_all();
            let (_guard, result) = change
                .wait_timeout(lock.lock().unwrap(), Duration::from_millis(1))
                .unwrap();
            assert!(result.timed_out());
        });
    });
}

#[test]
fn one_that_is_cancelled_unwinds_without_the_lock() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(false), Condvar::new()));
            let waiter = spawn({
                let state = state.clone();
                move || {
                    let mut waits = state.0.lock().unwrap();
                    *waits = true;
                    let cancelled = catch_cancel(|| drop(state.1.wait(waits)));
                    assert!(cancelled.is_err());
                    // It does not hold the lock, or this would be for ever.
                    assert!(!state.0.is_poisoned());
                    *state.0.lock().unwrap() = false;
                }
            });
            while !*state.0.lock().unwrap() {
                yield_now();
            }
            // With the lock held: the waiter does not ask for it.
            let guard = state.0.lock().unwrap();
            waiter.cancel().unwrap();
            yield_now();
            drop(guard);
            waiter.join().unwrap();
            assert!(!*state.0.lock().unwrap());
        });
    });
}

#[test]
fn one_that_is_cancelled_before_it_waits_lets_go_of_the_lock() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(()), Condvar::new()));
            let waiter = spawn({
                let state = state.clone();
                move || {
                    let guard = state.0.lock().unwrap();
                    current().cancel().unwrap();
                    drop(state.1.wait(guard));
                    unreachable!("it is unwound");
                }
            });
            assert!(waiter.join().unwrap_err().is_cancelled());
            assert!(state.0.try_lock().is_ok());
        });
    });
}

#[test]
fn a_notification_does_not_end_with_one_that_is_cancelled() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for round in 0..40 {
                let shop = Arc::new(Shop::default());
                let taken = Counter::new();
                let take = || {
                    let (shop, taken) = (shop.clone(), taken.clone());
                    spawn(move || {
                        shop.take();
                        taken.up();
                    })
                };
                let takers: Vec<_> = (0..3).map(|_| take()).collect();
                for _ in 0..round % 5 {
                    yield_now();
                }
                // In either order, and at the same time if there are several workers.
                if round % 2 == 0 {
                    takers[0].cancel().unwrap();
                }
                shop.put(1);
                if round % 2 == 1 {
                    takers[0].cancel().unwrap();
                }
                shop.put(2);
                shop.put(3);
                let results: Vec<_> = takers.into_iter().map(|t| t.join()).collect();
                assert!(results[1].is_ok() && results[2].is_ok());
                let left = shop.goods.lock().unwrap().len();
                assert_eq!(taken.get() + left, 3);
                assert_eq!(results[0].is_ok(), left == 0);
            }
        });
    });
}

#[test]
fn once_notified_it_takes_the_lock_though_it_is_cancelled() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(0), Condvar::new()));
            let waiter = spawn({
                let state = state.clone();
                move || {
                    let mut value = state.0.lock().unwrap();
                    *value = 1;
                    let mut value = state.1.wait(value).unwrap();
                    *value += 1;
                    drop(value);
                    // And is unwound by its next suspension.
                    yield_now();
                    unreachable!();
                }
            });
            let guard = loop {
                let guard = state.0.lock().unwrap();
                if *guard == 1 {
                    break guard;
                }
                drop(guard);
                yield_now();
            };
            state.1.notify_one();
            waiter.cancel().unwrap();
            yield_now();
            drop(guard);
            assert!(waiter.join().unwrap_err().is_cancelled());
            assert_eq!(*state.0.lock().unwrap(), 2);
        });
    });
}

#[test]
fn a_predicate_that_is_unwound_lets_go_of_the_lock() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(()), Condvar::new()));
            let waiter = spawn({
                let state = state.clone();
                move || {
                    current().cancel().unwrap();
                    let guard = state.0.lock().unwrap();
                    drop(state.1.wait_while(guard, |_| {
                        yield_now();
                        true
                    }));
                }
            });
            assert!(waiter.join().unwrap_err().is_cancelled());
            assert!(state.0.try_lock().is_ok());

            let panics = catch_unwind(AssertUnwindSafe(|| {
                let guard = state.0.lock().unwrap();
                drop(
                    state
                        .1
                        .wait_while(guard, |_| std::panic::resume_unwind(Box::new("on purpose"))),
                );
            }));
            panics.unwrap_err();
            assert!(state.0.is_poisoned());
        });
    });
}

#[test]
fn a_wait_can_be_for_a_while() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let wait = || {
            let (lock, change) = (Mutex::new(0), Condvar::new());
            let short = Duration::from_millis(1);
            let (guard, result) = change.wait_timeout(lock.lock().unwrap(), short).unwrap();
            assert!(result.timed_out());
            let (guard, result) = change.wait_timeout_while(guard, short, |_| true).unwrap();
            assert!(result.timed_out());
            let (guard, result) = change
                .wait_timeout_while(guard, FOR_EVER, |_| false)
                .unwrap();
            assert!(!result.timed_out());
            let (guard, result) = change.wait_timeout(guard, Duration::ZERO).unwrap();
            assert!(result.timed_out());
            drop(guard);
            drop(lock.try_lock().unwrap());
        };
        runtime.run(wait);
        wait();
    });
}

#[test]
fn a_notification_ends_a_wait_that_has_a_limit() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let wait = |state: Arc<(Mutex<bool>, Condvar)>, limit: Duration| {
            move || {
                let done = state.0.lock().unwrap();
                let (done, result) = state
                    .1
                    .wait_timeout_while(done, limit, |done| !*done)
                    .unwrap();
                assert!(*done && !result.timed_out());
            }
        };
        let waiter = runtime.spawn(wait(state.clone(), FOR_EVER));
        // Further away than the clock can tell.
        let other = runtime.spawn(wait(state.clone(), Duration::MAX));
        let thread = std::thread::spawn(wait(state.clone(), FOR_EVER));
        *state.0.lock().unwrap() = true;
        state.1.notify_all();
        waiter.join().unwrap();
        other.join().unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn a_mutex_that_was_poisoned_meanwhile_says_so() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let state = Arc::new((Mutex::new(1), Condvar::new()));
            let waits = Gate::new();
            let waiter = spawn({
                let (state, waits) = (state.clone(), waits.clone());
                move || {
                    let guard = state.0.lock().unwrap();
                    waits.open();
                    let guard = state.1.wait(guard).unwrap_err().into_inner();
                    assert_eq!(*guard, 2);
                    let result = state.1.wait_timeout(guard, Duration::ZERO);
                    let (guard, result) = result.unwrap_err().into_inner();
                    assert!(*guard == 2 && result.timed_out());
                }
            });
            waits.wait();
            on_a_thread({
                let state = state.clone();
                move || {
                    let panics = catch_unwind(AssertUnwindSafe(|| {
                        *state.0.lock().unwrap() = 2;
                        let _guard = state.0.lock().unwrap();
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }));
                    panics.unwrap_err();
                }
            });
            state.1.notify_one();
            waiter.join().unwrap();
        });
    });
}

#[test]
fn a_shutdown_unwinds_those_who_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (state, waiting) = (Arc::new((Mutex::new(()), Condvar::new())), Counter::new());
        for _ in 0..20 {
            let (state, waiting) = (state.clone(), waiting.clone());
            runtime.spawn(move || {
                let guard = state.0.lock().unwrap();
                waiting.up();
                drop(state.1.wait(guard));
                unreachable!("nobody notifies");
            });
        }
        waiting.wait_for(20);
        drop(runtime);
        state.1.notify_all();
        drop(state.0.try_lock().unwrap());
    });
}
