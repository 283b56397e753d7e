//! The count of a [`Semaphore`](super::Semaphore), and who waits for it.
//!
//! The state is twice the number of permits that are there, plus one if somebody
//! waits. While somebody does, nobody takes permits but whoever has the queue's lock, in the
//! name of the oldest waiters: first come, first served, also where the first wants
//! many. So waiters have their permits handed to them.

use std::time::Instant;

use crate::facade::{AtomicUsize, Ordering, const_fn};
use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Batch, Entry, Queue};

const WAITERS: usize = 1;
const PERMIT: usize = 2;

/// Entries have the number of permits for their id, which must leave room for the
/// kinds of outcomes.
pub(crate) const MAX: usize = usize::MAX >> 3;

/// The one way in which a wait is ended.
const HANDED: usize = 0;

pub(crate) struct RawSemaphore {
    state: AtomicUsize,
    waiters: Lock<Queue>,
}

impl RawSemaphore {
    const_fn! {
        pub(crate) fn new(permits: usize) -> Self {
            Self {
                state: AtomicUsize::new(permits * PERMIT),
                waiters: Lock::new(Queue::new()),
            }
        }
    }

    #[inline]
    pub(crate) fn available(&self) -> usize {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    /// Takes `permits` if they are there and nobody waits.
    #[inline]
    pub(crate) fn try_acquire(&self, permits: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITERS == 0 && state / PERMIT >= permits {
            // Ordering: Acquire, for what those did that gave them back.
            match self.state.compare_exchange_weak(
                state,
                state - permits * PERMIT,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Whether `permits`, at most [`MAX`], could be had before the deadline.
    /// Unwinds a coroutine that is to end, without any.
    #[inline]
    pub(crate) fn acquire(&self, permits: usize, deadline: Option<Instant>) -> bool {
        self.try_acquire(permits) || self.acquire_slowly(permits, deadline)
    }

    #[cold]
    fn acquire_slowly(&self, permits: usize, deadline: Option<Instant>) -> bool {
        let party = Party::new();
        loop {
            let entry = Entry::new(&party, permits, std::ptr::null_mut());
            let mut waiters = self.waiters.lock();
            if self.take_or_announce(permits) {
                return true;
            }
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing
            // in between unwinds. All calls are under the lock.
            unsafe { waiters.push_back(&entry) };
            drop(waiters);
            let ended = party.wait(Wait::Acquiring, deadline, false);
            if let Ended::By(_) = ended {
                return true;
            }
            let mut waiters = self.waiters.lock();
            waiters.remove(&entry);
            // Those behind may want less.
            let batch = self.hand_out(&mut waiters);
            drop(waiters);
            batch.wake(HANDED);
            match ended {
                Ended::TimedOut => return false,
                Ended::Cancelled => party.unwind(),
                Ended::Nothing | Ended::By(_) => {}
            }
        }
    }

    /// Under the queue's lock: takes the permits if nobody waits for others, else
    /// makes sure that whoever gives any back looks into the queue.
    fn take_or_announce(&self, permits: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & WAITERS != 0 {
                return false;
            }
            let takes = state / PERMIT >= permits;
            let next = if takes {
                state - permits * PERMIT
            } else {
                state | WAITERS
            };
            // Ordering: as in `try_acquire`.
            match self
                .state
                .compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return takes,
                Err(now) => state = now,
            }
        }
    }

    /// Adds permits; false, and nothing is done, if there would be more than
    /// [`MAX`].
    #[inline]
    pub(crate) fn release(&self, permits: usize) -> bool {
        self.add(|room| (permits <= room).then_some(permits))
    }

    /// Adds as many of the permits as there is room for: whoever waits wants no more.
    #[inline]
    pub(crate) fn give_back(&self, permits: usize) {
        self.add(|room| Some(permits.min(room)));
    }

    #[inline]
    fn add(&self, some: impl Fn(usize) -> Option<usize>) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let Some(permits) = some(MAX - state / PERMIT) else {
                return false;
            };
            // Ordering: Release, for those who take them.
            match self.state.compare_exchange_weak(
                state,
                state + permits * PERMIT,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & WAITERS != 0 {
            self.serve();
        }
        true
    }

    #[cold]
    fn serve(&self) {
        let mut waiters = self.waiters.lock();
        let batch = self.hand_out(&mut waiters);
        drop(waiters);
        batch.wake(HANDED);
    }

    /// Under the queue's lock: gives the oldest waiters what they wait for, as far
    /// as it goes.
    fn hand_out(&self, waiters: &mut Queue) -> Batch {
        let mut batch = Batch::new();
        // Ordering: Acquire, for what those did that gave them back; it is passed
        // on to those who are told.
        let state = self.state.load(Ordering::Acquire);
        if state & WAITERS == 0 {
            // Another was here, and has served all.
            return batch;
        }
        // From here on others only add.
        let available = state / PERMIT;
        let mut left = available;
        while let Some(claimed) = waiters.pop_if(|wanted| wanted <= left) {
            left -= claimed.id();
            batch.push(claimed);
        }
        let served = if waiters.is_empty() { WAITERS } else { 0 };
        self.state
            .fetch_sub((available - left) * PERMIT + served, Ordering::Relaxed);
        batch
    }
}
