//! `sync::Semaphore`.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counter, FOR_EVER, everywhere};
use filature::sync::{Mutex, Semaphore};
use filature::{spawn, yield_now};

#[test]
fn no_more_than_the_permits_are_in() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let work = |many: usize| {
            let (semaphore, inside) = (semaphore.clone(), inside.clone());
            move || {
                for i in 0..100 {
                    let permit = semaphore.acquire_many(many);
                    assert!(inside.fetch_add(many, Ordering::SeqCst) + many <= 3);
                    if i % 3 == 0 {
                        yield_now();
                    }
                    inside.fetch_sub(many, Ordering::SeqCst);
                    assert_eq!(permit.permits(), many);
                }
            }
        };
        let handles: Vec<_> = (0..20).map(|i| runtime.spawn(work(i % 3 + 1))).collect();
        let threads: Vec<_> = (1..=3).map(|i| std::thread::spawn(work(i))).collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(semaphore.available_permits(), 3);
    });
}

/// Waits until `semaphore`, which has permits to take, has somebody waiting.
fn until_somebody_waits(semaphore: &Semaphore) {
    while semaphore.try_acquire_many(0).is_some() {
        yield_now();
    }
}

#[test]
fn first_come_first_served() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let semaphore = Arc::new(Semaphore::new(0));
            let served = Arc::new(Mutex::new(Vec::new()));
            let started = Counter::new();
            let mut waiters = Vec::new();
            // The second wants many, and nobody passes it.
            for (i, many) in [1, 4, 1, 1].into_iter().enumerate() {
                let (semaphore, served) = (semaphore.clone(), served.clone());
                let starts = started.clone();
                waiters.push(filature::spawn_local(move || {
                    starts.up();
                    let permit = semaphore.acquire_many(many);
                    served.lock().unwrap().push(i);
                    permit.forget();
                }));
                started.wait_for(i + 1);
            }
            until_somebody_waits(&semaphore);
            semaphore.add_permits(1);
            while served.lock().unwrap().is_empty() {
                yield_now();
            }
            semaphore.add_permits(3);
            for _ in 0..10 {
                yield_now();
            }
            assert_eq!(*served.lock().unwrap(), [0]);
            assert!(semaphore.try_acquire().is_none());
            semaphore.add_permits(2);
            semaphore.add_permits(1);
            waiters.into_iter().for_each(|w| w.join().unwrap());
            assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3]);
            assert_eq!(semaphore.available_permits(), 0);
        });
    });
}

#[test]
fn one_that_is_cancelled_has_no_permits_and_makes_way() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let semaphore = Arc::new(Semaphore::new(2));
            for _ in 0..50 {
                let permit = semaphore.acquire();
                let wait = |many| {
                    let semaphore = semaphore.clone();
                    spawn(move || {
                        let permit = semaphore.acquire_many(many);
                        yield_now();
                        drop(permit);
                    })
                };
                let greedy = wait(2);
                until_somebody_waits(&semaphore);
                let modest = wait(1);
                yield_now();
                greedy.cancel().unwrap();
                // There was one for it all the time.
                modest.join().unwrap();
                assert!(greedy.join().unwrap_err().is_cancelled());
                let others = [wait(2), wait(1)];
                yield_now();
                others[0].cancel().unwrap();
                drop(permit);
                for (i, other) in others.into_iter().enumerate() {
                    assert!(other.join().is_ok() || i == 0);
                }
                assert_eq!(semaphore.available_permits(), 2);
            }
        });
    });
}

#[test]
fn permits_can_be_waited_for_for_a_while() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let wait = || {
            let short = Duration::from_millis(1);
            let semaphore = Semaphore::new(1);
            let one = semaphore.acquire_timeout(short).unwrap();
            assert!(semaphore.acquire_timeout(short).is_none());
            assert!(semaphore.acquire_many_timeout(2, short).is_none());
            assert!(semaphore.acquire_many_timeout(0, short).is_some());
            drop(one);
            assert!(semaphore.acquire_many_timeout(2, short).is_none());
            assert!(semaphore.acquire_many_timeout(1, FOR_EVER).is_some());
            assert_eq!(semaphore.available_permits(), 1);
        };
        runtime.run(wait);
        wait();
    });
}

#[test]
fn permits_come_back_whatever_happens() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let semaphore = Arc::new(Semaphore::new(2));
            let panics = catch_unwind(AssertUnwindSafe(|| {
                let _permit = semaphore.acquire();
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            panics.unwrap_err();
            let holder = spawn({
                let semaphore = semaphore.clone();
                move || {
                    let _permits = semaphore.acquire_many(2);
                    common::wait_somehow(0);
                }
            });
            while semaphore.available_permits() != 0 {
                yield_now();
            }
            holder.cancel().unwrap();
            let permits = semaphore.acquire_many(2);
            assert!(holder.join().unwrap_err().is_cancelled());
            // By anybody.
            common::on_a_thread({
                let semaphore = semaphore.clone();
                move || semaphore.acquire_timeout(Duration::ZERO).map(|_| ())
            });
            drop(permits);
            assert_eq!(semaphore.available_permits(), 2);
        });
    });
}

#[test]
fn a_permit_can_be_given_back_elsewhere() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let semaphore = Semaphore::new(1);
            let permit = semaphore.acquire();
            std::thread::scope(|scope| {
                scope.spawn(move || drop(permit));
            });
            semaphore.try_acquire().unwrap().forget();
            assert_eq!(semaphore.available_permits(), 0);
            semaphore.add_permits(1);
            assert_eq!(semaphore.available_permits(), 1);
        });
    });
}

#[test]
fn more_permits_than_can_be_counted_are_refused() {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
    let all = semaphore.acquire_many(Semaphore::MAX_PERMITS);
    semaphore.add_permits(1);
    let panics = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(
        panics(&|| semaphore.add_permits(Semaphore::MAX_PERMITS)),
        "on purpose"
    );
    assert!(panics(&|| drop(semaphore.acquire_many(usize::MAX))));
    assert!(panics(&|| assert_eq!(
        Semaphore::new(usize::MAX).available_permits(),
        0
    )));
    assert!(semaphore.try_acquire_many(usize::MAX).is_none());
    // One more was added, so there is no room for one of them.
    drop(all);
    assert_eq!(semaphore.available_permits(), Semaphore::MAX_PERMITS);
    drop(semaphore.try_acquire().unwrap());
}

#[test]
fn a_shutdown_unwinds_those_who_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (semaphore, waiting) = (Arc::new(Semaphore::new(1)), Counter::new());
        let permit = semaphore.acquire();
        for i in 0..20 {
            let (semaphore, waiting) = (semaphore.clone(), waiting.clone());
            runtime.spawn(move || {
                waiting.up();
                drop(semaphore.acquire_many(1 + i % 2));
                unreachable!("nobody gives any back");
            });
        }
        waiting.wait_for(20);
        drop(runtime);
        drop(permit);
        assert!(semaphore.try_acquire().is_some());
    });
}
