//! Wake-ups of one worker's coroutines sent by other threads: any number of
//! threads push, the worker takes all at once.
//!
//! It is a Treiber stack threaded through the coroutines. Nodes are only ever
//! taken all together, by an exchange of the head for null, so the ABA problem
//! of that stack cannot arise: a push that finds the head which it linked to
//! may link to it, whatever happened in between.

use core::ptr::{self, NonNull};

use super::list::{Linked, List};
use crate::facade::{AtomicPtr, Ordering};

/// The worker's letter box. It owns nothing of what lies in it.
pub(crate) struct Inbox<T: Linked> {
    /// The newest; each links to the one before it, the oldest to null.
    head: AtomicPtr<T>,
}

impl<T: Linked> Inbox<T> {
    /// An empty inbox.
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds a value, from any thread. Returns whether the inbox was empty:
    /// whoever hears `true` has to see to it that the worker wakes up, and does
    /// so for all who push before the worker drains.
    #[inline]
    pub(crate) fn push(&self, node: NonNull<T>) -> bool {
        // SAFETY: `Linked` promises that what is handed to an inbox is alive,
        // shareable, and its link the inbox's.
        let link = unsafe { node.as_ref() }.link();
        // Ordering: Relaxed, as the value is not dereferenced here.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Ordering: Relaxed, as the exchange publishes it.
            link.store(head, Ordering::Relaxed);
            // Ordering: Release makes the link and all that the sender did
            // before visible to the drain. Earlier pushes stay visible too, as
            // an exchange continues their release sequences.
            match self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes all there is, in the order in which it was pushed.
    #[inline]
    pub(crate) fn drain(&self) -> List<T> {
        // Spares an idle inbox the exchange, and the senders the cache line.
        if self.is_empty() {
            return List::new();
        }
        // Ordering: Acquire pairs with the Release of every push since the
        // last drain.
        let last = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: each of the chain was pushed, which linked it to the one
        // before; the exchange made the whole chain ours alone.
        unsafe { List::from_last(last) }
    }

    /// Whether there was nothing a moment ago.
    ///
    /// After a `fence(SeqCst)` it sees every push whose pusher went through
    /// its own `fence(SeqCst)` earlier, which is what the worker's last look
    /// before it sleeps relies on.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed, as it is only compared; `drain` acquires.
        self.head.load(Ordering::Relaxed).is_null()
    }
}
