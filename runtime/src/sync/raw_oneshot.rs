//! What a [`Promise`](super::Promise) and its [`OneShot`](super::OneShot) share:
//! the place of one value, and whether either of them is gone.

use std::time::Instant;

use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Entry, Queue};

/// The one way in which a wait is ended: look again.
const CHANGED: usize = 0;

pub(crate) struct RawOneshot<T> {
    state: Lock<State<T>>,
}

struct State<T> {
    /// Whether a value was set, be it still there or taken.
    set: bool,
    value: Option<T>,
    promised: bool,
    awaited: bool,
    /// One at the most.
    waiters: Queue,
}

/// Why a value cannot be set.
pub(crate) enum Refused {
    AlreadySet,
    NotAwaited,
}

/// Why there is no value to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    Pending,
    Broken,
}

impl<T> RawOneshot<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Lock::new(State {
                set: false,
                value: None,
                promised: true,
                awaited: true,
                waiters: Queue::new(),
            }),
        }
    }

    /// Leaves the value, or gives it back.
    pub(crate) fn set(&self, value: T) -> Result<(), (Refused, T)> {
        let mut state = self.state.lock();
        if state.set {
            return Err((Refused::AlreadySet, value));
        }
        if !state.awaited {
            return Err((Refused::NotAwaited, value));
        }
        state.set = true;
        state.value = Some(value);
        let batch = state.waiters.pop_all();
        drop(state);
        batch.wake(CHANGED);
        Ok(())
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state.lock().set
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.state.lock().awaited
    }

    /// No value comes any more but one that is there.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.promised = false;
        let batch = state.waiters.pop_all();
        drop(state);
        batch.wake(CHANGED);
    }

    /// Takes the value, which nobody did before.
    pub(crate) fn try_take(&self) -> Result<T, Missing> {
        self.state.lock().take()
    }

    /// The same, but waits for it until the deadline. Unwinds a coroutine that is
    /// to end; the value stays.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Result<T, Missing> {
        let mut state = self.state.lock();
        match state.take() {
            Err(Missing::Pending) => {}
            known => return known,
        }
        let party = Party::new();
        let entry = Entry::new(&party, 0, std::ptr::null_mut());
        loop {
            party.open();
            // SAFETY: it is new or was removed, and is removed below unless it was
            // popped; nothing in between unwinds. All calls are under the lock.
            unsafe { state.waiters.push_back(&entry) };
            drop(state);
            let ended = party.wait(Wait::Notified, deadline, false);
            state = self.state.lock();
            state.waiters.remove(&entry);
            if ended == Ended::Cancelled {
                drop(state);
                party.unwind();
            }
            match state.take() {
                Err(Missing::Pending) if ended != Ended::TimedOut => {}
                known => return known,
            }
        }
    }

    /// Nobody takes the value any more. It is given back if it is there.
    pub(crate) fn close(&self) -> Option<T> {
        let mut state = self.state.lock();
        state.awaited = false;
        state.value.take()
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Result<T, Missing> {
        match self.value.take() {
            Some(value) => Ok(value),
            None if self.promised && !self.set => Err(Missing::Pending),
            None => Err(Missing::Broken),
        }
    }
}
