//! [`Barrier`].

use std::fmt;

use super::lock::Lock;
use super::party::{Ended, Party};
use super::queue::{Entry, Queue};
use crate::scheduler::wait::Wait;

/// The one way in which a wait is ended.
const OPENED: usize = 0;

/// Where so many wait for each other, shaped as [`std::sync::Barrier`]. It can be used again at once.
///
/// A coroutine that waits suspends, a plain thread blocks. What each did before is seen by all behind the barrier.
///
/// # Cancellation
///
/// Waiting is a suspension. A coroutine that is cancelled there before the last one has come is counted no more: the
/// barrier waits for one in its place.
pub struct Barrier {
    parties: usize,
    state: Lock<State>,
}

struct State {
    /// How many wait.
    arrived: usize,
    /// Those who wait, and nobody else: whoever opens the barrier takes out all,
    /// also those whose cancellation came a moment before. They are counted as
    /// having come.
    waiters: Queue,
}

/// Of [`Barrier::wait`]. Shaped as [`std::sync::BarrierWaitResult`].
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether this one came last. One of all is told so.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// One for `n`; 0 is as good as 1.
    #[must_use]
    pub const fn new(n: usize) -> Barrier {
        Barrier {
            parties: n,
            state: Lock::new(State {
                arrived: 0,
                waiters: Queue::new(),
            }),
        }
    }

    /// Waits until all have come.
    pub fn wait(&self) -> BarrierWaitResult {
        let mut state = self.state.lock();
        state.arrived += 1;
        if state.arrived >= self.parties {
            state.arrived = 0;
            let batch = state.waiters.pop_all();
            drop(state);
            batch.wake(OPENED);
            return BarrierWaitResult(true);
        }
        let party = Party::new();
        let entry = Entry::new(&party, 0, std::ptr::null_mut());
        loop {
            party.open();
            // SAFETY: it is new or was removed, and is removed below unless it was
            // popped; nothing in between unwinds. All calls are under the lock.
            unsafe { state.waiters.push_back(&entry) };
            drop(state);
            let ended = party.wait(Wait::Notified, None, false);
            if let Ended::By(_) = ended {
                return BarrierWaitResult(false);
            }
            state = self.state.lock();
            let opened = !state.waiters.remove(&entry);
            if ended == Ended::Cancelled {
                if !opened {
                    state.arrived -= 1;
                }
                drop(state);
                party.unwind();
            }
            if opened {
                return BarrierWaitResult(false);
            }
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
