//! The queue of a [`Condvar`](super::Condvar), without the mutex that goes with
//! it.
//!
//! Whoever waits is in the queue before it lets go of the mutex. So a notification
//! that comes after the mutex was let go finds it there: by whoever took the mutex
//! next, or by somebody who heard of that.

use std::time::Instant;

use crate::facade::{AtomicBool, Ordering, const_fn};
use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Entry, Queue};

/// The one way in which a wait is ended.
const NOTIFIED: usize = 0;

pub(crate) struct RawCondvar {
    /// Whether the queue holds anybody; written under its lock. Spares those who
    /// notify nobody the lock.
    waited_for: AtomicBool,
    waiters: Lock<Queue>,
}

impl RawCondvar {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                waited_for: AtomicBool::new(false),
                waiters: Lock::new(Queue::new()),
            }
        }
    }

    /// Waits for a notification, or for no reason; false if the deadline passed
    /// before. `release` lets go of the mutex, and neither suspends nor unwinds. A
    /// coroutine that is to end is unwound, without the mutex.
    pub(crate) fn wait(&self, release: impl FnOnce(), deadline: Option<Instant>) -> bool {
        let party = Party::new();
        let entry = Entry::new(&party, 0, std::ptr::null_mut());
        let mut waiters = self.waiters.lock();
        party.open();
        // SAFETY: it is new, and removed below unless it was popped; nothing in
        // between unwinds. All calls are under the lock.
        unsafe { waiters.push_back(&entry) };
        // Ordering: Relaxed. The mutex, which we hold, orders it for those who
        // notify because of what they did with the mutex held, or were told.
        self.waited_for.store(true, Ordering::Relaxed);
        drop(waiters);
        release();
        let ended = party.wait(Wait::Notified, deadline, false);
        if let Ended::By(_) = ended {
            return true;
        }
        let mut waiters = self.waiters.lock();
        waiters.remove(&entry);
        self.waited_for
            .store(!waiters.is_empty(), Ordering::Relaxed);
        drop(waiters);
        match ended {
            Ended::Cancelled => party.unwind(),
            // To wait again would miss what was notified since we left the queue.
            Ended::Nothing | Ended::By(_) => true,
            Ended::TimedOut => false,
        }
    }

    /// Ends the oldest wait.
    #[inline]
    pub(crate) fn notify_one(&self) {
        if self.waited_for.load(Ordering::Relaxed) {
            self.notify_one_slowly();
        }
    }

    #[cold]
    fn notify_one_slowly(&self) {
        let mut waiters = self.waiters.lock();
        let wakeup = waiters.pop().map(|claimed| claimed.end(NOTIFIED));
        self.waited_for
            .store(!waiters.is_empty(), Ordering::Relaxed);
        drop(waiters);
        if let Some(wakeup) = wakeup {
            wakeup.wake();
        }
    }

    /// Ends all waits.
    #[inline]
    pub(crate) fn notify_all(&self) {
        if self.waited_for.load(Ordering::Relaxed) {
            self.notify_all_slowly();
        }
    }

    #[cold]
    fn notify_all_slowly(&self) {
        let mut waiters = self.waiters.lock();
        let batch = waiters.pop_all();
        self.waited_for.store(false, Ordering::Relaxed);
        drop(waiters);
        batch.wake(NOTIFIED);
    }
}
