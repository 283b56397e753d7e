use std::collections::VecDeque;
use std::ptr::NonNull;

use crate::items::{Item, items, take};
use crate::scheduler::list::List;
use crate::scheduler::run_queue::{LANES, RunQueue};
use crate::times;

/// A run queue beside a plain queue of what should be in it.
struct Pair<'a> {
    queue: RunQueue<Item>,
    ids: VecDeque<usize>,
    /// What is in neither.
    spare: Vec<&'a Item>,
}

impl<'a> Pair<'a> {
    fn new(items: &'a [Item]) -> Self {
        Self {
            queue: RunQueue::new(),
            ids: VecDeque::new(),
            spare: items.iter().collect(),
        }
    }

    fn push(&mut self) {
        if let Some(item) = self.spare.pop() {
            self.queue.push_back(NonNull::from(item));
            self.ids.push_back(item.id);
        }
    }

    fn append(&mut self, count: usize) {
        let mut list = List::new();
        for item in self.spare.drain(self.spare.len().saturating_sub(count)..) {
            list.push_back(NonNull::from(item));
            self.ids.push_back(item.id);
        }
        self.queue.append(&mut list);
        assert!(list.is_empty());
    }

    fn pop(&mut self, items: &'a [Item]) {
        let popped = self.queue.pop_front().map(take);
        assert_eq!(popped, self.ids.pop_front());
        self.spare.extend(popped.map(|id| &items[id]));
    }

    fn compare(&self) {
        assert_eq!(self.queue.len(), self.ids.len());
        assert_eq!(self.queue.is_empty(), self.ids.is_empty());
        for turns in 0..LANES.min(self.ids.len()) {
            let ahead = self.queue.ahead(turns);
            // SAFETY: the items live to the end of the test.
            assert_eq!(unsafe { ahead.as_ref() }.id, self.ids[turns]);
        }
    }
}

#[test]
fn a_run_queue_is_first_in_first_out_whatever_its_length() {
    let items = items(5 * LANES);
    let mut pair = Pair::new(&items);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..times(200_000) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // It is short at times, long at others, and empty now and then.
        match random % 64 {
            0 => pair.append((random >> 32) as usize % (3 * LANES)),
            1..=3 => (0..(random >> 32) as usize % (5 * LANES)).for_each(|_| pair.pop(&items)),
            4..=32 => pair.push(),
            _ => pair.pop(&items),
        }
        pair.compare();
    }
}

#[test]
#[should_panic(expected = "turns < self.len()")]
fn what_is_ahead_of_the_end_cannot_be_asked_for() {
    let items = items(1);
    let mut queue = RunQueue::new();
    queue.push_back(NonNull::from(&items[0]));
    queue.ahead(1);
}
