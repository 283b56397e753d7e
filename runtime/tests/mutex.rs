//! `sync::Mutex`.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::{Counter, Gate, everywhere};
use filature::sync::Mutex;
use filature::{park, sleep, spawn, yield_now};

#[test]
fn one_at_a_time_has_the_lock_coroutines_and_threads_alike() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let count = Arc::new(Mutex::new(0_u64));
        let add = |count: Arc<Mutex<u64>>, yields: bool| {
            move || {
                for i in 0..200 {
                    let mut guard = count.lock().unwrap();
                    let before = *guard;
                    if yields && i % 3 == 0 {
                        yield_now();
                    }
                    *guard = before + 1;
                }
            }
        };
        let handles: Vec<_> = (0..40)
            .map(|i| runtime.spawn(add(count.clone(), i % 2 == 0)))
            .collect();
        let threads: Vec<_> = (0..3)
            .map(|_| std::thread::spawn(add(count.clone(), true)))
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*count.lock().unwrap(), 43 * 200);
    });
}

#[test]
fn a_waiter_is_passed_over_at_most_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(Mutex::new(()));
        let got = Gate::new();
        let greedy = runtime.spawn({
            let (lock, got) = (lock.clone(), got.clone());
            move || {
                while !got.is_open() {
                    let guard = lock.lock().unwrap();
                    yield_now();
                    drop(guard);
                }
            }
        });
        runtime.run(|| {
            let _guard = lock.lock().unwrap();
            got.open();
        });
        greedy.join().unwrap();
    });
}

#[test]
fn a_cancelled_waiter_does_not_keep_the_lock_nor_strand_the_next() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(Mutex::new(()));
        runtime.run(|| {
            for _ in 0..50 {
                let guard = lock.lock().unwrap();
                let waiters: Vec<_> = (0..6)
                    .map(|_| {
                        let lock = lock.clone();
                        spawn(move || {
                            let guard = lock.lock();
                            yield_now();
                            drop(guard);
                        })
                    })
                    .collect();
                yield_now();
                waiters[1].cancel().unwrap();
                drop(guard);
                waiters[0].cancel().unwrap();
                waiters[3].cancel().unwrap();
                for (i, waiter) in waiters.into_iter().enumerate() {
                    let result = waiter.join();
                    assert!(result.is_ok() || matches!(i, 0 | 1 | 3), "{i}: {result:?}");
                }
                assert!(lock.try_lock().is_ok());
            }
        });
    });
}

#[test]
fn a_lock_can_be_waited_for_for_a_while() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(Mutex::new(1));
        let held = Gate::new();
        let holder = runtime.spawn({
            let (lock, held) = (lock.clone(), held.clone());
            move || {
                let _guard = lock.lock().unwrap();
                held.open();
                park();
            }
        });
        held.wait();
        assert!(lock.lock_timeout(Duration::from_millis(1)).is_err());
        runtime.run(|| {
            assert!(lock.lock_timeout(Duration::from_millis(1)).is_err());
            assert!(lock.lock_timeout(Duration::ZERO).is_err());
            assert!(lock.try_lock().is_err());
        });
        holder.coroutine().unpark();
        holder.join().unwrap();
        assert_eq!(*lock.lock_timeout(Duration::from_secs(60)).unwrap(), 1);
    });
}

#[test]
fn a_panic_poisons_and_a_cancellation_does_not() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(Mutex::new(1));
        let held = Gate::new();
        let holder = runtime.spawn({
            let (lock, held) = (lock.clone(), held.clone());
            move || {
                let _guard = lock.lock().unwrap();
                held.open();
                sleep(common::FOR_EVER);
            }
        });
        held.wait();
        holder.cancel().unwrap();
        assert!(holder.join().unwrap_err().is_cancelled());
        assert!(!lock.is_poisoned());
        runtime.run(|| {
            let lock = lock.clone();
            let panics = catch_unwind(AssertUnwindSafe(|| {
                let _guard = lock.lock().unwrap();
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            panics.unwrap_err();
        });
        assert!(lock.is_poisoned());
        assert_eq!(*lock.lock().unwrap_err().into_inner(), 1);
        lock.clear_poison();
        assert_eq!(*lock.lock().unwrap(), 1);
    });
}

#[test]
fn a_shutdown_unwinds_those_that_wait_for_a_lock() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, waiting) = (Arc::new(Mutex::new(())), Counter::new());
        let guard = lock.lock().unwrap();
        for _ in 0..20 {
            let (lock, waiting) = (lock.clone(), waiting.clone());
            runtime.spawn(move || {
                waiting.up();
                drop(lock.lock());
                unreachable!("the lock is held");
            });
        }
        waiting.wait_for(20);
        drop(runtime);
        drop(guard);
        drop(lock.try_lock().unwrap());
    });
}
