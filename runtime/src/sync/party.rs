//! One call that waits: a coroutine's, which suspends, or a plain thread's,
//! which blocks. The two sides of every lock, channel and event.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::facade::UnsafeCell;
use crate::scheduler::wait::{self, Here, Wait, Woken};
use crate::sync::queue::Outcome;
use crate::thread::{self, ThreadWait};
use crate::time;

/// Lies in the waiting frame, as long as the call waits or may be found.
pub(crate) struct Party {
    who: Who,
    /// Written by whoever has claimed the wait, before the wake-up; else the
    /// waiter's own.
    outcome: UnsafeCell<Option<Outcome>>,
}

enum Who {
    Coroutine(Here),
    Thread(Arc<ThreadWait>),
}

// SAFETY: what others do with a party they do through `claim` and `end`: of a
// coroutine they only touch its control block, and the outcome belongs to
// whoever has the claim.
unsafe impl Sync for Party {}

/// How a wait came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// By another party, in whose queue the entry is no more.
    By(Outcome),
    /// By the deadline.
    TimedOut,
    /// The caller is to be unwound: leave the queues and call
    /// [`Party::unwind`].
    Cancelled,
    /// For no reason: leave the queues and begin again.
    Nothing,
}

impl Party {
    /// The caller as one that will wait.
    #[inline]
    pub(crate) fn new() -> Self {
        Self::of_coroutine().unwrap_or_else(Self::of_thread)
    }

    /// The same, if the caller is a coroutine: that takes no memory, and may be
    /// done under a lock.
    #[inline]
    pub(crate) fn of_coroutine() -> Option<Self> {
        wait::here().map(|here| Self {
            who: Who::Coroutine(here),
            outcome: UnsafeCell::new(None),
        })
    }

    #[cold]
    fn of_thread() -> Self {
        Self {
            who: Who::Thread(thread::waiter()),
            outcome: UnsafeCell::new(None),
        }
    }

    /// Opens the wait: from now on it may be found and claimed. What follows is
    /// pushing entries, and then [`Party::wait`]; nothing in between may suspend
    /// or unwind.
    #[inline]
    pub(crate) fn open(&self) {
        // SAFETY: nobody can have the claim yet.
        self.outcome.with_mut(|outcome| unsafe { *outcome = None });
        match &self.who {
            Who::Coroutine(here) => here.control().claim.open(),
            Who::Thread(thread) => thread.open(),
        }
    }

    /// For whoever finds one of the party's entries in a queue.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        match &self.who {
            Who::Coroutine(here) => here.control().claim.take(),
            Who::Thread(thread) => thread.claim.take(),
        }
    }

    /// For who need not wait: see [`Here::give_way`].
    #[inline]
    pub(crate) fn give_way(&self) {
        if let Who::Coroutine(here) = &self.who {
            here.give_way();
        }
    }

    /// Whether nobody has ended the wait.
    pub(crate) fn is_waiting(&self) -> bool {
        match &self.who {
            Who::Coroutine(here) => here.control().claim.is_open(),
            Who::Thread(thread) => thread.claim.is_open(),
        }
    }

    /// Waits until the wait is ended. A coroutine that is to be unwound, or a
    /// thread in a timeout, is told so unless `masked`.
    #[inline]
    pub(crate) fn wait(&self, why: Wait, deadline: Option<Instant>, masked: bool) -> Ended {
        match &self.who {
            Who::Coroutine(here) => {
                let woken = here.wait_claimed(why, deadline, masked);
                // SAFETY: the claim was taken, and we are awake, so nobody else
                // uses it any more.
                match self.outcome.with(|outcome| unsafe { *outcome }) {
                    Some(outcome) => Ended::By(outcome),
                    None => match woken {
                        Woken::TimedOut => Ended::TimedOut,
                        Woken::Cancelled => Ended::Cancelled,
                        Woken::Unparked => Ended::Nothing,
                    },
                }
            }
            Who::Thread(thread) => self.block(thread, deadline, masked),
        }
    }

    #[cold]
    fn block(&self, thread: &ThreadWait, deadline: Option<Instant>, masked: bool) -> Ended {
        let limit = if masked {
            deadline
        } else {
            time::thread::limit(deadline)
        };
        if !thread.wait(limit) && thread.claim.take() {
            return if !masked && time::thread::is_due() {
                Ended::Cancelled
            } else {
                Ended::TimedOut
            };
        }
        // Whoever took the claim is about to say so.
        thread.wait(None);
        // SAFETY: the wait was ended by another, which is done with it.
        match self.outcome.with(|outcome| unsafe { *outcome }) {
            Some(outcome) => Ended::By(outcome),
            None => Ended::Nothing,
        }
    }

    /// Ends a wait that the caller has claimed.
    ///
    /// # Safety
    ///
    /// The claim is the caller's, who uses the party no more.
    #[inline]
    pub(crate) unsafe fn end(this: NonNull<Party>, outcome: Outcome) -> Wakeup {
        // SAFETY: it waits for our wake-up.
        let this = unsafe { this.as_ref() };
        // SAFETY: the claim is ours, and with it the outcome.
        this.outcome
            .with_mut(|place| unsafe { *place = Some(outcome) });
        match &this.who {
            Who::Coroutine(here) => Wakeup::Coroutine(here.coroutine()),
            Who::Thread(thread) => Wakeup::Thread(Arc::clone(thread)),
        }
    }

    /// Unwinds the caller, who was told [`Ended::Cancelled`].
    #[cold]
    pub(crate) fn unwind(&self) -> ! {
        match &self.who {
            Who::Coroutine(here) => here.unwind(),
            Who::Thread(_) => time::thread::unwind(),
        }
    }
}

/// A waiter whose wait was ended and who is to be told: after the lock.
#[must_use = "a wait that was ended and is not told hangs for ever"]
pub(crate) enum Wakeup {
    Coroutine(NonNull<crate::coroutine::control::Control>),
    Thread(Arc<ThreadWait>),
}

impl Wakeup {
    #[inline]
    pub(crate) fn wake(self) {
        match self {
            // The claim was ours, so nobody else makes it ready.
            Wakeup::Coroutine(coroutine) => wait::make_ready(coroutine),
            Wakeup::Thread(thread) => thread.end(),
        }
    }
}
