//! One worker's timers: a four-ary heap of deadlines whose entries lie in the
//! frames of the coroutines that wait, or of the calls that a deadline is to cut
//! short.
//!
//! An entry knows its place in the heap, so that a wait which ends early takes
//! its timer back at once: a timeout that does not fire leaves nothing behind.
//! New deadlines are mostly the latest, and for those both inserting and taking
//! back touch only the end of the heap.

use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;

use crate::coroutine::control::Control;
use crate::time::frame::Frame;

const ARITY: usize = 4;
const ABSENT: usize = usize::MAX;

/// A place in the heap, in a frame of the coroutine that the timer is for.
pub(crate) struct Timer {
    slot: Cell<usize>,
    /// Once it was inserted.
    target: Cell<Option<Target>>,
}

/// What happens when a timer fires.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A wait comes to its end.
    Waiter(NonNull<Control>),
    /// A call is cut short.
    Frame(NonNull<Frame>),
}

impl Timer {
    #[inline]
    pub(crate) fn new() -> Timer {
        Timer {
            slot: Cell::new(ABSENT),
            target: Cell::new(None),
        }
    }
}

/// The heap. Not `Sync`: its worker's alone.
pub(crate) struct Timers {
    heap: UnsafeCell<Vec<(u64, NonNull<Timer>)>>,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            heap: UnsafeCell::new(Vec::new()),
        }
    }

    /// Has the timer fire at `deadline`, ns on the worker's clock.
    ///
    /// # Safety
    ///
    /// `timer` is not in the heap, and neither moves nor goes away before it has
    /// been removed or has come out of [`Timers::pop_due`].
    pub(crate) unsafe fn insert(&self, timer: &Timer, deadline: u64, target: Target) {
        debug_assert_eq!(timer.slot.get(), ABSENT);
        timer.target.set(Some(target));
        // SAFETY: one thread, and no method calls out while it holds this.
        let heap = unsafe { &mut *self.heap.get() };
        heap.push((deadline, NonNull::from(timer)));
        let last = heap.len() - 1;
        sift_up(heap, last);
    }

    /// Takes the timer back; false if it has fired.
    pub(crate) fn remove(&self, timer: &Timer) -> bool {
        let at = timer.slot.get();
        if at == ABSENT {
            return false;
        }
        // SAFETY: as in `insert`.
        remove_at(unsafe { &mut *self.heap.get() }, at);
        true
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        // SAFETY: as in `insert`.
        unsafe { &*self.heap.get() }.first().map(|first| first.0)
    }

    /// Takes out a timer whose time has come; tells what is to happen.
    pub(crate) fn pop_due(&self, now: u64) -> Option<Target> {
        // SAFETY: as in `insert`.
        let heap = unsafe { &mut *self.heap.get() };
        let &(deadline, timer) = heap.first()?;
        if deadline > now {
            return None;
        }
        remove_at(heap, 0);
        // SAFETY: `insert`'s caller: the timer was in the heap until just now.
        unsafe { timer.as_ref() }.target.get()
    }
}

fn place(heap: &mut [(u64, NonNull<Timer>)], at: usize, entry: (u64, NonNull<Timer>)) {
    heap[at] = entry;
    // SAFETY: what is in the heap is alive (`Timers::insert`).
    unsafe { entry.1.as_ref() }.slot.set(at);
}

fn remove_at(heap: &mut Vec<(u64, NonNull<Timer>)>, at: usize) {
    // SAFETY: what is in the heap is alive (`Timers::insert`).
    unsafe { heap[at].1.as_ref() }.slot.set(ABSENT);
    let last = heap.pop().expect("the heap has the entry at `at`");
    if at < heap.len() {
        place(heap, at, last);
        let at = sift_up(heap, at);
        sift_down(heap, at);
    }
}

fn sift_up(heap: &mut [(u64, NonNull<Timer>)], mut at: usize) -> usize {
    let entry = heap[at];
    while at > 0 {
        let parent = (at - 1) / ARITY;
        if heap[parent].0 <= entry.0 {
            break;
        }
        let above = heap[parent];
        place(heap, at, above);
        at = parent;
    }
    place(heap, at, entry);
    at
}

fn sift_down(heap: &mut [(u64, NonNull<Timer>)], mut at: usize) {
    let entry = heap[at];
    loop {
        let first = at * ARITY + 1;
        let end = (first + ARITY).min(heap.len());
        let Some(least) = (first..end).min_by_key(|&child| heap[child].0) else {
            break;
        };
        if heap[least].0 >= entry.0 {
            break;
        }
        let below = heap[least];
        place(heap, at, below);
        at = least;
    }
    place(heap, at, entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_out_in_order_and_removed_ones_never() {
        let timers = Timers::new();
        let mut state = 7u64;
        let all: Vec<(Timer, u64)> = (0..1000)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (Timer::new(), state >> 40)
            })
            .collect();
        let nobody = Target::Waiter(NonNull::dangling());
        for (timer, deadline) in &all {
            // SAFETY: `all` is not touched again until the heap is empty.
            unsafe { timers.insert(timer, *deadline, nobody) };
        }
        let mut kept = Vec::new();
        for (i, (timer, deadline)) in all.iter().enumerate() {
            if i % 3 == 0 {
                assert!(timers.remove(timer));
                assert!(!timers.remove(timer));
            } else {
                kept.push(*deadline);
            }
        }
        kept.sort_unstable();
        for deadline in kept {
            assert_eq!(timers.next(), Some(deadline));
            assert!(deadline == 0 || timers.pop_due(deadline - 1).is_none());
            assert!(timers.pop_due(deadline).is_some());
        }
        assert!(timers.next().is_none());
    }
}
