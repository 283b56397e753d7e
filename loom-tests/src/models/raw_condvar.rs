//! The condition variable: what is notified is heard.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::RawCondvar;
use crate::explore::{Leftover, WAITS, explore};
use crate::facade::UnsafeCell;
use crate::sync::party::Waiter;
use crate::sync::raw_mutex::RawMutex;

struct Monitor {
    lock: RawMutex,
    change: RawCondvar,
    /// Only touched by whoever has the lock.
    value: UnsafeCell<usize>,
}

// SAFETY: loom verifies that the accesses to the cell are ordered.
unsafe impl Send for Monitor {}
// SAFETY: as above.
unsafe impl Sync for Monitor {}

impl Monitor {
    fn new() -> Leftover<Arc<Self>> {
        Leftover::new(Arc::new(Self {
            lock: RawMutex::new(),
            change: RawCondvar::new(),
            value: UnsafeCell::new(0),
        }))
    }

    fn add(&self) {
        self.lock();
        // SAFETY: loom panics before this if another access is not ordered.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.unlock();
    }

    /// Waits until there is something, and takes it if `takes`; false if it gave
    /// up.
    fn wait(&self, deadline: Option<Instant>, takes: bool) -> bool {
        self.lock();
        // SAFETY: as in `add`.
        while self.value.with(|value| unsafe { *value }) == 0 {
            let notified = self.change.wait(|| self.unlock(), deadline);
            self.lock();
            if !notified {
                self.unlock();
                return false;
            }
        }
        if takes {
            // SAFETY: as in `add`.
            self.value.with_mut(|value| unsafe { *value -= 1 });
        }
        self.unlock();
        true
    }

    fn lock(&self) {
        // A model's deadline may pass in this wait, which has none; but once.
        if !self.lock.lock(None, true) {
            assert!(self.lock.lock(None, true));
        }
    }

    fn unlock(&self) {
        // SAFETY: it is held by the caller.
        unsafe { self.lock.unlock() };
    }
}

pub(crate) fn a_notification_is_heard() {
    explore(WAITS, |turn| {
        let monitor = Monitor::new();
        let waiter = thread::spawn({
            let monitor = monitor.clone();
            move || assert!(monitor.wait(None, true))
        });
        turn.await_it();
        monitor.add();
        monitor.change.notify_one();
        waiter.join().unwrap();
    });
}

pub(crate) fn each_of_two_notifications_is_heard() {
    explore(WAITS, |turn| {
        let monitor = Monitor::new();
        let waiters = [(); 2].map(|()| {
            let monitor = monitor.clone();
            thread::spawn(move || assert!(monitor.wait(None, true)))
        });
        turn.await_it();
        for _ in 0..2 {
            monitor.add();
            monitor.change.notify_one();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

pub(crate) fn all_are_notified() {
    explore(WAITS, |turn| {
        let monitor = Monitor::new();
        let waiters = [(); 2].map(|()| {
            let monitor = monitor.clone();
            thread::spawn(move || assert!(monitor.wait(None, true)))
        });
        turn.await_it();
        monitor.add();
        monitor.add();
        monitor.change.notify_all();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

pub(crate) fn one_that_gives_up_takes_no_notification_with_it() {
    explore(WAITS, |turn| {
        let monitor = Monitor::new();
        let waiter = Leftover::new(Arc::new(Mutex::new(None::<Arc<Waiter>>)));
        let hasty = thread::spawn({
            let (monitor, waiter) = (monitor.clone(), waiter.clone());
            move || {
                *waiter.lock().unwrap() = Some(Waiter::current());
                if monitor.wait(Some(Instant::now()), false) {
                    monitor.change.notify_one();
                }
            }
        });
        let patient = thread::spawn({
            let monitor = monitor.clone();
            move || {
                assert!(monitor.wait(None, false));
                monitor.change.notify_one();
            }
        });
        turn.await_it();
        let waiter = waiter.lock().unwrap().clone();
        if let Some(waiter) = waiter {
            waiter.time_out();
        }
        monitor.add();
        monitor.change.notify_one();
        hasty.join().unwrap();
        patient.join().unwrap();
    });
}
