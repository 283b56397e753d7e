//! What a waiting frame holds ready for whoever ends the wait: a receiver a slot
//! for the message, a sender its offer.

use core::mem::MaybeUninit;
use core::ptr;

use crate::facade::UnsafeCell;
use crate::sync::queue::Claimed;

/// Where a receiver waits for its message. Does not drop it.
pub(crate) struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// For the receiver's entry.
    pub(crate) fn place(&self) -> *mut () {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Puts a message into the slot that lies at `place`.
    ///
    /// # Safety
    ///
    /// The caller has claimed the wait of the receiver whose slot it is, and has not
    /// ended it yet; or is that receiver, and does not wait.
    #[inline]
    pub(crate) unsafe fn put(place: *mut (), message: T) {
        // SAFETY: the receiver's frame stays until its wait is ended.
        let slot = unsafe { &*place.cast::<Self>() };
        // SAFETY: the slot is the claimant's.
        slot.0.with_mut(|slot| unsafe { (*slot).write(message) });
    }

    /// Takes the message out.
    ///
    /// # Safety
    ///
    /// One was put there and not taken out, and the wait is over.
    #[inline]
    pub(crate) unsafe fn take(&self) -> T {
        // SAFETY: by the contract.
        self.0.with(|slot| unsafe { (*slot).assume_init_read() })
    }
}

/// What a sender waits with: a message in its frame; or, in a select, none yet, as
/// the message is only made once the send has been chosen. A receiver that finds
/// such a sender puts itself into its hands.
pub(crate) struct Offer<T> {
    /// Null if it is yet to be made.
    message: *const UnsafeCell<Option<T>>,
    partner: UnsafeCell<Option<Claimed>>,
}

impl<T> Offer<T> {
    /// `message` stays where it is for as long as the offer may be found.
    pub(crate) fn of(message: &UnsafeCell<Option<T>>) -> Self {
        Self {
            message: ptr::from_ref(message),
            partner: UnsafeCell::new(None),
        }
    }

    /// An offer of what is yet to be made.
    pub(crate) fn later() -> Self {
        Self {
            message: ptr::null(),
            partner: UnsafeCell::new(None),
        }
    }

    /// For the sender's entry.
    pub(crate) fn place(&self) -> *mut () {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Takes the message of the sender that was claimed; `None` if it is yet to be
    /// made.
    ///
    /// # Safety
    ///
    /// The entry's place is that of an `Offer<T>`.
    #[inline]
    pub(crate) unsafe fn take(claimed: &Claimed) -> Option<T> {
        // SAFETY: the sender's frame stays until its wait is ended.
        let message = unsafe { (*claimed.place().cast::<Self>()).message.as_ref() };
        // SAFETY: as above; the message is the claimant's.
        message.and_then(|message| message.with_mut(|message| unsafe { (*message).take() }))
    }

    /// Has the sender that was claimed end the wait of `receiver`, with a message or
    /// without.
    ///
    /// # Safety
    ///
    /// As for [`Offer::take`], and the offer has no message.
    pub(crate) unsafe fn meet(claimed: &Claimed, receiver: Claimed) {
        // SAFETY: the sender's frame stays until its wait is ended.
        let offer = unsafe { &*claimed.place().cast::<Self>() };
        // SAFETY: the offer is the claimant's.
        offer
            .partner
            .with_mut(|partner| unsafe { *partner = Some(receiver) });
    }

    /// For the sender: who has met it, if anybody has.
    ///
    /// # Safety
    ///
    /// It does not wait.
    pub(crate) unsafe fn partner(&self) -> Option<Claimed> {
        // SAFETY: nobody else has the offer.
        self.partner
            .with_mut(|partner| unsafe { (*partner).take() })
    }

    /// For the sender: as if that receiver had met it.
    ///
    /// # Safety
    ///
    /// As for [`Offer::partner`].
    pub(crate) unsafe fn set_partner(&self, receiver: Claimed) {
        // SAFETY: nobody else has the offer.
        self.partner
            .with_mut(|partner| unsafe { *partner = Some(receiver) });
    }
}
