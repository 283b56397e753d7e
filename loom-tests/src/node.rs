//! What the models put into the queues.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::facade::{AtomicPtr, UnsafeCell};
use crate::scheduler::list::Linked;

/// Stands in for a coroutine. Its cell notices who touches it without being
/// entitled to: loom fails the model if two accesses are not ordered.
pub(crate) struct Node {
    pub(crate) id: usize,
    state: UnsafeCell<State>,
    link: AtomicPtr<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Sent,
    Taken,
}

// SAFETY: the cell is accessed only through `send` and `take`, whose order loom
// verifies at every access.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

// SAFETY: the models keep their nodes alive in an `Arc`, hand each to one queue
// at a time, and take it out in between.
unsafe impl Linked for Node {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

/// Nodes with the ids from 0 on, shared by all threads of a model.
pub(crate) fn nodes<const K: usize>() -> Arc<[Node; K]> {
    Arc::new(std::array::from_fn(|id| Node {
        id,
        state: UnsafeCell::new(State::Fresh),
        link: AtomicPtr::new(std::ptr::null_mut()),
    }))
}

impl Node {
    /// Writes to the node, as whoever is about to put it into a queue.
    pub(crate) fn send(&self) -> NonNull<Self> {
        self.change(State::Fresh, State::Sent);
        NonNull::from(self)
    }

    /// The same for a node that has been through a queue already.
    pub(crate) fn send_again(&self) -> NonNull<Self> {
        self.change(State::Taken, State::Sent);
        NonNull::from(self)
    }

    fn change(&self, from: State, to: State) {
        self.state.with_mut(|state| {
            // SAFETY: loom panics before this if another access is not ordered.
            let state = unsafe { &mut *state };
            assert_eq!(*state, from, "node {}", self.id);
            *state = to;
        });
    }
}

/// Takes a node that came out of a queue, and fails if it was taken before or
/// if what its sender wrote to it may not be visible. Returns its id.
pub(crate) fn take(node: NonNull<Node>) -> usize {
    // SAFETY: the model holds the `Arc` of its nodes to the end.
    let node = unsafe { node.as_ref() };
    node.change(State::Sent, State::Taken);
    node.id
}
