//! The lock of a [`RwLock`](super::RwLock), without what it locks.
//!
//! | state                | meaning                                              |
//! |----------------------|------------------------------------------------------|
//! | 0                    | free, nobody waits                                   |
//! | READER * n           | held by n readers                                    |
//! | WRITER               | held by a writer                                     |
//! | WAITERS and the like | the same, and the queues are not empty               |
//!
//! Readers and writers take turns where both wait, as in the phase-fair lock of
//! Brandenburg and Anderson ("Spin-Based Reader-Writer Synchronization for
//! Multiprocessor Real-Time Systems", 2010): once somebody waits, no reader joins those that
//! hold the lock. A writer that is done lets in all the readers that wait; the last
//! of those makes way for the writer that has waited longest. So a reader waits for one writer
//! and a writer for those before it, each time with one batch of readers in between.
//!
//! Readers have the lock *handed* to them. A writer is only woken, and whoever is
//! running may be faster; if one was, the writer goes to the front and asks to be
//! handed the lock. That is `raw_mutex`'s rule, for `raw_mutex`'s reason.

use std::time::Instant;

use crate::facade::{AtomicUsize, Ordering, const_fn};
use crate::scheduler::wait::Wait;
use crate::sync::lock::Lock;
use crate::sync::party::{Ended, Party};
use crate::sync::queue::{Batch, Entry, Queue};

const WRITER: usize = 1;
const WAITERS: usize = 2;
const READER: usize = 4;

/// From here on there are too many readers: their count must not overflow, since
/// guards can be forgotten.
const FULL: usize = usize::MAX / 2;

/// Entries of writers that take what they get.
const PATIENT: usize = 0;
/// Entries of those that came too late once.
const PASSED_OVER: usize = 1;

/// The wait ended because the lock is free: try again.
const FREE: usize = 0;
/// It ended because the lock is the waiter's.
const HANDED: usize = 1;

pub(crate) struct RawRwLock {
    state: AtomicUsize,
    waiters: Lock<Waiters>,
}

struct Waiters {
    readers: Queue,
    writers: Queue,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty()
    }

    /// What the state has to say of them.
    fn bits(&self) -> usize {
        if self.is_empty() { 0 } else { WAITERS }
    }
}

/// Who is to have the lock next, if both wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Readers,
    Writer,
}

/// Whether a reader may come in: beside others if nobody waits, and to a free
/// lock in any case.
fn admits_reader(state: usize) -> bool {
    state & (WRITER | WAITERS) == 0 || state == WAITERS
}

fn admits_writer(state: usize) -> bool {
    state & !WAITERS == 0
}

impl RawRwLock {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                state: AtomicUsize::new(0),
                waiters: Lock::new(Waiters {
                    readers: Queue::new(),
                    writers: Queue::new(),
                }),
            }
        }
    }

    /// Takes the lock for a reader, if that is possible at once.
    #[inline]
    pub(crate) fn try_read(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while admits_reader(state) && state < FULL {
            // Ordering: Acquire, for what the last writer did.
            match self.state.compare_exchange_weak(
                state,
                state + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Takes the lock for a writer, if it is free.
    #[inline]
    pub(crate) fn try_write(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        // More than once only if waiters come and go meanwhile.
        while admits_writer(state) {
            // Ordering: Acquire, for what the last holders did.
            match self.state.compare_exchange_weak(
                state,
                state | WRITER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Whether the lock was had before the deadline. Unwinds a coroutine that is
    /// to end, without the lock.
    ///
    /// # Panics
    ///
    /// If there are more readers than can be counted.
    #[inline]
    pub(crate) fn read(&self, deadline: Option<Instant>) -> bool {
        self.try_read() || self.read_slowly(deadline)
    }

    /// The same for a writer.
    #[inline]
    pub(crate) fn write(&self, deadline: Option<Instant>) -> bool {
        // Ordering: as in `try_write`.
        let quick = self
            .state
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed);
        quick.is_ok() || self.write_slowly(deadline)
    }

    #[cold]
    fn read_slowly(&self, deadline: Option<Instant>) -> bool {
        let party = Party::new();
        loop {
            let entry = Entry::new(&party, 0, std::ptr::null_mut());
            let full = self.state.load(Ordering::Relaxed) >= FULL;
            assert!(!full, "too many readers have the lock");
            let mut waiters = self.waiters.lock();
            if self.take_or_announce(admits_reader, READER) {
                return true;
            }
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing
            // in between unwinds. All calls are under the lock.
            unsafe { waiters.readers.push_back(&entry) };
            drop(waiters);
            let ended = party.wait(Wait::Locking, deadline, false);
            if let Ended::By(_) = ended {
                return true;
            }
            let mut waiters = self.waiters.lock();
            waiters.readers.remove(&entry);
            if waiters.is_empty() {
                self.state.fetch_and(!WAITERS, Ordering::Relaxed);
            }
            drop(waiters);
            match ended {
                Ended::TimedOut => return false,
                Ended::Cancelled => party.unwind(),
                Ended::Nothing | Ended::By(_) => {}
            }
        }
    }

    #[cold]
    fn write_slowly(&self, deadline: Option<Instant>) -> bool {
        let party = Party::new();
        let mut id = PATIENT;
        loop {
            let entry = Entry::new(&party, id, std::ptr::null_mut());
            let mut waiters = self.waiters.lock();
            if self.take_or_announce(admits_writer, WRITER) {
                return true;
            }
            party.open();
            // SAFETY: as in `read_slowly`.
            unsafe {
                match id {
                    PATIENT => waiters.writers.push_back(&entry),
                    _ => waiters.writers.push_front(&entry),
                }
            }
            drop(waiters);
            let ended = party.wait(Wait::Locking, deadline, false);
            match ended {
                Ended::By(outcome) if outcome.kind() == HANDED => return true,
                // Where it is not free any more, ask for it.
                Ended::By(_) if self.try_write() => return true,
                Ended::By(_) => id = PASSED_OVER,
                Ended::TimedOut | Ended::Cancelled | Ended::Nothing => {
                    self.leave_writers(&entry);
                    match ended {
                        Ended::TimedOut => return false,
                        Ended::Cancelled => party.unwind(),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Under the queues' lock: adds `holder` to the state if that admits it, else
    /// makes sure that whoever unlocks looks into the queues.
    fn take_or_announce(&self, admits: impl Fn(usize) -> bool, holder: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let admitted = admits(state);
            let next = if admitted {
                state + holder
            } else {
                state | WAITERS
            };
            if next == state {
                return false;
            }
            // Ordering: as in `try_read` and `try_write`.
            match self
                .state
                .compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return admitted,
                Err(now) => state = now,
            }
        }
    }

    /// Takes out a writer whose wait nobody ended. If it was the last, the readers
    /// behind it need not wait for those that hold the lock.
    fn leave_writers(&self, entry: &Entry) {
        let mut waiters = self.waiters.lock();
        waiters.writers.remove(entry);
        if waiters.is_empty() {
            self.state.fetch_and(!WAITERS, Ordering::Relaxed);
            return;
        }
        if !waiters.writers.is_empty() || !self.join_readers() {
            return;
        }
        let batch = waiters.readers.pop_all();
        // Those that have been let in, and that nobody waits any more.
        // Ordering: Relaxed. Those that are let in are told; the writer's release
        // goes on in every exchange.
        let change = (batch.len() * READER).wrapping_sub(WAITERS);
        self.state.fetch_add(change, Ordering::Relaxed);
        drop(waiters);
        batch.wake(HANDED);
        // SAFETY: held since `join_readers`.
        unsafe { self.unlock_read() };
    }

    /// Takes the lock as one more reader, though somebody waits; but only beside
    /// other readers: who made it free is on its way to the queues.
    fn join_readers(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WRITER == 0 && (READER..FULL).contains(&state) {
            // Ordering: as in `try_read`.
            match self.state.compare_exchange(
                state,
                state + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Releases a reader's lock.
    ///
    /// # Safety
    ///
    /// It is held by readers, one of which is the caller.
    #[inline]
    pub(crate) unsafe fn unlock_read(&self) {
        // Ordering: Release: what it read it has read, before a writer writes.
        let state = self.state.fetch_sub(READER, Ordering::Release);
        if state == READER | WAITERS {
            self.make_way();
        }
    }

    /// The last reader is gone, and somebody waits.
    #[cold]
    fn make_way(&self) {
        // In the name of whoever is next. Where it is not free any more, who has it
        // looks into the queues.
        // Ordering: Acquire, for what the readers did; it is passed on.
        let taken = self.state.compare_exchange(
            WAITERS,
            WAITERS | WRITER,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if taken.is_ok() {
            self.pass_on(Turn::Writer);
        }
    }

    /// Releases a writer's lock.
    ///
    /// # Safety
    ///
    /// It is held by a writer, the caller.
    #[inline]
    pub(crate) unsafe fn unlock_write(&self) {
        // Ordering: Release, for the next holders.
        let quick = self
            .state
            .compare_exchange(WRITER, 0, Ordering::Release, Ordering::Relaxed);
        if quick.is_err() {
            self.pass_on(Turn::Readers);
        }
    }

    /// Makes the writer's lock a reader's, and lets the readers in that wait.
    ///
    /// # Safety
    ///
    /// As for [`RawRwLock::unlock_write`].
    pub(crate) unsafe fn downgrade(&self) {
        // Ordering: as in `unlock_write`.
        let quick =
            self.state
                .compare_exchange(WRITER, READER, Ordering::Release, Ordering::Relaxed);
        if quick.is_err() {
            let mut waiters = self.waiters.lock();
            let batch = waiters.readers.pop_all();
            self.store_readers(1 + batch.len(), &waiters);
            drop(waiters);
            batch.wake(HANDED);
        }
    }

    /// Gives the lock, which is held by a writer, the caller, to whoever is next.
    #[cold]
    fn pass_on(&self, turn: Turn) {
        let mut waiters = self.waiters.lock();
        let mut batch = Batch::new();
        if turn == Turn::Readers {
            batch = waiters.readers.pop_all();
        }
        if batch.len() == 0 {
            if let Some(claimed) = waiters.writers.pop() {
                let rest = waiters.bits();
                // A plain store, as below.
                let wakeup = if claimed.id() == PASSED_OVER {
                    self.state.store(WRITER | rest, Ordering::Relaxed);
                    claimed.end(HANDED)
                } else {
                    // Ordering: Release, for the next holder.
                    self.state.store(rest, Ordering::Release);
                    claimed.end(FREE)
                };
                drop(waiters);
                return wakeup.wake();
            }
            batch = waiters.readers.pop_all();
        }
        self.store_readers(batch.len(), &waiters);
        drop(waiters);
        batch.wake(HANDED);
    }

    /// Makes the lock, which is held by a writer, the caller, the readers'.
    fn store_readers(&self, readers: usize, waiters: &Waiters) {
        // Ordering: Release, for those that come to the readers. A plain store:
        // while a writer has the lock, others only change the state under the
        // queues' lock.
        self.state
            .store((readers * READER) | waiters.bits(), Ordering::Release);
    }
}
