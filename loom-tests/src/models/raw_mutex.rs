//! The mutex: one holder at a time, and nobody waits beside a free lock.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::RawMutex;
use crate::explore::{Leftover, WAITS, explore};
use crate::facade::UnsafeCell;
use crate::sync::party::Waiter;

struct Guarded {
    lock: RawMutex,
    /// Only touched by the holder: loom fails the model if two overlap, or if what
    /// one did is not seen by the next.
    value: UnsafeCell<usize>,
}

// SAFETY: loom verifies that the accesses to the cell are ordered.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Leftover<Arc<Self>> {
        Leftover::new(Arc::new(Self {
            lock: RawMutex::new(),
            value: UnsafeCell::new(0),
        }))
    }

    fn add(&self) {
        assert!(self.lock.lock(None, true));
        self.add_and_unlock();
    }

    fn add_and_unlock(&self) {
        // SAFETY: loom panics before this if another access is not ordered.
        self.value.with_mut(|value| unsafe { *value += 1 });
        // SAFETY: it is held by the caller.
        unsafe { self.lock.unlock() };
    }

    /// Tries to lock, with a deadline that `time_out` makes pass.
    fn add_in_time(&self) -> usize {
        if self.lock.lock(Some(Instant::now()), true) {
            self.add_and_unlock();
            1
        } else {
            0
        }
    }

    fn end(&self, value: usize) {
        assert!(self.lock.try_lock(), "nobody holds it any more");
        // SAFETY: as in `add`.
        assert_eq!(self.value.with(|value| unsafe { *value }), value);
    }
}

pub(crate) fn holders_exclude_each_other() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        let others = [(); 2].map(|()| {
            let guarded = guarded.clone();
            thread::spawn(move || guarded.add())
        });
        turn.await_it();
        guarded.add();
        for other in others {
            other.join().unwrap();
        }
        guarded.end(3);
    });
}

pub(crate) fn one_that_is_passed_over_has_it_next() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.lock(None, true));
        let other = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.add()
        });
        turn.await_it();
        guarded.add_and_unlock();
        guarded.add();
        guarded.add();
        other.join().unwrap();
        guarded.end(4);
    });
}

pub(crate) fn one_that_gives_up_strands_nobody() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.lock(None, true));
        let other = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.add()
        });
        let waiter = Leftover::new(Arc::new(Mutex::new(None::<Arc<Waiter>>)));
        let hasty = thread::spawn({
            let (guarded, waiter) = (guarded.clone(), waiter.clone());
            move || {
                *waiter.lock().unwrap() = Some(Waiter::current());
                guarded.add_in_time()
            }
        });
        turn.await_it();
        // It waits already, or does not wait yet and is not timed out.
        let waiter = waiter.lock().unwrap().clone();
        if let Some(waiter) = waiter {
            waiter.time_out();
        }
        guarded.add_and_unlock();
        other.join().unwrap();
        let added = hasty.join().unwrap();
        guarded.end(2 + added);
    });
}
