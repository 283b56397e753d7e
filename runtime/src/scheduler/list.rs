//! A queue of coroutines threaded through the coroutines themselves: no
//! allocation, no capacity, and room for one link in every control block.
//!
//! It is what a drained inbox and a batch from the injector come as, and what
//! the injector holds under its lock.

use core::ptr::{self, NonNull};

use crate::facade::{AtomicPtr, Ordering};

/// Something that can be in one list at a time.
///
/// # Safety
///
/// Who implements it promises, for every `NonNull<Self>` that is ever handed
/// to a [`List`], a [`RunQueue`](super::run_queue::RunQueue), an [`Inbox`](super::inbox::Inbox) or an
/// [`Injector`](super::injector::Injector):
///
/// - from then until it has been taken out again it points to a live value
///   that may be shared between threads, and nobody holds `&mut` to it;
/// - it is not handed to a second one in that time, and nobody else touches
///   its link;
/// - whoever hands it over comes after whoever took it out before
///   (happens-before), as the link is only accessed `Relaxed`.
///
/// [`link`](Linked::link) returns the same field every time.
pub(crate) unsafe trait Linked: Sized {
    /// The link, which belongs to the list that the value is in.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// A first-in first-out queue, the plain property of whoever holds it.
///
/// It does not own what it links: dropping it leaves the values as they are.
pub(crate) struct List<T: Linked> {
    /// Null if and only if the list is empty.
    head: *mut T,
    /// Means nothing while the list is empty.
    tail: *mut T,
    len: usize,
}

// SAFETY: a list holds addresses and of the values only touches the links;
// `Linked` promises that these may be accessed from any thread, and are by
// nobody but the list's holder.
unsafe impl<T: Linked> Send for List<T> {}

impl<T: Linked> List<T> {
    /// An empty list.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            len: 0,
        }
    }

    /// Takes over a chain that is linked from its last to its first, as a
    /// stack is, and turns it round.
    ///
    /// # Safety
    ///
    /// `last` is null, or it and all that its link leads to, up to a null link,
    /// were handed over to be in this list and are in no other.
    pub(crate) unsafe fn from_last(last: *mut T) -> Self {
        let mut list = Self::new();
        list.tail = last;
        let mut node = last;
        // SAFETY: the caller promises that all of the chain are this list's, so
        // `Linked` promises that they are alive and their links ours.
        while let Some(live) = unsafe { node.as_ref() } {
            // Ordering: Relaxed here and below, the links are ours alone.
            let before = live.link().load(Ordering::Relaxed);
            live.link().store(list.head, Ordering::Relaxed);
            list.head = node;
            list.len += 1;
            node = before;
        }
        list
    }

    /// Adds a value at the end.
    #[inline]
    pub(crate) fn push_back(&mut self, node: NonNull<T>) {
        let node = node.as_ptr();
        if self.head.is_null() {
            self.head = node;
        } else {
            self.link_tail(node);
        }
        // The last link is never followed, so it is left as it is: a push
        // touches no cache line of the value pushed.
        self.tail = node;
        self.len += 1;
    }

    /// Removes the value at the front.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<NonNull<T>> {
        let node = NonNull::new(self.head)?;
        self.head = if self.head == self.tail {
            ptr::null_mut()
        } else {
            // SAFETY: the value is in this list, so `Linked` promises that it
            // is alive and its link ours; it is not the last, so the link was
            // set by this list.
            unsafe { node.as_ref() }.link().load(Ordering::Relaxed)
        };
        self.len -= 1;
        Some(node)
    }

    /// Moves all of `other` to the end.
    #[inline]
    pub(crate) fn append(&mut self, other: &mut Self) {
        if other.head.is_null() {
            return;
        }
        if self.head.is_null() {
            self.head = other.head;
        } else {
            self.link_tail(other.head);
        }
        self.tail = other.tail;
        self.len += other.len;
        other.head = ptr::null_mut();
        other.len = 0;
    }

    /// How many values there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    #[inline]
    fn link_tail(&mut self, next: *mut T) {
        // SAFETY: only called when the list is not empty, so `tail` is in it,
        // and `Linked` promises that it is alive and its link ours.
        let tail = unsafe { &*self.tail };
        tail.link().store(next, Ordering::Relaxed);
    }
}

impl<T: Linked> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}
