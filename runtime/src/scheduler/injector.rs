//! Unstarted coroutines on their way from outside to whichever worker comes
//! first, and the overflow of full deques: an unbounded queue under a lock.
//!
//! A lock, because nothing on a spawn's usual path comes here; those who do
//! come bring or take many at once; and a worker that finds nothing, by far the
//! most frequent visit, finds it out from the length without the lock.

use core::ptr::NonNull;

use super::list::{Linked, List};
use crate::facade::{AtomicUsize, CachePadded, Mutex, Ordering};

/// The queue that all workers of a runtime share. It owns nothing of what lies
/// in it.
pub(crate) struct Injector<T: Linked> {
    list: Mutex<List<T>>,
    /// The list's length, written under the lock only. In a cache line of its
    /// own, as idle workers look at it while others hold the lock.
    len: CachePadded<AtomicUsize>,
}

impl<T: Linked> Injector<T> {
    /// An empty injector.
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::new(List::new()),
            len: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Adds one at the end.
    pub(crate) fn push(&self, node: NonNull<T>) {
        self.locked(|list| list.push_back(node));
    }

    /// Adds many at the end.
    pub(crate) fn append(&self, mut nodes: List<T>) {
        if !nodes.is_empty() {
            self.locked(|list| list.append(&mut nodes));
        }
    }

    /// Removes the oldest.
    pub(crate) fn pop(&self) -> Option<NonNull<T>> {
        if self.is_empty() {
            return None;
        }
        self.locked(List::pop_front)
    }

    /// Removes the oldest, `max` at most, in order.
    pub(crate) fn pop_batch(&self, max: usize) -> List<T> {
        let mut batch = List::new();
        if max == 0 || self.is_empty() {
            return batch;
        }
        self.locked(|list| {
            if list.len() <= max {
                batch.append(list);
            } else {
                for _ in 0..max {
                    let Some(node) = list.pop_front() else { break };
                    batch.push_back(node);
                }
            }
        });
        batch
    }

    /// How many there were a moment ago.
    pub(crate) fn len(&self) -> usize {
        // Ordering: Relaxed. It counts, the lock synchronises. A worker that
        // looks after a `fence(SeqCst)` sees the length stored by every push
        // whose pusher went through its own `fence(SeqCst)` earlier, or a later
        // one. As the lengths are stored under the lock, the last one stored is
        // the true one: a worker that announces its sleep, fences and looks,
        // and a pusher that pushes, fences and looks for sleepers, cannot both
        // miss the other.
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there was nothing a moment ago; see [`len`](Self::len) for what
    /// a worker about to sleep may conclude from it.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn locked<R>(&self, f: impl FnOnce(&mut List<T>) -> R) -> R {
        let mut list = match self.list.lock() {
            Ok(list) => list,
            // Nothing panics while it holds the lock, and no operation of a
            // list stops half way.
            Err(poisoned) => poisoned.into_inner(),
        };
        let result = f(&mut list);
        // Ordering: Relaxed, see `len`.
        self.len.store(list.len(), Ordering::Relaxed);
        drop(list);
        result
    }
}
