//! Which of several coroutines have ended, in the order in which they did, and
//! one who waits for the next.
//!
//! Each of them gets a [`Ticket`] in place of a joiner. Whoever finishes a
//! coroutine hands the ticket in, which takes no memory and calls nobody's code.

use std::collections::VecDeque;
use std::time::Instant;

use crate::facade::Arc;
use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Entry, Queue};

/// The numbers of those that have ended and were not asked for yet.
pub(crate) struct Finished {
    state: Lock<State>,
}

struct State {
    /// Has room for all, so that nothing is allocated under the lock.
    numbers: VecDeque<usize>,
    waiting: Queue,
}

/// The right to say once that a coroutine has ended.
pub(crate) struct Ticket {
    finished: Arc<Finished>,
    number: usize,
}

/// What a wait for the next to end came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Number(usize),
    /// The deadline has passed, and none had ended by then.
    TimedOut,
}

impl Ticket {
    pub(crate) fn new(finished: &Arc<Finished>, number: usize) -> Self {
        Self {
            finished: Arc::clone(finished),
            number,
        }
    }

    /// The coroutine has ended.
    pub(crate) fn hand_in(self) {
        let mut state = self.finished.state.lock();
        state.numbers.push_back(self.number);
        let wakeup = state.waiting.pop().map(|claimed| claimed.end(0));
        drop(state);
        if let Some(wakeup) = wakeup {
            wakeup.wake();
        }
    }
}

impl Finished {
    /// For up to `room` tickets.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            state: Lock::new(State {
                numbers: VecDeque::with_capacity(room),
                waiting: Queue::new(),
            }),
        }
    }

    /// Waits for the next to end; one caller at a time. Unwinds a coroutine that is
    /// to end.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Next {
        let party = Party::new();
        loop {
            let entry = Entry::new(&party, 0, core::ptr::null_mut());
            let mut state = self.state.lock();
            if let Some(number) = state.numbers.pop_front() {
                return Next::Number(number);
            }
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing
            // in between unwinds. All calls are under the lock.
            unsafe { state.waiting.push_back(&entry) };
            drop(state);
            let ended = party.wait(Wait::Joining, deadline, false);
            if let Ended::By(_) = ended {
                continue;
            }
            self.state.lock().waiting.remove(&entry);
            match ended {
                Ended::TimedOut => return Next::TimedOut,
                Ended::Cancelled => party.unwind(),
                Ended::By(_) | Ended::Nothing => {}
            }
        }
    }
}
