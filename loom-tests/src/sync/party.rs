//! Stands in for coroutines and threads that wait. A wait is ended by whoever
//! takes its claim, as in the runtime; a deadline is somebody who calls
//! [`Waiter::time_out`].

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::bell::Bell;
use crate::coroutine::claim::Claim;
use crate::facade::UnsafeCell;
use crate::scheduler::wait::Wait;
use crate::sync::queue::Outcome;

loom::thread_local! {
    static CURRENT: Arc<Waiter> = Arc::new(Waiter::new());
}

/// The coroutine that a thread of the model stands for.
pub(crate) struct Waiter {
    claim: Claim,
    resumed: Bell,
}

impl Waiter {
    pub(crate) fn new() -> Self {
        Self {
            claim: Claim::new(),
            resumed: Bell::new(),
        }
    }

    /// The calling thread's.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with(Arc::clone)
    }

    /// Its deadline passes, if it waits; says whether it did.
    pub(crate) fn time_out(&self) -> bool {
        let waited = self.claim.take();
        if waited {
            self.resumed.ring();
        }
        waited
    }
}

pub(crate) struct Party {
    waiter: Arc<Waiter>,
    outcome: UnsafeCell<Option<Outcome>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    By(Outcome),
    TimedOut,
    Cancelled,
    Nothing,
}

impl Party {
    pub(crate) fn new() -> Self {
        Self {
            waiter: Waiter::current(),
            outcome: UnsafeCell::new(None),
        }
    }

    pub(crate) fn of_coroutine() -> Option<Self> {
        Some(Self::new())
    }

    pub(crate) fn give_way(&self) {}

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiter.claim.is_open()
    }

    pub(crate) fn open(&self) {
        // SAFETY: nobody can have the claim yet; loom checks it.
        self.outcome.with_mut(|outcome| unsafe { *outcome = None });
        self.waiter.claim.open();
    }

    pub(crate) fn claim(&self) -> bool {
        self.waiter.claim.take()
    }

    pub(crate) fn wait(&self, _why: Wait, _deadline: Option<Instant>, _masked: bool) -> Ended {
        // If nobody ends the wait this is a deadlock, which loom reports.
        self.waiter.resumed.wait();
        // SAFETY: the wait was ended by another, which is done; loom checks it.
        match self.outcome.with(|outcome| unsafe { *outcome }) {
            Some(outcome) => Ended::By(outcome),
            None => Ended::TimedOut,
        }
    }

    /// # Safety
    ///
    /// The claim is the caller's.
    pub(crate) unsafe fn end(this: NonNull<Party>, outcome: Outcome) -> Wakeup {
        // SAFETY: it waits for our wake-up.
        let this = unsafe { this.as_ref() };
        // SAFETY: the claim is the caller's; loom checks it.
        this.outcome
            .with_mut(|place| unsafe { *place = Some(outcome) });
        Wakeup(Arc::clone(&this.waiter))
    }

    pub(crate) fn unwind(&self) -> ! {
        unreachable!("nothing is cancelled in a model")
    }
}

pub(crate) struct Wakeup(Arc<Waiter>);

impl Wakeup {
    pub(crate) fn wake(self) {
        self.0.resumed.ring();
    }
}
