//! [`Event`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lock::Lock;
use super::party::{Ended, Party};
use super::queue::{Entry, Queue};
use crate::scheduler::wait::Wait;

/// The one way in which a wait is ended.
const SET: usize = 0;

/// A flag that can be waited for, shaped as gevent's and Python's `Event`.
///
/// A coroutine that waits suspends, a plain thread blocks. What was done before the event was set is seen by those who
/// find it set.
///
/// # Cancellation
///
/// Waiting is a suspension: a coroutine that is cancelled there unwinds.
pub struct Event {
    /// Written under the lock.
    set: AtomicBool,
    waiters: Lock<Queue>,
}

impl Event {
    /// One that is not set.
    #[must_use]
    pub const fn new() -> Event {
        Event {
            set: AtomicBool::new(false),
            waiters: Lock::new(Queue::new()),
        }
    }

    /// Sets it and ends all waits, also where it is cleared in the next moment.
    pub fn set(&self) {
        let mut waiters = self.waiters.lock();
        // Ordering: Release, for those who look without the lock.
        self.set.store(true, Ordering::Release);
        let batch = waiters.pop_all();
        drop(waiters);
        batch.wake(SET);
    }

    /// From now on it is waited for again.
    pub fn clear(&self) {
        let _waiters = self.waiters.lock();
        self.set.store(false, Ordering::Relaxed);
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Ordering: Acquire, for what was done before it was set.
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it is set.
    #[inline]
    pub fn wait(&self) {
        if !self.is_set() {
            self.wait_slowly(None);
        }
    }

    /// [`wait`](Self::wait), for `timeout` at the most; false if it was not set in time.
    #[inline]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || self.wait_slowly(Instant::now().checked_add(timeout))
    }

    #[cold]
    fn wait_slowly(&self, deadline: Option<Instant>) -> bool {
        let party = Party::new();
        let entry = Entry::new(&party, 0, std::ptr::null_mut());
        loop {
            let mut waiters = self.waiters.lock();
            if self.is_set() {
                return true;
            }
            party.open();
            // SAFETY: it is new or was removed, and is removed below unless it was
            // popped; nothing in between unwinds. All calls are under the lock.
            unsafe { waiters.push_back(&entry) };
            drop(waiters);
            let ended = party.wait(Wait::Notified, deadline, false);
            if let Ended::By(_) = ended {
                return true;
            }
            let set = !self.waiters.lock().remove(&entry);
            match ended {
                Ended::Cancelled => party.unwind(),
                _ if set => return true,
                Ended::TimedOut => return false,
                Ended::Nothing | Ended::By(_) => {}
            }
        }
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}
