//! What the tests put into the queues.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::scheduler::list::Linked;

/// Stands in for a coroutine.
pub(crate) struct Item {
    pub(crate) id: usize,
    taken: AtomicUsize,
    link: AtomicPtr<Item>,
}

// SAFETY: the tests keep their items alive to the end, hand each to one queue at
// a time, and take it out in between.
unsafe impl Linked for Item {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

pub(crate) fn items(count: usize) -> Vec<Item> {
    (0..count)
        .map(|id| Item {
            id,
            taken: AtomicUsize::new(0),
            link: AtomicPtr::new(ptr::null_mut()),
        })
        .collect()
}

/// Marks an item as taken and returns its id.
pub(crate) fn take(item: NonNull<Item>) -> usize {
    // SAFETY: the tests keep their items alive to the end.
    let item = unsafe { item.as_ref() };
    item.taken.fetch_add(1, Ordering::Relaxed);
    item.id
}

pub(crate) fn assert_each_taken_once(items: &[Item]) {
    for item in items {
        let taken = item.taken.load(Ordering::Relaxed);
        assert_eq!(taken, 1, "item {}", item.id);
    }
}
