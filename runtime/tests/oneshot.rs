//! `sync::oneshot`.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, everywhere, inside_everywhere, on_a_thread};
use filature::sync::{BrokenPromise, Promise, SetError, TryWaitError, oneshot};
use filature::{catch_cancel, current, spawn, yield_now};

#[test]
fn a_value_gets_from_one_to_the_other_coroutines_and_threads_alike() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let pairs: Vec<_> = (0..40).map(|_| oneshot()).collect();
        let mut waiters = Vec::new();
        for (i, (promise, value)) in pairs.into_iter().enumerate() {
            let set = move || {
                if i % 3 == 0 {
                    yield_now();
                }
                promise.set(i).unwrap();
            };
            if i % 5 == 0 {
                waiters.push(runtime.spawn(|| value.wait().unwrap()));
                std::thread::spawn(set);
            } else if i % 5 == 1 {
                let value = std::thread::spawn(|| value.wait().unwrap());
                runtime.spawn(set);
                assert_eq!(value.join().unwrap(), i);
            } else {
                runtime.spawn(set);
                waiters.push(runtime.spawn(|| value.wait().unwrap()));
            }
        }
        let sum: usize = waiters.into_iter().map(|w| w.join().unwrap()).sum();
        let others: usize = (0..40).filter(|i| i % 5 == 1).sum();
        assert_eq!(sum + others, 40 * 39 / 2);
    });
}

#[test]
fn a_second_value_is_given_back() {
    inside_everywhere(|| {
        let (promise, mut value) = oneshot();
        assert!(!promise.is_set());
        promise.set(1).unwrap();
        assert_eq!(promise.set(2), Err(SetError::AlreadySet(2)));
        assert!(promise.is_set());
        assert_eq!(value.try_wait(), Ok(1));
        // Also once the first was taken.
        assert_eq!(promise.set(3).unwrap_err().into_inner(), 3);
        assert_eq!(value.try_wait(), Err(TryWaitError::Broken));
        assert_eq!(value.wait(), Err(BrokenPromise));
    });
}

#[test]
fn a_broken_promise_is_heard_of() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (promise, value) = oneshot::<i32>();
        let waiter = runtime.spawn(|| value.wait());
        let (other, value) = oneshot::<i32>();
        let thread = std::thread::spawn(|| value.wait());
        let panics = runtime.spawn(move || {
            let _promises = (promise, other);
            yield_now();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        panics.join().unwrap_err();
        assert_eq!(waiter.join().unwrap(), Err(BrokenPromise));
        assert_eq!(thread.join().unwrap(), Err(BrokenPromise));
        // What was promised and set is there, though the promise is not.
        let (promise, value) = oneshot();
        promise.set(1).unwrap();
        drop(promise);
        assert_eq!(value.wait(), Ok(1));
    });
}

#[test]
fn a_value_that_nobody_waits_for_is_given_back() {
    inside_everywhere(|| {
        let (promise, value) = oneshot();
        assert!(!promise.is_disconnected());
        drop(value);
        assert!(promise.is_disconnected());
        assert_eq!(promise.set(1), Err(SetError::Disconnected(1)));
    });
}

#[test]
fn a_value_can_be_waited_for_for_a_while() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let work = || {
            let short = Duration::from_millis(1);
            let (promise, mut value) = oneshot();
            assert_eq!(value.try_wait(), Err(TryWaitError::Pending));
            assert_eq!(value.wait_timeout(short), Err(TryWaitError::Pending));
            assert_eq!(
                value.wait_timeout(Duration::ZERO),
                Err(TryWaitError::Pending)
            );
            promise.set(1).unwrap();
            assert_eq!(value.wait_timeout(FOR_EVER), Ok(1));
            drop(promise);
            assert_eq!(value.wait_timeout(FOR_EVER), Err(TryWaitError::Broken));
        };
        runtime.run(work);
        work();
        runtime.run(|| {
            let (promise, mut value) = oneshot();
            spawn(move || promise.set(2));
            assert_eq!(value.wait_timeout(FOR_EVER), Ok(2));
        });
    });
}

#[test]
fn a_value_is_not_lost_by_a_cancellation() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            for round in 0..50 {
                let (promise, mut value) = oneshot();
                let starts = Gate::new();
                let started = starts.clone();
                let waiter = spawn(move || {
                    starts.open();
                    let first = catch_cancel(|| value.wait_timeout(FOR_EVER));
                    match first {
                        Ok(value) => value,
                        Err(_) => value.wait_timeout(FOR_EVER),
                    }
                });
                started.wait();
                if round % 2 == 0 {
                    waiter.cancel().unwrap();
                    promise.set(round).unwrap();
                } else {
                    promise.set(round).unwrap();
                    waiter.cancel().unwrap();
                }
                assert_eq!(waiter.join().unwrap(), Ok(round));
            }
        });
    });
}

#[test]
fn a_value_is_dropped_once() {
    inside_everywhere(|| {
        let drops = Counter::new();
        let (promise, value) = oneshot();
        promise.set(drops.on_drop()).unwrap();
        drop(promise.set(drops.on_drop()));
        assert_eq!(drops.get(), 1);
        on_a_thread(move || drop(value));
        assert_eq!(drops.get(), 2);
        drop(promise);
        assert_eq!(drops.get(), 2);

        let (promise, value) = oneshot();
        promise.set(drops.on_drop()).unwrap();
        let waiter = spawn(move || {
            current().cancel().unwrap();
            yield_now();
            drop(value.wait());
        });
        assert!(waiter.join().unwrap_err().is_cancelled());
        assert_eq!(drops.get(), 3);
    });
}

/// Asks its promise for news as it is dropped.
struct Curious(Arc<Promise<Curious>>, Counter);

impl Drop for Curious {
    fn drop(&mut self) {
        assert!(self.0.is_set() && self.0.is_disconnected());
        self.1.up();
    }
}

#[test]
fn a_value_may_use_its_own_promise_as_it_is_dropped() {
    let (promise, value) = oneshot();
    let (promise, drops) = (Arc::new(promise), Counter::new());
    let curious = Curious(promise.clone(), drops.clone());
    assert!(promise.set(curious).is_ok());
    drop(value);
    assert_eq!(drops.get(), 1);
}
