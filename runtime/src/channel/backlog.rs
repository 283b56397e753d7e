//! Messages that were sent and not received yet: a list of blocks, so that a long
//! one grows without being copied, and gives its memory back.

use std::collections::{LinkedList, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a block takes at the most, in bytes and in messages. Untuned.
const BLOCK_BYTES: usize = 4096;
const BLOCK_MESSAGES: usize = 64;

pub(crate) struct Backlog<T> {
    first: VecDeque<T>,
    /// None is empty, and each keeps the capacity with which it came.
    later: LinkedList<VecDeque<T>>,
    len: usize,
}

/// Room for more messages, to be had before the lock of the channel is taken.
pub(crate) struct Block<T>(LinkedList<VecDeque<T>>);

impl<T> Block<T> {
    pub(crate) fn new() -> Self {
        let messages = (BLOCK_BYTES / size_of::<T>().max(1)).clamp(1, BLOCK_MESSAGES);
        Self(LinkedList::from([VecDeque::with_capacity(messages)]))
    }
}

impl<T> Backlog<T> {
    /// With room for so many messages.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            first: VecDeque::with_capacity(room),
            later: LinkedList::new(),
            len: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether a push needs no more memory.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let last = self.later.back().unwrap_or(&self.first);
        last.len() < last.capacity()
    }

    /// Adds room.
    pub(crate) fn extend(&mut self, mut block: Block<T>) {
        if self.len == 0 {
            if let Some(first) = block.0.pop_front() {
                self.first = first;
            }
        } else {
            self.later.append(&mut block.0);
        }
    }

    /// Adds the newest.
    #[inline]
    pub(crate) fn push(&mut self, message: T) {
        self.len += 1;
        let last = self.later.back_mut().unwrap_or(&mut self.first);
        last.push_back(message);
    }

    /// Puts one back that was popped.
    pub(crate) fn push_front(&mut self, message: T) {
        self.len += 1;
        self.first.push_front(message);
    }

    /// Takes out the oldest.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let message = self.first.pop_front()?;
        self.len -= 1;
        if self.first.is_empty() && !self.later.is_empty() {
            self.advance();
        }
        Some(message)
    }

    /// Drops the messages: all of them, though the destructor of one may unwind, as
    /// others wait to hear that theirs is gone. Goes on with the first that did.
    pub(crate) fn drop_messages(mut self) {
        let mut first = None;
        while let Some(message) = self.pop() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(message))) {
                match first {
                    None => first = Some(payload),
                    // Its own destructor might panic.
                    Some(_) => mem::forget(payload),
                }
            }
        }
        if let Some(payload) = first {
            resume_unwind(payload);
        }
    }

    #[cold]
    fn advance(&mut self) {
        if let Some(next) = self.later.pop_front() {
            self.first = next;
        }
    }
}
