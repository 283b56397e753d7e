//! The one-shot: its value is set once and taken once, and who waits hears of it.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::{Missing, RawOneshot};
use crate::explore::{Leftover, WAITS, explore};
use crate::sync::party::Waiter;

fn oneshot() -> Leftover<Arc<RawOneshot<usize>>> {
    Leftover::new(Arc::new(RawOneshot::new()))
}

pub(crate) fn what_is_set_is_taken() {
    explore(WAITS, |turn| {
        let oneshot = oneshot();
        let promise = thread::spawn({
            let oneshot = oneshot.clone();
            move || assert!(oneshot.set(7).is_ok())
        });
        turn.await_it();
        assert_eq!(oneshot.take(None), Ok(7));
        promise.join().unwrap();
    });
}

pub(crate) fn a_broken_promise_is_heard_of() {
    explore(WAITS, |turn| {
        let oneshot = oneshot();
        let promise = thread::spawn({
            let oneshot = oneshot.clone();
            move || oneshot.abandon()
        });
        turn.await_it();
        assert_eq!(oneshot.take(None), Err(Missing::Broken));
        promise.join().unwrap();
    });
}

pub(crate) fn one_of_two_sets_it() {
    explore(WAITS, |turn| {
        let oneshot = oneshot();
        let others = [1, 2].map(|value| {
            let oneshot = oneshot.clone();
            thread::spawn(move || oneshot.set(value).is_ok())
        });
        turn.await_it();
        let taken = oneshot.take(None).unwrap();
        let set = others.map(|other| other.join().unwrap());
        assert_eq!(set, [taken == 1, taken == 2]);
        assert_eq!(oneshot.try_take(), Err(Missing::Broken));
    });
}

pub(crate) fn what_is_set_as_the_waiter_gives_up_is_not_lost() {
    explore(WAITS, |turn| {
        let oneshot = oneshot();
        let waiter = Leftover::new(Arc::new(Mutex::new(None::<Arc<Waiter>>)));
        let hasty = thread::spawn({
            let (oneshot, waiter) = (oneshot.clone(), waiter.clone());
            move || {
                *waiter.lock().unwrap() = Some(Waiter::current());
                match oneshot.take(Some(Instant::now())) {
                    Ok(value) => Some(value),
                    Err(Missing::Pending) => None,
                    Err(Missing::Broken) => unreachable!("it is kept"),
                }
            }
        });
        turn.await_it();
        let waiter = waiter.lock().unwrap().clone();
        if let Some(waiter) = waiter {
            waiter.time_out();
        }
        assert!(oneshot.set(7).is_ok());
        let taken = hasty.join().unwrap();
        assert_eq!(taken.or_else(|| oneshot.close()), Some(7));
    });
}
