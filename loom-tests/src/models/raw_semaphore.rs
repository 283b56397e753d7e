//! The semaphore: no more permits are out than there are, and nobody waits beside
//! permits that are its turn's.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::RawSemaphore;
use crate::bell::Bell;
use crate::explore::{Leftover, WAITS, explore};
use crate::facade::UnsafeCell;
use crate::sync::party::Waiter;

struct Guarded {
    semaphore: RawSemaphore,
    /// Only touched by whoever has all permits.
    value: UnsafeCell<usize>,
    /// Each written by whoever has one of two permits, read by who has both.
    halves: [UnsafeCell<usize>; 2],
    has_one: Bell,
}

// SAFETY: loom verifies that the accesses to the cell are ordered.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new(permits: usize) -> Leftover<Arc<Self>> {
        Leftover::new(Arc::new(Self {
            semaphore: RawSemaphore::new(permits),
            value: UnsafeCell::new(0),
            halves: [UnsafeCell::new(0), UnsafeCell::new(0)],
            has_one: Bell::new(),
        }))
    }

    fn add(&self, permits: usize) {
        assert!(self.semaphore.acquire(permits, None));
        // SAFETY: loom panics before this if another access is not ordered.
        self.value.with_mut(|value| unsafe { *value += 1 });
        assert!(self.semaphore.release(permits));
    }

    fn write_and_release(&self, half: usize) {
        // SAFETY: as in `add`.
        self.halves[half].with_mut(|value| unsafe { *value = 1 });
        assert!(self.semaphore.release(1));
    }

    fn end(&self, permits: usize, value: usize) {
        assert_eq!(self.semaphore.available(), permits);
        assert!(self.semaphore.try_acquire(permits), "nobody waits any more");
        // SAFETY: as in `add`.
        assert_eq!(self.value.with(|value| unsafe { *value }), value);
    }
}

pub(crate) fn one_permit_is_one_holder() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new(1);
        let others = [(); 2].map(|()| {
            let guarded = guarded.clone();
            thread::spawn(move || guarded.add(1))
        });
        turn.await_it();
        guarded.add(1);
        for other in others {
            other.join().unwrap();
        }
        guarded.end(1, 3);
    });
}

pub(crate) fn one_that_wants_all_gets_them_bit_by_bit() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new(2);
        assert!(guarded.semaphore.acquire(1, None));
        assert!(guarded.semaphore.acquire(1, None));
        let greedy = thread::spawn({
            let guarded = guarded.clone();
            move || {
                assert!(guarded.semaphore.acquire(2, None));
                for half in &guarded.halves {
                    // SAFETY: as in `add`.
                    assert_eq!(half.with(|value| unsafe { *value }), 1);
                }
                assert!(guarded.semaphore.release(2));
            }
        });
        let other = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.write_and_release(1)
        });
        turn.await_it();
        guarded.write_and_release(0);
        other.join().unwrap();
        greedy.join().unwrap();
        guarded.end(2, 0);
    });
}

pub(crate) fn what_comes_back_at_once_serves_two() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new(0);
        let others = [(); 2].map(|()| {
            let guarded = guarded.clone();
            thread::spawn(move || assert!(guarded.semaphore.acquire(1, None)))
        });
        turn.await_it();
        assert!(guarded.semaphore.release(2));
        for other in others {
            other.join().unwrap();
        }
        guarded.end(0, 0);
    });
}

pub(crate) fn one_that_gives_up_makes_way_for_those_behind_it() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new(1);
        let waiter = Leftover::new(Arc::new(Mutex::new(None::<Arc<Waiter>>)));
        let hasty = thread::spawn({
            let (guarded, waiter) = (guarded.clone(), waiter.clone());
            move || {
                *waiter.lock().unwrap() = Some(Waiter::current());
                if guarded.semaphore.acquire(2, Some(Instant::now())) {
                    assert!(guarded.semaphore.release(2));
                }
            }
        });
        let other = thread::spawn({
            let guarded = guarded.clone();
            move || {
                assert!(guarded.semaphore.acquire(1, None));
                guarded.has_one.ring();
                assert!(guarded.semaphore.release(1));
            }
        });
        turn.await_it();
        // It waits already, or does not wait yet and is not timed out.
        let waiter = waiter.lock().unwrap().clone();
        if waiter.is_some_and(|waiter| waiter.time_out()) {
            guarded.has_one.wait();
        }
        assert!(guarded.semaphore.release(1));
        other.join().unwrap();
        hasty.join().unwrap();
        guarded.end(2, 0);
    });
}
