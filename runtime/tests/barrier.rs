//! `sync::Barrier`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counter, everywhere};
use filature::sync::Barrier;
use filature::{spawn, spawn_local, yield_now};

#[test]
fn all_wait_for_all_and_one_leads() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let barrier = Arc::new(Barrier::new(12));
        let arrived = Counter::new();
        let meet = || {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            move || {
                let mut led = 0;
                for round in 1..=50 {
                    arrived.up();
                    led += usize::from(barrier.wait().is_leader());
                    assert!(arrived.get() >= 12 * round);
                    assert!(arrived.get() < 12 * (round + 1));
                    // Behind this one they are all known not to have arrived yet.
                    led += usize::from(barrier.wait().is_leader());
                }
                led
            }
        };
        let handles: Vec<_> = (0..9).map(|_| runtime.spawn(meet())).collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(meet())).collect();
        let mut led = 0;
        led += handles
            .into_iter()
            .map(|h| h.join().unwrap())
            .sum::<usize>();
        led += threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .sum::<usize>();
        assert_eq!(led, 100);
    });
}

#[test]
fn a_barrier_for_one_or_none_is_open() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            for n in [0, 1] {
                let barrier = Barrier::new(n);
                assert!(barrier.wait().is_leader());
                assert!(barrier.wait().is_leader());
            }
        });
    });
}

#[test]
fn one_that_is_cancelled_is_not_counted() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let barrier = Arc::new(Barrier::new(3));
            let passed = Arc::new(AtomicUsize::new(0));
            let wait = || {
                let (barrier, passed) = (barrier.clone(), passed.clone());
                spawn(move || {
                    barrier.wait();
                    passed.fetch_add(1, Ordering::SeqCst);
                })
            };
            for round in 1..=20 {
                let waiters = [wait(), wait()];
                yield_now();
                for waiter in waiters {
                    waiter.cancel().unwrap();
                    assert!(waiter.join().unwrap_err().is_cancelled());
                }
                assert_eq!(passed.load(Ordering::SeqCst), 3 * (round - 1));
                let waiters = [wait(), wait(), wait()];
                waiters
                    .map(|w| w.join())
                    .into_iter()
                    .for_each(Result::unwrap);
                assert_eq!(passed.load(Ordering::SeqCst), 3 * round);
            }
        });
    });
}

#[test]
fn one_that_is_cancelled_and_has_not_heard_of_it_counts_as_having_come() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (barrier, arrived) = (Arc::new(Barrier::new(2)), Counter::new());
            for round in 1..=20 {
                let waiter = spawn_local({
                    let (barrier, arrived) = (barrier.clone(), arrived.clone());
                    move || {
                        arrived.up();
                        barrier.wait().is_leader()
                    }
                });
                arrived.wait_for(round);
                if round % 2 == 0 {
                    // It runs here, so it does not run now.
                    waiter.cancel().unwrap();
                    assert!(barrier.wait().is_leader());
                    assert!(waiter.join().unwrap_err().is_cancelled());
                } else {
                    assert!(barrier.wait().is_leader());
                    waiter.cancel().unwrap();
                    assert!(!waiter.join().unwrap());
                }
            }
        });
    });
}

#[test]
fn a_shutdown_unwinds_those_who_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (barrier, waiting) = (Arc::new(Barrier::new(4)), Counter::new());
        for _ in 0..3 {
            let (barrier, waiting) = (barrier.clone(), waiting.clone());
            runtime.spawn(move || {
                waiting.up();
                barrier.wait();
                unreachable!("the fourth does not come");
            });
        }
        waiting.wait_for(3);
        drop(runtime);
        // Nobody is counted any more.
        let others: Vec<_> = (0..4)
            .map(|_| {
                let barrier = barrier.clone();
                std::thread::spawn(move || barrier.wait().is_leader())
            })
            .collect();
        let leaders = others.into_iter().map(|o| o.join().unwrap());
        assert_eq!(leaders.filter(|leads| *leads).count(), 1);
    });
}
