//! A worker's queue of coroutines that are ready, first come first served.
//!
//! With many coroutines the price of a turn is memory: the control block, the
//! switch and the stack of each have left the near caches since its last turn.
//! A plain linked list makes that worse, since the way to the next block leads
//! through this one. So the queue is dealt out over several lists in turn, like
//! cards to players:
//!
//! ```text
//!   lane 0:  a -> e -> i        popped: a b c d e f g h i j
//!   lane 1:  b -> f -> j
//!   lane 2:  c -> g             (drawn with four lanes)
//!   lane 3:  d -> h
//! ```
//!
//! The heads of the lanes are the next [`LANES`] coroutines, known without
//! a look at any of them, so that their memory can be fetched ahead of their
//! turns. The links are the blocks' own: nothing is allocated and there is
//! no capacity. A queue that is shorter than that touches no link at all.

use std::ptr::{self, NonNull};

use crate::facade::Ordering;
use crate::scheduler::list::{Linked, List};

/// A power of two.
pub(crate) const LANES: usize = 16;

/// Does not own what it links: dropping it leaves the values as they are.
pub(crate) struct RunQueue<T: Linked> {
    /// The first of each lane; means nothing where the queue does not reach.
    heads: [*mut T; LANES],
    /// The last of each lane, likewise.
    tails: [*mut T; LANES],
    /// How many have been popped, and pushed, since the queue was made. They
    /// wrap.
    popped: usize,
    pushed: usize,
}

impl<T: Linked> RunQueue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heads: [ptr::null_mut(); LANES],
            tails: [ptr::null_mut(); LANES],
            popped: 0,
            pushed: 0,
        }
    }

    /// Adds a value at the end.
    #[inline]
    pub(crate) fn push_back(&mut self, node: NonNull<T>) {
        let node = node.as_ptr();
        let lane = self.pushed % LANES;
        if self.len() < LANES {
            self.heads[lane] = node;
        } else {
            // SAFETY: the queue reaches round to this lane, so its last is in
            // the queue, and `Linked` promises that it is alive and its link ours.
            let last = unsafe { &*self.tails[lane] };
            // Ordering: Relaxed here and below, the links are ours alone.
            last.link().store(node, Ordering::Relaxed);
        }
        self.tails[lane] = node;
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// Removes the value at the front.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<NonNull<T>> {
        if self.is_empty() {
            return None;
        }
        let lane = self.popped % LANES;
        // SAFETY: the queue is not empty, so its front is the head of its lane.
        let node = unsafe { NonNull::new_unchecked(self.heads[lane]) };
        if self.len() > LANES {
            // SAFETY: the value is in this queue, so `Linked` promises that it
            // is alive and its link ours; it is not the last of its lane, so
            // the link was set by this queue.
            self.heads[lane] = unsafe { node.as_ref() }.link().load(Ordering::Relaxed);
        }
        self.popped = self.popped.wrapping_add(1);
        Some(node)
    }

    /// The one that is popped after `turns` others: fewer than there are lanes,
    /// and fewer than [`len`](Self::len).
    #[inline]
    pub(crate) fn ahead(&self, turns: usize) -> NonNull<T> {
        assert!(turns < LANES && turns < self.len());
        // SAFETY: the queue reaches that far, so the place is the head of its lane.
        unsafe { NonNull::new_unchecked(self.heads[self.popped.wrapping_add(turns) % LANES]) }
    }

    /// Moves all of `list` to the end.
    #[inline]
    pub(crate) fn append(&mut self, list: &mut List<T>) {
        while let Some(node) = list.pop_front() {
            self.push_back(node);
        }
    }

    /// How many values there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.pushed.wrapping_sub(self.popped)
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pushed == self.popped
    }
}
