//! Receivers of times: they hear nothing but the clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::channel::arm::{Arm, Found, Place};
use crate::channel::chan::{AGAIN, After};
use crate::sync::lock::Lock;
use crate::sync::party::Party;
use crate::sync::queue::{Entry, Queue};

/// When the next message comes, and the one after it.
pub(crate) struct Clock {
    state: Lock<State>,
    period: Option<Duration>,
}

struct State {
    next: Option<Instant>,
    /// Who waits by a deadline that was read before, should a message come back.
    waiting: Queue,
}

impl Clock {
    pub(crate) fn new(first: Instant, period: Option<Duration>) -> Self {
        Self {
            state: Lock::new(State {
                next: Some(first),
                waiting: Queue::new(),
            }),
            period,
        }
    }

    /// The message, if it is time.
    pub(crate) fn take(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let told = state.next.filter(|next| *next <= now)?;
        // What was missed is not made up for.
        let from = |from: Instant| from.checked_add(self.period?);
        state.next = from(told).filter(|next| *next > now).or_else(|| from(now));
        Some(told)
    }

    pub(crate) fn is_due(&self) -> bool {
        let next = self.state.lock().next;
        next.is_some_and(|next| next <= Instant::now())
    }

    fn due(&self) -> Option<Instant> {
        self.state.lock().next
    }
}

/// A receive from a clock.
pub(crate) struct Ticks<'a, T> {
    clock: &'a Clock,
    /// What a message is made of a time by: `T` is a time.
    tell: fn(Instant) -> T,
    got: Cell<Option<Instant>>,
    entry: Place,
}

impl<'a, T> Ticks<'a, T> {
    pub(crate) fn new(clock: &'a Clock, tell: fn(Instant) -> T) -> Self {
        Self {
            clock,
            tell,
            got: Cell::new(None),
            entry: Place::new(),
        }
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.got.take().map(self.tell)
    }
}

impl<T> Arm for Ticks<'_, T> {
    unsafe fn look(&self) -> Found {
        match self.clock.take() {
            None => Found::Nothing,
            got => {
                self.got.set(got);
                Found::Done(After::Nothing)
            }
        }
    }

    unsafe fn is_ready(&self) -> bool {
        self.clock.is_due()
    }

    unsafe fn enter(&self, party: &Party, id: usize, _watch: bool) {
        // SAFETY: it has left before.
        let entry = unsafe { self.entry.set(Entry::new(party, id, std::ptr::null_mut())) };
        // The deadline is read after this: what comes back in between is not missed.
        // SAFETY: by the contract.
        unsafe { self.clock.state.lock().waiting.push_back(entry) };
    }

    fn leave(&self, _watch: bool) {
        if let Some(entry) = self.entry.get() {
            self.clock.state.lock().waiting.remove(entry);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.clock.due()
    }

    fn again<'a>(&self) -> Box<dyn Arm + 'a>
    where
        Self: 'a,
    {
        Box::new(Ticks::new(self.clock, self.tell))
    }

    fn give_back(&self) {
        if let Some(told) = self.got.take() {
            let mut state = self.clock.state.lock();
            state.next = Some(told);
            let waiting = state.waiting.pop_all();
            drop(state);
            waiting.wake(AGAIN);
        }
    }
}

/// What is never received.
pub(crate) struct Never;

impl Arm for Never {
    unsafe fn look(&self) -> Found {
        Found::Nothing
    }

    unsafe fn is_ready(&self) -> bool {
        false
    }

    fn again<'a>(&self) -> Box<dyn Arm + 'a>
    where
        Self: 'a,
    {
        Box::new(Never)
    }

    fn give_back(&self) {}
}
