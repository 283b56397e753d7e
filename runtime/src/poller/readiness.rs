//! What an epoll poller remembers about one source, and who waits for it.
//!
//! epoll is edge-triggered here: it tells when something *becomes* possible.
//! Between edges the flags remember. They only ever err on the side of
//! "ready": an operation tries, is told "would block", clears the flag and
//! waits for the next edge. An edge between the try and the waiting cannot
//! slip through: edges are read by the worker's thread only, after the
//! coroutine has put itself on the list.

use std::cell::{Cell, RefCell};

use super::{Direction, Key};

pub(super) struct Readiness {
    incoming: Side,
    outgoing: Side,
    /// The peer has finished, or something is wrong: there is more to learn
    /// from a stream than its bytes, so a short read proves nothing.
    ending: Cell<bool>,
    /// epoll does not take it, as it is always ready: a regular file.
    always: bool,
    /// A TCP stream: a short read or write empties or fills the kernel's
    /// buffer, and the next edge is sure to come. Not so with kTLS or a sockmap,
    /// which can be switched on at any time, and are nowhere announced: the
    /// documentation of `Source` warns of them.
    stream: bool,
}

struct Side {
    ready: Cell<bool>,
    waiters: RefCell<Vec<Key>>,
}

impl Side {
    fn new() -> Self {
        Self {
            ready: Cell::new(true),
            waiters: RefCell::default(),
        }
    }
}

impl Readiness {
    pub(super) fn new(stream: bool, always: bool) -> Self {
        Self {
            incoming: Side::new(),
            outgoing: Side::new(),
            ending: Cell::new(false),
            always,
            stream,
        }
    }

    #[inline]
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::In => &self.incoming,
            Direction::Out => &self.outgoing,
        }
    }

    /// Whether an attempt may succeed.
    #[inline]
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        self.side(direction).ready.get()
    }

    pub(super) fn is_always_ready(&self) -> bool {
        self.always
    }

    /// An attempt would have blocked.
    #[inline]
    pub(super) fn exhausted(&self, direction: Direction) {
        self.side(direction).ready.set(self.always);
    }

    /// An attempt moved `got` bytes of the `wanted`.
    #[inline]
    pub(super) fn moved(&self, direction: Direction, got: usize, wanted: usize) {
        if got < wanted && self.stream && !self.ending.get() {
            self.side(direction).ready.set(false);
        }
    }

    /// An event arrived: whoever it concerns must look. Calls `ready` for each
    /// and returns how many there were; they are on the list no more.
    pub(super) fn edge(&self, events: u32, ready: &mut impl FnMut(Key)) -> usize {
        const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
        const ENDING: u32 = BROKEN | (libc::EPOLLRDHUP | libc::EPOLLPRI) as u32;
        const IN: u32 = ENDING | libc::EPOLLIN as u32;
        const OUT: u32 = BROKEN | libc::EPOLLOUT as u32;
        if events & ENDING != 0 {
            self.ending.set(true);
        }
        let mut count = 0;
        for (mask, side) in [(IN, &self.incoming), (OUT, &self.outgoing)] {
            if events & mask != 0 {
                side.ready.set(true);
                count += side.waiters.borrow_mut().drain(..).map(&mut *ready).count();
            }
        }
        count
    }

    /// Has everybody look again.
    pub(super) fn closed(&self, ready: &mut impl FnMut(Key)) -> usize {
        self.edge((libc::EPOLLHUP | libc::EPOLLERR) as u32, ready)
    }

    /// Puts a coroutine on the list, for as long as the guard lives or until
    /// the next edge.
    pub(super) fn enlist(&self, direction: Direction, key: Key) -> Enlisted<'_> {
        let side = self.side(direction);
        side.waiters.borrow_mut().push(key);
        Enlisted { side, key }
    }
}

/// A coroutine on the list; takes it off, so that no key outlives its wait.
pub(super) struct Enlisted<'a> {
    side: &'a Side,
    key: Key,
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        let mut waiters = self.side.waiters.borrow_mut();
        if let Some(at) = waiters.iter().position(|&key| key == self.key) {
            waiters.remove(at);
        }
    }
}
