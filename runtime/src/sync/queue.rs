//! Who waits at a lock, a channel, an event: first come, first served.
//!
//! A queue is plain data under the lock of whatever is waited for. Its entries
//! lie in the frames of the waiting calls:
//!
//! ```text
//!   the waiting call's frame                       the queue, under its lock
//!   Party: who it is, and how its wait ended  <--  Entry  <-->  Entry  <--> ...
//!     ^
//!     +------- Entry in another queue (a select waits in several at once)
//! ```
//!
//! | the waiter                                  | whoever has something for it         |
//! |---------------------------------------------|--------------------------------------|
//! | `Party::open`                               |                                      |
//! | lock; look; push an entry; unlock           | lock; `pop`: claims the wait         |
//! | `Party::wait`                               | write to the entry's place, `end`    |
//! |   ended by somebody: it is in no queue      | unlock; wake                         |
//! |     but those of its other entries          |                                      |
//! |   else: lock; remove the entry; unlock      |                                      |
//!
//! The waiter leaves every queue before its frame goes on, so an entry that is
//! found in a queue is alive for as long as the queue's lock is held; and a party
//! whose claim was taken stays until it is woken.

use core::ptr::{self, NonNull};

use crate::facade::UnsafeCell;
use crate::sync::party::{Party, Wakeup};

/// A place in a queue. In the waiting frame, which it does not leave while it is
/// queued.
pub(crate) struct Entry {
    party: NonNull<Party>,
    /// Which of its party's entries it is.
    id: usize,
    /// What whoever ends the wait reads from or writes to.
    place: *mut (),
    links: UnsafeCell<Links>,
}

struct Links {
    before: *const Entry,
    after: *const Entry,
    queued: bool,
}

impl Entry {
    /// `place`: what the one who ends the wait is to find.
    pub(crate) fn new(party: &Party, id: usize, place: *mut ()) -> Self {
        Self {
            party: NonNull::from(party),
            id,
            place,
            links: UnsafeCell::new(Links {
                before: ptr::null(),
                after: ptr::null(),
                queued: false,
            }),
        }
    }

    /// Claims the waiter's own wait, for the waiter to give to somebody who has
    /// something for it later.
    ///
    /// # Safety
    ///
    /// The waiter has opened its wait, is in no queue, and waits, masked, until
    /// the claim was used: neither the entry nor its party goes before.
    pub(crate) unsafe fn entrust(&self) -> Claimed {
        // SAFETY: the caller has the party.
        let claimed = unsafe { self.party.as_ref() }.claim();
        debug_assert!(claimed, "nobody else can find the waiter");
        Claimed(NonNull::from(self))
    }
}

/// Entries, oldest first.
pub(crate) struct Queue {
    first: *const Entry,
    last: *const Entry,
}

// SAFETY: the entries are only touched by whoever has the queue, under its lock;
// the contract of `push_back` has them alive until then.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self {
            first: ptr::null(),
            last: ptr::null(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Adds a waiter at the end.
    ///
    /// # Safety
    ///
    /// The entry is in no queue. It and its party stay where they are until it has
    /// been popped or removed; all calls with this queue are made under one lock.
    pub(crate) unsafe fn push_back(&mut self, entry: &Entry) {
        entry.links.with_mut(|links| {
            // SAFETY: under the queue's lock.
            let links = unsafe { &mut *links };
            debug_assert!(!links.queued);
            *links = Links {
                before: self.last,
                after: ptr::null(),
                queued: true,
            };
        });
        self.link_after(self.last, entry);
        self.last = entry;
    }

    /// Adds a waiter at the front: one that was woken in vain keeps its turn.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push_back`].
    pub(crate) unsafe fn push_front(&mut self, entry: &Entry) {
        entry.links.with_mut(|links| {
            // SAFETY: under the queue's lock.
            let links = unsafe { &mut *links };
            debug_assert!(!links.queued);
            *links = Links {
                before: ptr::null(),
                after: self.first,
                queued: true,
            };
        });
        self.link_before(self.first, entry);
        self.first = entry;
    }

    /// Takes the entry out; false if somebody has popped it.
    pub(crate) fn remove(&mut self, entry: &Entry) -> bool {
        let (before, after) = match entry.links.with_mut(|links| {
            // SAFETY: under the queue's lock.
            let links = unsafe { &mut *links };
            core::mem::take(&mut links.queued).then_some((links.before, links.after))
        }) {
            Some(neighbours) => neighbours,
            None => return false,
        };
        self.link_after(before, after);
        self.link_before(after, before);
        true
    }

    /// Takes out the oldest whose wait nobody has ended yet, and claims it. The
    /// caller must [`end`](Claimed::end) the wait.
    pub(crate) fn pop(&mut self) -> Option<Claimed> {
        self.pop_if(|_| true)
    }

    /// The same, unless there is an older one, ended or not, whose id is not
    /// `wanted`.
    pub(crate) fn pop_if(&mut self, wanted: impl Fn(usize) -> bool) -> Option<Claimed> {
        let mut at = self.first;
        // SAFETY: what is in the queue is alive.
        while let Some(entry) = unsafe { at.as_ref() } {
            if !wanted(entry.id) {
                return None;
            }
            // SAFETY: under the queue's lock.
            at = entry.links.with(|links| unsafe { (*links).after });
            // SAFETY: an entry's party is alive while it is queued.
            if unsafe { entry.party.as_ref() }.claim() {
                self.remove(entry);
                return Some(Claimed(NonNull::from(entry)));
            }
            // Ended elsewhere: its owner takes it out.
        }
        None
    }

    /// Takes out all, and claims those whose wait nobody has ended yet.
    pub(crate) fn pop_all(&mut self) -> Batch {
        let mut batch = Batch::new();
        // SAFETY: what is in the queue is alive.
        while let Some(entry) = unsafe { self.first.as_ref() } {
            self.remove(entry);
            // SAFETY: an entry's party is alive until the entry's owner, which
            // would have to take it out, has had the lock.
            if unsafe { entry.party.as_ref() }.claim() {
                batch.push(Claimed(NonNull::from(entry)));
            }
        }
        batch
    }

    /// Whether there is an entry whose wait nobody has ended.
    pub(crate) fn is_waited_in(&self) -> bool {
        let mut at = self.first;
        // SAFETY: what is in the queue is alive.
        while let Some(entry) = unsafe { at.as_ref() } {
            // SAFETY: an entry's party is alive while it is queued.
            if unsafe { entry.party.as_ref() }.is_waiting() {
                return true;
            }
            // SAFETY: under the queue's lock.
            at = entry.links.with(|links| unsafe { (*links).after });
        }
        false
    }

    /// Sets what comes after `entry`, or first.
    fn link_after(&mut self, entry: *const Entry, after: *const Entry) {
        // SAFETY: neighbours in the queue are alive.
        match unsafe { entry.as_ref() } {
            Some(entry) => entry.links.with_mut(|links| {
                // SAFETY: under the queue's lock.
                unsafe { (*links).after = after }
            }),
            None => self.first = after,
        }
    }

    /// Sets what comes before `entry`, or last.
    fn link_before(&mut self, entry: *const Entry, before: *const Entry) {
        // SAFETY: neighbours in the queue are alive.
        match unsafe { entry.as_ref() } {
            Some(entry) => entry.links.with_mut(|links| {
                // SAFETY: under the queue's lock.
                unsafe { (*links).before = before }
            }),
            None => self.last = before,
        }
    }
}

/// A wait that is the holder's to end. Until then the waiter does not leave the
/// frame in which the entry lies.
#[must_use = "a wait that was claimed and is not ended hangs for ever"]
pub(crate) struct Claimed(NonNull<Entry>);

impl Claimed {
    /// Which of its party's entries was found.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.entry().id
    }

    /// What the waiter left to be read or written. Its frame stays until
    /// [`Claimed::end`].
    #[inline]
    pub(crate) fn place(&self) -> *mut () {
        self.entry().place
    }

    /// Ends the wait, with a `kind` of the primitive's own, up to 3. The waiter is
    /// to be woken once the lock is released.
    #[inline]
    pub(crate) fn end(self, kind: usize) -> Wakeup {
        let entry = self.entry();
        // SAFETY: its claim is ours, so it waits until it is woken.
        unsafe { Party::end(entry.party, Outcome::new(entry.id, kind)) }
    }

    #[inline]
    fn entry(&self) -> &Entry {
        // SAFETY: the claim is ours, so its owner waits until it is woken.
        unsafe { self.0.as_ref() }
    }
}

/// Waits that are the holder's to end, oldest first: claimed under a lock, ended
/// and told after it. They are linked through their entries, so to gather them
/// takes no memory.
#[must_use = "a wait that was claimed and is not ended hangs for ever"]
pub(crate) struct Batch {
    first: *const Entry,
    last: *const Entry,
    len: usize,
}

impl Batch {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            first: ptr::null(),
            last: ptr::null(),
            len: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds one at the end.
    pub(crate) fn push(&mut self, claimed: Claimed) {
        let entry = claimed.entry();
        // SAFETY: it is in no queue, and the claim is ours, so nobody else uses
        // its links.
        entry
            .links
            .with_mut(|links| unsafe { (*links).after = ptr::null() });
        // SAFETY: what is in the batch is alive until it is ended.
        match unsafe { self.last.as_ref() } {
            // SAFETY: as above.
            Some(last) => last
                .links
                .with_mut(|links| unsafe { (*links).after = entry }),
            None => self.first = entry,
        }
        self.last = entry;
        self.len += 1;
    }

    /// Ends all, with one `kind`, and wakes the waiters. Not under a lock.
    pub(crate) fn wake(self, kind: usize) {
        let mut at = self.first;
        while let Some(entry) = NonNull::new(at.cast_mut()) {
            let claimed = Claimed(entry);
            // SAFETY: as in `push`. Read before the waiter may go on.
            at = claimed
                .entry()
                .links
                .with(|links| unsafe { (*links).after });
            claimed.end(kind).wake();
        }
    }
}

/// How a wait ended: through which entry, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome(usize);

impl Outcome {
    const KINDS: usize = 4;

    #[inline]
    fn new(id: usize, kind: usize) -> Self {
        debug_assert!(kind < Self::KINDS);
        Self(id * Self::KINDS + kind)
    }

    #[inline]
    pub(crate) fn id(self) -> usize {
        self.0 / Self::KINDS
    }

    #[inline]
    pub(crate) fn kind(self) -> usize {
        self.0 % Self::KINDS
    }
}
