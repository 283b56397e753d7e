//! The right to end a wait, which exactly one party gets.
//!
//! A coroutine that waits in the queue of a lock or a channel may be wanted by
//! several at once: who unlocks, who sends, its own deadline, a cancellation.
//! The wait is open from before anybody can find the waiter until one of them
//! takes the claim. That one, and nobody else, makes the coroutine ready, and may
//! until then write into the waiting frame, since nothing else can resume it.
//!
//! So such a wait needs no park token: the waiter opens with a plain store, the
//! one who ends it pays the one exchange. Between opening and switching away the
//! coroutine still runs, and may by then have been made ready: it is enqueued with its
//! home, which is this very thread and looks only after the switch. Therefore
//! whoever has opened a wait either takes the claim itself, or switches away
//! exactly once.
//!
//! A claim lies in a control block, whose memory is always some coroutine's; but
//! nobody holds on to one for longer than the wait: the waiter leaves every queue
//! that it is in, under that queue's lock, before it goes on.

use crate::facade::{AtomicU8, Ordering};

const SHUT: u8 = 0;
const OPEN: u8 = 1;

/// Whether there is a wait that somebody may end.
pub(crate) struct Claim {
    state: AtomicU8,
}

impl Claim {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(SHUT),
        }
    }

    /// For the waiter, before it can be found.
    #[inline]
    pub(crate) fn open(&self) {
        // Ordering: Relaxed. Others find the waiter in a queue, and the lock of
        // that orders this before their `take`; deadlines and cancellations are
        // the waiter's own thread.
        self.state.store(OPEN, Ordering::Relaxed);
    }

    /// `true` for one caller of all: it ends the wait.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        // Ordering: AcqRel: what the winner writes into the frame comes after
        // all that the waiter did; a waiter that takes its own claim comes after
        // a loser's look.
        self.state.load(Ordering::Relaxed) == OPEN
            && self
                .state
                .compare_exchange(OPEN, SHUT, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether there is a wait that nobody has ended.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) == OPEN
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}
