//! One of the things that a select waits for.

use core::cell::{Cell, UnsafeCell};
use core::ptr;
use std::time::Instant;

use crate::channel::chan::{AGAIN, After, Chan, DONE, Permit, Pull};
use crate::channel::place::{Offer, Slot};
use crate::sync::party::Party;
use crate::sync::queue::{Claimed, Entry};

/// What can be selected. Something that has a lock and a queue is looked at and
/// waited for under that lock; for a time, [`Arm::due`] is enough.
///
/// An arm stays where it is from [`Arm::enter`] to [`Arm::leave`], or until its wait
/// was ended through it.
pub(crate) trait Arm {
    /// Tells the locks of arms apart and puts them in an order; 0 if it has none.
    fn key(&self) -> usize {
        0
    }

    fn lock(&self) {}

    /// # Safety
    ///
    /// The caller has the lock.
    unsafe fn unlock(&self) {}

    /// Does what can be done without waiting.
    ///
    /// # Safety
    ///
    /// The caller has the lock.
    unsafe fn look(&self) -> Found;

    /// Whether `look` would find anything.
    ///
    /// # Safety
    ///
    /// The caller has the lock.
    unsafe fn is_ready(&self) -> bool;

    /// After `look`, without the lock. Whether it is done.
    fn finish(&self, found: Found) -> bool {
        matches!(found, Found::Done(_))
    }

    /// Waits, as the `id`-th of `party`'s entries, to do something or only to
    /// `watch`.
    ///
    /// # Safety
    ///
    /// The caller has the lock, has opened the party, and calls `leave` before it or
    /// the arm goes, unless the wait is ended through this arm.
    unsafe fn enter(&self, _party: &Party, _id: usize, _watch: bool) {}

    /// After `enter`, without the lock: tells those who want to know.
    fn announce(&self) {}

    /// Waits no more.
    fn leave(&self, _watch: bool) {}

    /// The wait was ended through this arm.
    fn ended(&self, _kind: usize) {}

    /// When to look again, whatever comes before.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// `look` and `finish`, or `is_ready`, for one arm alone.
    fn attempt(&self, watch: bool) -> bool {
        self.lock();
        // SAFETY: the lock was just taken.
        let found = unsafe { self.find(watch) };
        // SAFETY: as above.
        unsafe { self.unlock() };
        self.finish(found)
    }

    /// # Safety
    ///
    /// The caller has the lock.
    unsafe fn find(&self, watch: bool) -> Found {
        // SAFETY: by the contract.
        unsafe {
            match watch {
                false => self.look(),
                true if self.is_ready() => Found::Done(After::Nothing),
                true => Found::Nothing,
            }
        }
    }

    /// Another one for the same, which has done nothing yet.
    fn again<'a>(&self) -> Box<dyn Arm + 'a>
    where
        Self: 'a;

    /// What was done is not wanted: takes it back.
    fn give_back(&self);
}

/// What a look found.
pub(crate) enum Found {
    Nothing,
    Done(After),
    /// A select that sends.
    Met(Claimed),
}

/// An entry for the queue of one channel after the other.
pub(crate) struct Place(UnsafeCell<Option<Entry>>);

impl Place {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// # Safety
    ///
    /// The last one is in no queue any more, and no reference to it is left.
    pub(crate) unsafe fn set(&self, entry: Entry) -> &Entry {
        // SAFETY: by the contract.
        unsafe { (*self.0.get()).insert(entry) }
    }

    pub(crate) fn get(&self) -> Option<&Entry> {
        // SAFETY: `set` is only called when no reference is left.
        unsafe { (*self.0.get()).as_ref() }
    }
}

/// A receive from a channel. It drops nothing by itself, so that a frame in which it
/// lies lends out the receiver no longer than it is used.
pub(crate) struct Recv<'a, T> {
    chan: &'a Chan<T>,
    slot: Slot<T>,
    entry: Place,
    got: Cell<Got>,
    /// Whether somebody is to be told that it waits.
    tell: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Got {
    Nothing,
    Message,
    Gone,
}

impl<'a, T> Recv<'a, T> {
    pub(crate) fn new(chan: &'a Chan<T>) -> Self {
        Self {
            chan,
            slot: Slot::new(),
            entry: Place::new(),
            got: Cell::new(Got::Nothing),
            tell: Cell::new(false),
        }
    }

    /// What was received; `None` if all are gone who could send, or nothing was.
    pub(crate) fn take(&self) -> Option<T> {
        // SAFETY: whoever set it has seen to the message.
        (self.got.replace(Got::Nothing) == Got::Message).then(|| unsafe { self.slot.take() })
    }
}

impl<T> Arm for Recv<'_, T> {
    fn key(&self) -> usize {
        ptr::from_ref(self.chan).addr()
    }

    fn lock(&self) {
        self.chan.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: by the contract.
        unsafe { self.chan.unlock() };
    }

    unsafe fn look(&self) -> Found {
        // SAFETY: by the contract.
        match unsafe { self.chan.recv_locked() } {
            Pull::Got(message, after) => {
                // SAFETY: the slot is ours, as nobody has found us waiting.
                unsafe { Slot::put(self.slot.place(), message) };
                self.got.set(Got::Message);
                Found::Done(after)
            }
            Pull::Gone => {
                self.got.set(Got::Gone);
                Found::Done(After::Nothing)
            }
            Pull::Met(sender) => Found::Met(sender),
            Pull::Empty => Found::Nothing,
        }
    }

    unsafe fn is_ready(&self) -> bool {
        // SAFETY: by the contract.
        unsafe { self.chan.can_recv_locked() }
    }

    fn finish(&self, found: Found) -> bool {
        match found {
            Found::Nothing => false,
            Found::Done(after) => {
                self.chan.finish(after);
                true
            }
            Found::Met(sender) => {
                let met = Chan::meet(sender, &self.slot);
                if met {
                    self.got.set(Got::Message);
                }
                met
            }
        }
    }

    unsafe fn enter(&self, party: &Party, id: usize, watch: bool) {
        // SAFETY: it has left before.
        let entry = unsafe { self.entry.set(Entry::new(party, id, self.slot.place())) };
        // SAFETY: by the contract.
        self.tell
            .set(unsafe { self.chan.add_receiving(entry, watch) });
    }

    fn announce(&self) {
        if self.tell.take() {
            self.chan.finish(After::TellSendWatchers);
        }
    }

    fn leave(&self, watch: bool) {
        if let Some(entry) = self.entry.get() {
            self.chan.remove_receiving(entry, watch);
        }
    }

    fn ended(&self, kind: usize) {
        self.got.set(match kind {
            DONE => Got::Message,
            AGAIN => Got::Nothing,
            _ => Got::Gone,
        });
    }

    fn again<'a>(&self) -> Box<dyn Arm + 'a>
    where
        Self: 'a,
    {
        Box::new(Recv::new(self.chan))
    }

    fn give_back(&self) {
        if let Some(message) = self.take() {
            self.chan.put_back(message);
        }
    }
}

/// A send to a channel, of a message that is made once it has been chosen. Drops
/// nothing by itself, as [`Recv`].
pub(crate) struct Send<'a, T> {
    chan: &'a Chan<T>,
    offer: Offer<T>,
    entry: Place,
    may: Cell<May>,
    /// Whether somebody is to be told that it waits.
    tell: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Nothing,
    Send,
    Gone,
}

impl<'a, T> Send<'a, T> {
    pub(crate) fn new(chan: &'a Chan<T>) -> Self {
        Self {
            chan,
            offer: Offer::later(),
            entry: Place::new(),
            may: Cell::new(May::Nothing),
            tell: Cell::new(false),
        }
    }

    /// What was chosen, to be completed.
    pub(crate) fn take(&self) -> Chosen<'a, T> {
        // SAFETY: it does not wait.
        let partner = unsafe { self.offer.partner() };
        Chosen {
            chan: self.chan,
            hold: match (self.may.replace(May::Nothing), partner) {
                (May::Send, Some(partner)) => Hold::Partner(partner),
                (May::Send, None) => Hold::Room,
                _ => Hold::Nothing,
            },
        }
    }
}

impl<T> Arm for Send<'_, T> {
    fn key(&self) -> usize {
        ptr::from_ref(self.chan).addr()
    }

    fn lock(&self) {
        self.chan.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: by the contract.
        unsafe { self.chan.unlock() };
    }

    unsafe fn look(&self) -> Found {
        // SAFETY: by the contract.
        let may = match unsafe { self.chan.permit_locked() } {
            Permit::Reserved => May::Send,
            Permit::Partner(receiver) => {
                // SAFETY: the offer is ours, as nobody has found us waiting.
                unsafe { self.offer.set_partner(receiver) };
                May::Send
            }
            Permit::Gone => May::Gone,
            Permit::None => return Found::Nothing,
        };
        self.may.set(may);
        Found::Done(After::Nothing)
    }

    unsafe fn is_ready(&self) -> bool {
        // SAFETY: by the contract.
        unsafe { self.chan.can_send_locked() }
    }

    unsafe fn enter(&self, party: &Party, id: usize, watch: bool) {
        // SAFETY: it has left before.
        let entry = unsafe { self.entry.set(Entry::new(party, id, self.offer.place())) };
        // SAFETY: by the contract.
        self.tell
            .set(unsafe { self.chan.add_sending(entry, watch) });
    }

    fn announce(&self) {
        if self.tell.take() {
            self.chan.finish(After::TellRecvWatchers);
        }
    }

    fn leave(&self, watch: bool) {
        if let Some(entry) = self.entry.get() {
            self.chan.remove_sending(entry, watch);
        }
    }

    fn ended(&self, kind: usize) {
        self.may.set(match kind {
            DONE => May::Send,
            AGAIN => May::Nothing,
            _ => May::Gone,
        });
    }

    fn again<'a>(&self) -> Box<dyn Arm + 'a>
    where
        Self: 'a,
    {
        Box::new(Send::new(self.chan))
    }

    fn give_back(&self) {
        drop(self.take());
    }
}

/// A send that was chosen and has no message yet. Dropped without one it lets others
/// have what it holds.
pub(crate) struct Chosen<'a, T> {
    chan: &'a Chan<T>,
    hold: Hold,
}

enum Hold {
    /// All who could receive are gone.
    Nothing,
    Room,
    Partner(Claimed),
}

impl<T> Chosen<'_, T> {
    /// Sends the message, or returns it if nobody is left to receive it.
    pub(crate) fn send(mut self, message: T) -> Result<(), T> {
        match core::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => Err(message),
            Hold::Room => self.chan.send_reserved(message),
            Hold::Partner(receiver) => {
                // SAFETY: receivers wait with slots, and this one was claimed.
                unsafe { Slot::put(receiver.place(), message) };
                receiver.end(DONE).wake();
                Ok(())
            }
        }
    }
}

impl<T> Drop for Chosen<'_, T> {
    fn drop(&mut self) {
        match core::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => {}
            Hold::Room => self.chan.release(),
            Hold::Partner(receiver) => receiver.end(AGAIN).wake(),
        }
    }
}
