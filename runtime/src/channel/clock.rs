//! Receivers of times: they hear nothing but the clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::channel::arm::{Arm, Found};
use crate::channel::chan::After;
use crate::sync::lock::Lock;

/// When the next message comes, and the one after it.
pub(crate) struct Clock {
    next: Lock<Option<Instant>>,
    period: Option<Duration>,
}

impl Clock {
    pub(crate) fn new(first: Instant, period: Option<Duration>) -> Self {
        Self {
            next: Lock::new(Some(first)),
            period,
        }
    }

    /// The message, if it is time.
    pub(crate) fn take(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = self.next.lock();
        let told = next.filter(|next| *next <= now)?;
        // What was missed is not made up for.
        let from = |from: Instant| from.checked_add(self.period?);
        *next = from(told).filter(|next| *next > now).or_else(|| from(now));
        Some(told)
    }

    pub(crate) fn is_due(&self) -> bool {
        let next = *self.next.lock();
        next.is_some_and(|next| next <= Instant::now())
    }

    fn due(&self) -> Option<Instant> {
        *self.next.lock()
    }
}

/// A receive from a clock.
pub(crate) struct Ticks<'a, T> {
    clock: &'a Clock,
    /// What a message is made of a time by: `T` is a time.
    tell: fn(Instant) -> T,
    got: Cell<Option<Instant>>,
}

impl<'a, T> Ticks<'a, T> {
    pub(crate) fn new(clock: &'a Clock, tell: fn(Instant) -> T) -> Self {
        Self {
            clock,
            tell,
            got: Cell::new(None),
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
            *self.clock.next.lock() = Some(told);
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
