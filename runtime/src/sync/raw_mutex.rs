//! The lock of a [`Mutex`](super::Mutex), without what it locks.
//!
//! | state                | meaning                                             |
//! |----------------------|-----------------------------------------------------|
//! | 0                    | free, nobody waits                                  |
//! | LOCKED               | held, nobody waits                                  |
//! | LOCKED, WAITERS      | held, and the queue is not empty                    |
//! | WAITERS              | free, somebody was woken to take it and others wait |
//!
//! Who unlocks wakes the oldest waiter and lets the lock go, so that whoever is
//! running may take it first: otherwise each holder in a row would have to be
//! switched to. A waiter that was woken and came too late goes to the front of the
//! queue and asks for the lock to be *handed* to it: the next to unlock leaves it
//! locked in that one's name. So nobody is passed over more than once. The idea is
//! that of parking_lot and of Go's starving mode, without their clock.

use std::time::Instant;

use crate::facade::{AtomicU32, Ordering, const_fn};
use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Entry, Queue};

const LOCKED: u32 = 1;
const WAITERS: u32 = 2;

/// Entries of waiters that take what they get.
const PATIENT: usize = 0;
/// Entries of those that came too late once.
const PASSED_OVER: usize = 1;

/// The wait ended because the lock is free: try again.
const FREE: usize = 0;
/// It ended because the lock is the waiter's.
const HANDED: usize = 1;

pub(crate) struct RawMutex {
    state: AtomicU32,
    waiters: Lock<Queue>,
}

impl RawMutex {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                state: AtomicU32::new(0),
                waiters: Lock::new(Queue::new()),
            }
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        // More than once only if waiters come and go meanwhile.
        while state & LOCKED == 0 {
            // Ordering: Acquire, for what the last holder did.
            match self.state.compare_exchange_weak(
                state,
                state | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Whether the lock was had before the deadline. Unwinds a coroutine that is
    /// to end, without the lock, unless `masked`.
    #[inline]
    pub(crate) fn lock(&self, deadline: Option<Instant>, masked: bool) -> bool {
        // Ordering: as in `try_lock`.
        let quick = self
            .state
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed);
        quick.is_ok() || self.lock_slowly(deadline, masked)
    }

    #[cold]
    fn lock_slowly(&self, deadline: Option<Instant>, masked: bool) -> bool {
        let party = Party::new();
        let mut id = PATIENT;
        loop {
            let entry = Entry::new(&party, id, std::ptr::null_mut());
            let mut waiters = self.waiters.lock();
            if self.take_or_announce() {
                return true;
            }
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing
            // in between unwinds. All calls are under the lock.
            unsafe {
                match id {
                    PATIENT => waiters.push_back(&entry),
                    _ => waiters.push_front(&entry),
                }
            }
            drop(waiters);
            let ended = party.wait(Wait::Locking, deadline, masked);
            match ended {
                Ended::By(outcome) if outcome.kind() == HANDED => return true,
                // Where it is not free any more, ask for it.
                Ended::By(_) if self.try_lock() => return true,
                Ended::By(_) => id = PASSED_OVER,
                Ended::TimedOut | Ended::Cancelled | Ended::Nothing => {
                    self.leave(&entry);
                    match ended {
                        Ended::TimedOut => return false,
                        Ended::Cancelled => party.unwind(),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Under the queue's lock: takes the lock if it is free, else makes sure that
    /// whoever unlocks looks into the queue.
    fn take_or_announce(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = if state & LOCKED == 0 {
                state | LOCKED
            } else {
                state | WAITERS
            };
            if next == state {
                return false;
            }
            // Ordering: as in `try_lock`.
            match self
                .state
                .compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return state & LOCKED == 0,
                Err(now) => state = now,
            }
        }
    }

    /// Takes out an entry whose wait nobody ended.
    fn leave(&self, entry: &Entry) {
        let mut waiters = self.waiters.lock();
        waiters.remove(entry);
        if waiters.is_empty() {
            self.state.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Releases the lock.
    ///
    /// # Safety
    ///
    /// It is held, in the caller's name.
    #[inline]
    pub(crate) unsafe fn unlock(&self) {
        // Ordering: Release, for the next holder.
        let quick = self
            .state
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if quick.is_err() {
            self.unlock_slowly();
        }
    }

    #[cold]
    fn unlock_slowly(&self) {
        let mut waiters = self.waiters.lock();
        let claimed = waiters.pop();
        let rest = if waiters.is_empty() { 0 } else { WAITERS };
        match claimed {
            Some(claimed) if claimed.id() == PASSED_OVER => {
                self.state.store(LOCKED | rest, Ordering::Relaxed);
                let wakeup = claimed.end(HANDED);
                drop(waiters);
                wakeup.wake();
            }
            claimed => {
                // Ordering: Release, for the next holder. A plain store: while the
                // lock is held, others only change the state under the queue's
                // lock.
                self.state.store(rest, Ordering::Release);
                let wakeup = claimed.map(|claimed| claimed.end(FREE));
                drop(waiters);
                if let Some(wakeup) = wakeup {
                    wakeup.wake();
                }
            }
        }
    }
}
