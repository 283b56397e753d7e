//! What senders and receivers share: a backlog of messages, and who waits.
//!
//! All of it is plain data under one lock. A send looks, in this order, for
//!
//! 1. a receiver that waits: it gets the message into its frame,
//! 2. room in the backlog,
//! 3. else it waits, with the message in its own frame;
//!
//! and a receive for
//!
//! 1. the oldest message of the backlog; the oldest sender that waits takes the
//!    room,
//! 2. a sender that waits, whose message it takes out of that frame,
//! 3. else it waits.
//!
//! So nobody waits beside somebody who waits on the other side, and a channel
//! without capacity needs no code of its own: its backlog stays empty. A message
//! is moved by whoever has claimed the wait of the frame that it goes to or comes
//! from, so it is there exactly once: a receiver that was claimed has it, even if
//! its deadline or a cancellation came at that moment; one that was not, has not.
//!
//! # Sends without a message
//!
//! A select that chooses a send makes the message only then, by code of the user's
//! that may take its time, suspend or panic. Until it is there the send holds one
//! of two things:
//!
//! - room that is *reserved* for it;
//! - or, where there is no room to be had, a receiver: one that waited and was
//!   claimed, or one that came by, found the select waiting, and put itself into
//!   its hands ([`Chan::meet`]). That receiver cannot be cancelled or time out
//!   until the select has sent it the message, or has given up and told it to look
//!   [`AGAIN`].

use core::mem::{self, ManuallyDrop};
use core::time::Duration;
use std::time::Instant;

use crate::channel::backlog::{Backlog, Block};
use crate::channel::place::{Offer, Slot};
use crate::facade::{AtomicUsize, Ordering, UnsafeCell};
use crate::scheduler::wait::Wait;
use crate::sync::lock::{Lock, Locked};
use crate::sync::party::{Ended, Party, Wakeup};
use crate::sync::queue::{Claimed, Entry, Queue};

/// The wait ended because the message has been handed over, or for a select that
/// sends, because it may.
pub(crate) const DONE: usize = 0;
/// It ended because the other side is gone.
pub(crate) const GONE: usize = 1;
/// It ended for nothing.
pub(crate) const AGAIN: usize = 2;

pub(crate) struct Chan<T> {
    state: Lock<State<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

struct State<T> {
    /// `usize::MAX` for no limit.
    capacity: usize,
    backlog: Backlog<T>,
    /// Room that was promised to sends whose messages are being made.
    reserved: usize,
    no_senders: bool,
    no_receivers: bool,
    senders: Queue,
    receivers: Queue,
    /// Those who want to know when they could send, or receive, and do not.
    send_watchers: Watchers,
    recv_watchers: Watchers,
}

/// How long an operation may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Now,
    At(Instant),
    Never,
}

impl Until {
    #[inline]
    pub(crate) fn after(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or(Until::Never, Until::At)
    }

    #[inline]
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Until::At(deadline) => Some(deadline),
            Until::Now | Until::Never => None,
        }
    }
}

/// Why a message was not sent.
pub(crate) enum Unsent<T> {
    Late(T),
    Gone(T),
}

/// Why none was received.
pub(crate) enum Unreceived {
    Late,
    Gone,
}

/// What is left to do once the lock is released.
#[must_use = "somebody is to be told"]
pub(crate) enum After {
    Nothing,
    Wake(Wakeup),
    TellSendWatchers,
    TellRecvWatchers,
}

/// What a send found.
enum Push {
    Done(After),
    Full,
    /// There is room, but no memory yet.
    NoBlock,
    Gone,
}

/// What a receive found.
pub(crate) enum Pull<T> {
    Got(T, After),
    /// A select that sends, and is to be met.
    Met(Claimed),
    Empty,
    Gone,
}

/// What the send of a select found.
pub(crate) enum Permit {
    Reserved,
    Partner(Claimed),
    None,
    Gone,
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.backlog.len() + self.reserved < self.capacity
    }

    /// Sends `message` if that can be done, and takes it.
    #[inline]
    fn send(&mut self, message: &mut Option<T>) -> Push {
        if self.no_receivers {
            return Push::Gone;
        }
        if let Some(after) = self.hand_over(message) {
            return Push::Done(after);
        }
        if !self.has_room() {
            return Push::Full;
        }
        self.keep(message)
    }

    /// Gives it to a receiver that waits.
    #[inline]
    fn hand_over(&mut self, message: &mut Option<T>) -> Option<After> {
        if self.receivers.is_empty() {
            return None;
        }
        let claimed = self.receivers.pop()?;
        if let Some(message) = message.take() {
            // SAFETY: receivers wait with slots, and this one was claimed.
            unsafe { Slot::put(claimed.place(), message) };
        }
        Some(After::Wake(claimed.end(DONE)))
    }

    /// Puts it into the backlog.
    #[inline]
    fn keep(&mut self, message: &mut Option<T>) -> Push {
        if !self.backlog.has_room() {
            return Push::NoBlock;
        }
        if let Some(message) = message.take() {
            self.backlog.push(message);
        }
        Push::Done(self.tell_recv_watchers())
    }

    #[inline]
    pub(crate) fn recv(&mut self) -> Pull<T> {
        if let Some(message) = self.backlog.pop() {
            return Pull::Got(message, self.admit());
        }
        if let Some(claimed) = self.pop_sender() {
            // SAFETY: senders wait with offers.
            return match unsafe { Offer::take(&claimed) } {
                Some(message) => Pull::Got(message, After::Wake(claimed.end(DONE))),
                None => Pull::Met(claimed),
            };
        }
        if self.no_senders {
            Pull::Gone
        } else {
            Pull::Empty
        }
    }

    #[inline]
    fn pop_sender(&mut self) -> Option<Claimed> {
        if self.senders.is_empty() {
            return None;
        }
        self.senders.pop()
    }

    /// Where room may have become free: lets the oldest sender that waits have it.
    #[inline]
    fn admit(&mut self) -> After {
        if !self.has_room() {
            return After::Nothing;
        }
        let Some(claimed) = self.pop_sender() else {
            return self.tell_send_watchers();
        };
        // SAFETY: senders wait with offers.
        match unsafe { Offer::take(&claimed) } {
            // Senders wait for channels with a limit, which have their memory.
            Some(message) => self.backlog.push(message),
            None => self.reserved += 1,
        }
        After::Wake(claimed.end(DONE))
    }

    /// For a select that sends.
    fn permit(&mut self) -> Permit {
        if self.no_receivers {
            return Permit::Gone;
        }
        if self.has_room() {
            self.reserved += 1;
            return Permit::Reserved;
        }
        match self.receivers.pop() {
            Some(claimed) => Permit::Partner(claimed),
            None => Permit::None,
        }
    }

    #[inline]
    fn tell_send_watchers(&self) -> After {
        match self.send_watchers.count {
            0 => After::Nothing,
            _ => After::TellSendWatchers,
        }
    }

    #[inline]
    fn tell_recv_watchers(&self) -> After {
        match self.recv_watchers.count {
            0 => After::Nothing,
            _ => After::TellRecvWatchers,
        }
    }
}

impl<T> Chan<T> {
    /// A channel for `capacity` messages, or without limit, with one sender and one
    /// receiver.
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        Self {
            state: Lock::new(State {
                capacity: capacity.unwrap_or(usize::MAX),
                backlog: Backlog::new(capacity.unwrap_or(0)),
                reserved: 0,
                no_senders: false,
                no_receivers: false,
                senders: Queue::new(),
                receivers: Queue::new(),
                send_watchers: Watchers::new(),
                recv_watchers: Watchers::new(),
            }),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    #[inline]
    pub(crate) fn send(&self, message: T, until: Until) -> Result<(), Unsent<T>> {
        let mut message = Some(message);
        let mut state = self.state.lock();
        if let Push::Done(after) = state.send(&mut message) {
            drop(state);
            self.finish(after);
            return Ok(());
        }
        drop(state);
        self.send_slowly(message, until)
    }

    #[cold]
    fn send_slowly(&self, message: Option<T>, until: Until) -> Result<(), Unsent<T>> {
        let message = UnsafeCell::new(message);
        let offer = Offer::of(&message);
        // SAFETY: only called while the offer is in no queue, so that nobody else
        // has the message, which is there until it was sent.
        let take = || unsafe { message.with_mut(|message| (*message).take().unwrap_unchecked()) };
        let party = (until != Until::Now).then(Party::new);
        loop {
            let mut state = self.state.lock();
            // SAFETY: the offer is in no queue.
            match message.with_mut(|message| state.send(unsafe { &mut *message })) {
                Push::Done(after) => {
                    drop(state);
                    self.finish(after);
                    return Ok(());
                }
                Push::Gone => return Err(Unsent::Gone(take())),
                Push::NoBlock => {
                    drop(state);
                    self.extend();
                    continue;
                }
                Push::Full => {}
            }
            let Some(party) = &party else {
                return Err(Unsent::Late(take()));
            };
            let entry = Entry::new(party, 0, offer.place());
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing in
            // between unwinds. All calls are under the lock.
            unsafe { state.senders.push_back(&entry) };
            let after = state.tell_recv_watchers();
            drop(state);
            self.finish(after);
            let ended = party.wait(Wait::Sending, until.deadline(), false);
            if let Ended::By(outcome) = ended {
                match outcome.kind() {
                    DONE => return Ok(()),
                    _ => return Err(Unsent::Gone(take())),
                }
            }
            self.state.lock().senders.remove(&entry);
            match ended {
                Ended::TimedOut => return Err(Unsent::Late(take())),
                Ended::Cancelled => party.unwind(),
                _ => {}
            }
        }
    }

    /// Gets memory for more messages, without the lock.
    #[cold]
    fn extend(&self) {
        let mut block = Some(Block::new());
        let mut state = self.state.lock();
        if !state.backlog.has_room()
            && let Some(block) = block.take()
        {
            state.backlog.extend(block);
        }
    }

    // All the way up inlined: after a switch each return would be mispredicted.
    #[inline(always)]
    pub(crate) fn recv(&self, until: Until) -> Result<T, Unreceived> {
        // Who waits needs it under the lock; a thread's may take memory, and comes
        // later.
        let mut party = match until {
            Until::Now => None,
            _ => Party::of_coroutine(),
        };
        loop {
            let mut state = self.state.lock();
            match state.recv() {
                Pull::Got(message, after) => {
                    drop(state);
                    self.finish(after);
                    if let Some(party) = &party {
                        party.give_way();
                    }
                    return Ok(message);
                }
                Pull::Met(sender) => {
                    drop(state);
                    let slot = Slot::new();
                    if Self::meet(sender, &slot) {
                        // SAFETY: the sender has put it there.
                        return Ok(unsafe { slot.take() });
                    }
                    continue;
                }
                Pull::Gone => return Err(Unreceived::Gone),
                Pull::Empty if until == Until::Now => return Err(Unreceived::Late),
                Pull::Empty => {}
            }
            let Some(party) = &party else {
                drop(state);
                party = Some(Party::new());
                continue;
            };
            let slot = Slot::<T>::new();
            let entry = Entry::new(party, 0, slot.place());
            party.open();
            // SAFETY: it is new, and removed below unless it was popped; nothing in
            // between unwinds. All calls are under the lock.
            unsafe { state.receivers.push_back(&entry) };
            let after = state.tell_send_watchers();
            drop(state);
            self.finish(after);
            let ended = party.wait(Wait::Receiving, until.deadline(), false);
            if let Ended::By(outcome) = ended {
                match outcome.kind() {
                    // SAFETY: whoever ended the wait has put it there.
                    DONE => return Ok(unsafe { slot.take() }),
                    GONE => return Err(Unreceived::Gone),
                    _ => continue,
                }
            }
            self.state.lock().receivers.remove(&entry);
            match ended {
                Ended::TimedOut => return Err(Unreceived::Late),
                Ended::Cancelled => party.unwind(),
                _ => {}
            }
        }
    }

    /// Waits until a select, which was found waiting to send, has made its message
    /// and put it into the slot; false if it has given up.
    ///
    /// The caller's claim is in the hands of the select from the beginning, so the
    /// wait is not cut short: the select itself will see to its end, as what holds
    /// the claim there is dropped or used.
    #[cold]
    pub(crate) fn meet(sender: Claimed, slot: &Slot<T>) -> bool {
        let party = Party::new();
        let entry = Entry::new(&party, 0, slot.place());
        party.open();
        // SAFETY: the caller waits, masked, until the claim is used.
        let receiver = unsafe { entry.entrust() };
        // SAFETY: senders wait with offers, and this one's has no message.
        unsafe { Offer::<T>::meet(&sender, receiver) };
        sender.end(DONE).wake();
        let ended = party.wait(Wait::Receiving, None, true);
        matches!(ended, Ended::By(outcome) if outcome.kind() == DONE)
    }

    /// Sends the message for which room was reserved.
    pub(crate) fn send_reserved(&self, message: T) -> Result<(), T> {
        let mut message = Some(message);
        loop {
            let mut state = self.state.lock();
            if state.no_receivers {
                break;
            }
            if let Some(after) = state.hand_over(&mut message) {
                drop(state);
                self.finish(after);
                break;
            }
            if let Push::Done(after) = state.keep(&mut message) {
                state.reserved -= 1;
                drop(state);
                self.finish(after);
                return Ok(());
            }
            drop(state);
            self.extend();
        }
        self.release();
        message.map_or(Ok(()), Err)
    }

    /// Gives reserved room back.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        state.reserved -= 1;
        let after = match state.no_receivers {
            true => After::Nothing,
            false => state.admit(),
        };
        drop(state);
        self.finish(after);
    }

    /// Takes back a message that a select has received for somebody who does not
    /// take it: it is the next one again.
    pub(crate) fn put_back(&self, message: T) {
        let mut message = Some(message);
        let mut state = self.state.lock();
        let after = match state.hand_over(&mut message) {
            Some(after) => after,
            None => {
                if let Some(message) = message.take() {
                    state.backlog.push_front(message);
                }
                state.tell_recv_watchers()
            }
        };
        drop(state);
        self.finish(after);
    }

    /// Does what a look under the lock has left.
    #[inline]
    pub(crate) fn finish(&self, after: After) {
        match after {
            After::Nothing => {}
            After::Wake(wakeup) => wakeup.wake(),
            After::TellSendWatchers => self.tell(|state| &mut state.send_watchers),
            After::TellRecvWatchers => self.tell(|state| &mut state.recv_watchers),
        }
    }

    /// Wakes all that watch now.
    #[cold]
    fn tell(&self, watchers: impl Fn(&mut State<T>) -> &mut Watchers) {
        let count = watchers(&mut self.state.lock()).count;
        for _ in 0..count {
            let Some(claimed) = watchers(&mut self.state.lock()).pop() else {
                return;
            };
            claimed.end(DONE).wake();
        }
    }

    pub(crate) fn add_sender(&self) {
        // Ordering: Relaxed: it is made from another one. It cannot overflow, since
        // each handle is counted by an `Arc` as well, which aborts before that.
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_receiver(&self) {
        // Ordering: as in `add_sender`.
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    /// The last one that goes disconnects the channel.
    pub(crate) fn remove_sender(&self) {
        // Ordering: Relaxed: what was sent before lies under the lock.
        if self.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.state.lock().no_senders = true;
            self.wake_all(|state| &mut state.receivers);
            self.tell(|state| &mut state.recv_watchers);
        }
    }

    /// The last one that goes disconnects the channel, and drops what nobody can
    /// receive any more.
    pub(crate) fn remove_receiver(&self) {
        // Ordering: as in `remove_sender`.
        if self.receivers.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut state = self.state.lock();
            state.no_receivers = true;
            let rest = mem::replace(&mut state.backlog, Backlog::new(0));
            drop(state);
            self.wake_all(|state| &mut state.senders);
            self.tell(|state| &mut state.send_watchers);
            rest.drop_messages();
        }
    }

    /// Tells all that wait in a queue, to which nobody is added any more, that the
    /// other side is gone.
    fn wake_all(&self, queue: impl Fn(&mut State<T>) -> &mut Queue) {
        loop {
            let Some(claimed) = queue(&mut self.state.lock()).pop() else {
                return;
            };
            claimed.end(GONE).wake();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().backlog.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.state.lock().has_room()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        Some(self.state.lock().capacity).filter(|capacity| *capacity != usize::MAX)
    }
}

/// For selects, which hold several channels' locks at a time.
impl<T> Chan<T> {
    /// Takes the lock, until [`Chan::unlock`].
    #[inline]
    pub(crate) fn lock(&self) {
        mem::forget(self.state.lock());
    }

    /// # Safety
    ///
    /// The caller has the lock by [`Chan::lock`].
    #[inline]
    pub(crate) unsafe fn unlock(&self) {
        // SAFETY: by the contract.
        drop(unsafe { self.state.held() });
    }

    /// # Safety
    ///
    /// The caller has the lock by [`Chan::lock`], and no other result of this.
    #[inline]
    unsafe fn held(&self) -> ManuallyDrop<Locked<'_, State<T>>> {
        // SAFETY: by the contract.
        ManuallyDrop::new(unsafe { self.state.held() })
    }

    /// # Safety
    ///
    /// As for [`Chan::unlock`].
    #[inline]
    pub(crate) unsafe fn recv_locked(&self) -> Pull<T> {
        // SAFETY: by the contract.
        unsafe { self.held() }.recv()
    }

    /// # Safety
    ///
    /// As for [`Chan::unlock`].
    #[inline]
    pub(crate) unsafe fn permit_locked(&self) -> Permit {
        // SAFETY: by the contract.
        unsafe { self.held() }.permit()
    }

    /// Whether a receive would not wait.
    ///
    /// # Safety
    ///
    /// As for [`Chan::unlock`].
    pub(crate) unsafe fn can_recv_locked(&self) -> bool {
        // SAFETY: by the contract.
        let state = unsafe { self.held() };
        state.backlog.len() > 0 || state.no_senders || state.senders.is_waited_in()
    }

    /// Whether a send would not wait.
    ///
    /// # Safety
    ///
    /// As for [`Chan::unlock`].
    pub(crate) unsafe fn can_send_locked(&self) -> bool {
        // SAFETY: by the contract.
        let state = unsafe { self.held() };
        state.has_room() || state.no_receivers || state.receivers.is_waited_in()
    }

    /// Adds a receiver that waits, or watches. Returns whether send watchers
    /// are to be told.
    ///
    /// # Safety
    ///
    /// As for [`Chan::unlock`] and [`Queue::push_back`]; a receiver's place is a
    /// slot.
    pub(crate) unsafe fn add_receiving(&self, entry: &Entry, watch: bool) -> bool {
        // SAFETY: by the contract.
        let mut state = unsafe { self.held() };
        if watch {
            // SAFETY: by the contract.
            unsafe { state.recv_watchers.push(entry) };
            return false;
        }
        // SAFETY: by the contract.
        unsafe { state.receivers.push_back(entry) };
        state.send_watchers.count > 0
    }

    /// Adds a sender that waits, or watches. Returns whether receive watchers are
    /// to be told.
    ///
    /// # Safety
    ///
    /// As for [`Chan::unlock`] and [`Queue::push_back`]; a sender's place is an
    /// offer.
    pub(crate) unsafe fn add_sending(&self, entry: &Entry, watch: bool) -> bool {
        // SAFETY: by the contract.
        let mut state = unsafe { self.held() };
        if watch {
            // SAFETY: by the contract.
            unsafe { state.send_watchers.push(entry) };
            return false;
        }
        // SAFETY: by the contract.
        unsafe { state.senders.push_back(entry) };
        state.recv_watchers.count > 0
    }

    /// Takes out what `add_receiving` has added, unless somebody has popped it.
    pub(crate) fn remove_receiving(&self, entry: &Entry, watch: bool) {
        let mut state = self.state.lock();
        if watch {
            state.recv_watchers.remove(entry);
        } else {
            state.receivers.remove(entry);
        }
    }

    /// Takes out what `add_sending` has added, unless somebody has popped it.
    pub(crate) fn remove_sending(&self, entry: &Entry, watch: bool) {
        let mut state = self.state.lock();
        if watch {
            state.send_watchers.remove(entry);
        } else {
            state.senders.remove(entry);
        }
    }
}

/// Those who want to know and take nothing, so all of them are told.
struct Watchers {
    queue: Queue,
    count: usize,
}

impl Watchers {
    fn new() -> Self {
        Self {
            queue: Queue::new(),
            count: 0,
        }
    }

    /// # Safety
    ///
    /// As for [`Queue::push_back`].
    unsafe fn push(&mut self, entry: &Entry) {
        // SAFETY: by the contract.
        unsafe { self.queue.push_back(entry) };
        self.count += 1;
    }

    fn pop(&mut self) -> Option<Claimed> {
        let claimed = self.queue.pop();
        self.count -= usize::from(claimed.is_some());
        claimed
    }

    fn remove(&mut self, entry: &Entry) {
        let removed = self.queue.remove(entry);
        self.count -= usize::from(removed);
    }
}
