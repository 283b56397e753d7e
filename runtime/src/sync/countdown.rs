//! A number of things that are under way, and one who waits until none is.

use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Entry, Queue};

pub(crate) struct Countdown {
    state: Lock<State>,
}

struct State {
    left: usize,
    waiting: Queue,
}

impl Countdown {
    pub(crate) fn new() -> Self {
        Self {
            state: Lock::new(State {
                left: 0,
                waiting: Queue::new(),
            }),
        }
    }

    /// One more is under way.
    pub(crate) fn up(&self) {
        self.state.lock().left += 1;
    }

    /// One is over. The last wakes whoever waits, who may let go of the countdown
    /// before this returns: the caller keeps it alive.
    pub(crate) fn down(&self) {
        let mut state = self.state.lock();
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let wakeup = state.waiting.pop().map(|claimed| claimed.end(0));
        drop(state);
        if let Some(wakeup) = wakeup {
            wakeup.wake();
        }
    }

    /// Waits until none is under way; one caller at a time. False: the caller is a
    /// coroutine that is to be unwound, and there may be some left. Not so if
    /// `masked`.
    pub(crate) fn wait(&self, masked: bool) -> bool {
        let party = Party::new();
        loop {
            let entry = Entry::new(&party, 0, core::ptr::null_mut());
            let mut state = self.state.lock();
            if state.left == 0 {
                return true;
            }
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing
            // in between unwinds. All calls are under the lock.
            unsafe { state.waiting.push_back(&entry) };
            drop(state);
            let ended = party.wait(Wait::Joining, None, masked);
            if let Ended::By(_) = ended {
                continue;
            }
            self.state.lock().waiting.remove(&entry);
            if ended == Ended::Cancelled {
                return false;
            }
        }
    }
}
