//! Which pollers know a source.
//!
//! A poller keeps something about a source from the first time that one of its
//! coroutines waits on it. The source keeps the other end of that: when it is
//! closed or goes away it tells all of them, from whatever thread it is on.
//! The lock is taken once per poller that gets to know the source, and at the
//! end of its life.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::remote::{Notice, Remote};
use super::sys;

/// Source of ids; zero is nobody.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A source's entry in the books of the pollers; tells them when it is dropped.
pub(super) struct Book {
    /// Never used twice in the life of the process, so that an event for a
    /// source that is gone can be told from one for its successor on the same
    /// descriptor.
    id: u64,
    fd: RawFd,
    /// Weak: a source that outlives a runtime must not keep the descriptors of
    /// its pollers open.
    known: Mutex<Vec<Weak<Remote>>>,
}

impl Book {
    /// `fd` must stay open until the book is dropped.
    pub(super) fn new(fd: RawFd) -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            fd,
            known: Mutex::new(Vec::new()),
        }
    }

    #[inline]
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// From now on `poller` hears what happens to the source.
    pub(super) fn enter(&self, poller: &Arc<Remote>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|poller| poller.strong_count() > 0);
        known.push(Arc::downgrade(poller));
    }

    /// Has every coroutine that waits on the source look again.
    ///
    /// One that entered its poller later than this takes the lock later, and
    /// so sees the flag that the caller set before.
    pub(super) fn announce_close(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for poller in known.iter().filter_map(Weak::upgrade) {
            poller.leave(Notice::Closed {
                id: self.id,
                fd: self.fd,
            });
        }
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        for poller in known.drain(..).filter_map(|poller| poller.upgrade()) {
            if let Some(epoll) = poller.epoll() {
                // It fails for what epoll never took: regular files.
                let _ = sys::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, self.fd, 0, 0);
            }
            poller.leave(Notice::Forget { id: self.id });
        }
    }
}

/// A table by source id.
pub(super) type ById<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

/// Ids are counted up, so one multiplication spreads them well enough.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
