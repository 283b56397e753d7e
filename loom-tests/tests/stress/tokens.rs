use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::coroutine::token::Token;

#[test]
fn an_early_wakeup_is_remembered_once() {
    let token = Token::new();
    assert!(!token.unpark());
    assert!(!token.unpark());
    assert!(!token.prepare_park(), "consumed");
    assert!(token.prepare_park());
    assert!(token.is_parked());
    assert!(token.unpark());
    assert!(!token.is_parked());
    assert!(!token.unpark());
}

#[test]
fn a_permit_outlives_the_wakeup_that_came_with_it() {
    let token = Token::new();
    assert!(token.prepare_park());
    assert!(token.unpark_with_permit());
    assert!(
        token.prepare_park(),
        "the permit does not concern other waits"
    );
    assert!(!token.unpark_with_permit() || token.take_permit());
    assert!(!token.take_permit());
}

#[test]
fn a_permit_taken_leaves_no_wakeup_behind() {
    let token = Token::new();
    assert!(!token.unpark_with_permit());
    assert!(token.take_permit());
    assert!(token.prepare_park());
}

#[test]
fn a_reset_token_knows_nothing() {
    let token = Token::new();
    token.unpark_with_permit();
    token.reset();
    assert!(!token.take_permit());
    assert!(token.prepare_park());
}

/// A coroutine parks until it has seen all ticks; two threads tick and unpark.
#[test]
fn no_tick_is_missed_and_no_wakeup_is_enqueued_twice() {
    const TICKS: u32 = crate::times(100_000) as u32;
    let token = Token::new();
    let ticks = AtomicU32::new(0);
    // Its home's run queue.
    let (enqueue, run_queue) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (token, ticks, enqueue) = (&token, &ticks, enqueue.clone());
            scope.spawn(move || {
                for _ in 0..TICKS / 2 {
                    ticks.fetch_add(1, Ordering::Relaxed);
                    if token.unpark() {
                        enqueue.send(()).unwrap();
                    }
                }
            });
        }
        while ticks.load(Ordering::Relaxed) < TICKS {
            if token.prepare_park() {
                run_queue.recv().unwrap();
            }
        }
    });
    assert!(run_queue.try_recv().is_err(), "enqueued while it ran");
}
