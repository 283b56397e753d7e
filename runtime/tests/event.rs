//! `sync::Event` and `sync::WaitGroup`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counter, FOR_EVER, everywhere};
use filature::sync::{Event, WaitGroup};
use filature::{catch_cancel, spawn, spawn_local, yield_now};

#[test]
fn all_who_wait_go_on_when_it_is_set_and_later_ones_do_not_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (event, said) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let wait = |limit: Option<Duration>| {
            let (event, said) = (event.clone(), said.clone());
            move || {
                match limit {
                    None => event.wait(),
                    Some(limit) => assert!(event.wait_timeout(limit)),
                }
                assert_eq!(said.load(Ordering::Relaxed), 7);
            }
        };
        let mut handles: Vec<_> = (0..10).map(|_| runtime.spawn(wait(None))).collect();
        handles.push(runtime.spawn(wait(Some(FOR_EVER))));
        let threads = [
            std::thread::spawn(wait(None)),
            std::thread::spawn(wait(Some(FOR_EVER))),
        ];
        assert!(!event.is_set());
        said.store(7, Ordering::Relaxed);
        event.set();
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
        wait(None)();
        runtime.run(wait(Some(Duration::ZERO)));
        assert!(event.is_set());
    });
}

#[test]
fn who_waited_goes_on_though_it_is_cleared_again() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (event, waiting) = (Arc::new(Event::new()), Counter::new());
            let waiters: Vec<_> = (1..=5)
                .map(|i| {
                    let (event, waits) = (event.clone(), waiting.clone());
                    let waiter = spawn_local(move || {
                        waits.up();
                        event.wait();
                    });
                    waiting.wait_for(i);
                    waiter
                })
                .collect();
            event.set();
            event.clear();
            waiters.into_iter().for_each(|w| w.join().unwrap());
            assert!(!event.is_set());
            assert!(!event.wait_timeout(Duration::from_millis(1)));
        });
    });
}

#[test]
fn a_wait_has_a_limit_also_on_a_thread() {
    let event = Event::new();
    assert!(!event.wait_timeout(Duration::from_millis(1)));
    event.set();
    assert!(event.wait_timeout(Duration::ZERO));
}

#[test]
fn one_that_is_cancelled_unwinds_and_the_others_wait_on() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (event, waiting) = (Arc::new(Event::new()), Counter::new());
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let (event, waits) = (event.clone(), waiting.clone());
                    spawn_local(move || {
                        waits.up();
                        let cancelled = catch_cancel(|| event.wait()).is_err();
                        waits.up();
                        event.wait();
                        cancelled
                    })
                })
                .collect();
            waiting.wait_for(4);
            waiters[2].cancel().unwrap();
            waiting.wait_for(5);
            assert!(waiters.iter().all(|w| !w.is_finished()));
            event.set();
            for (i, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.join().unwrap(), i == 2);
            }
        });
    });
}

#[test]
fn a_group_is_waited_for_until_all_are_gone_however_they_go() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (group, done) = (WaitGroup::new(), Counter::new());
        for i in 0..12 {
            let (group, done) = (group.clone(), done.on_drop());
            let handle = runtime.spawn(move || {
                let _in_this_order = (done, group);
                yield_now();
                match i % 3 {
                    0 => {}
                    1 => std::panic::resume_unwind(Box::new("on purpose")),
                    _ => common::wait_somehow(i),
                }
            });
            if i % 3 == 2 {
                handle.cancel().unwrap();
            }
            // Takes the payload of the panic, which otherwise the hook would show.
            runtime.spawn(move || drop(handle.join()));
        }
        let other = group.clone();
        let thread = {
            let done = done.on_drop();
            std::thread::spawn(move || drop((done, other)))
        };
        runtime.run(|| group.wait());
        assert_eq!(done.get(), 13);
        thread.join().unwrap();
    });
}

#[test]
fn several_may_wait_for_one_group() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (group, arrived) = (WaitGroup::new(), Counter::new());
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let (group, arrived) = (group.clone(), arrived.clone());
                runtime.spawn(move || {
                    arrived.up();
                    group.wait();
                    assert_eq!(arrived.get(), 6);
                })
            })
            .collect();
        arrived.up();
        group.wait();
        waiters.into_iter().for_each(|w| w.join().unwrap());
        WaitGroup::default().wait();
    });
}

#[test]
fn one_that_is_cancelled_as_it_waits_for_its_group_has_left_it() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let group = WaitGroup::new();
            let waiter = spawn({
                let group = group.clone();
                move || group.wait()
            });
            yield_now();
            waiter.cancel().unwrap();
            assert!(waiter.join().unwrap_err().is_cancelled());
            group.wait();
        });
    });
}
