//! The half of a poller that other threads reach.
//!
//! A poller belongs to one thread. What another thread may do to it is here:
//! end its sleep, and leave it a notice about a source. A [`Waker`] holds it
//! through an `Arc` and a source through a `Weak`, so both may outlive the
//! poller; what they then say is heard by nobody.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::sys;

/// Something that a poller must learn about a source that it knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// It was closed: whoever waits on it must look again. The number of the
    /// descriptor may mean something else by the time this is read.
    Closed { id: u64, fd: RawFd },
    /// It is gone.
    Forget { id: u64 },
}

/// Beyond so many unread notices a sleeping poller is woken to read them, or
/// an idle worker would keep them for ever.
const BACKLOG: usize = 1024;

pub(super) struct Remote {
    wake: OwnedFd,
    /// The epoll instance, where there is one: a source that goes away takes
    /// itself out from whatever thread that happens on.
    epoll: Option<OwnedFd>,
    notices: Mutex<Vec<Notice>>,
    /// Set when `notices` is not empty, so that a visit costs no lock.
    noticed: AtomicBool,
}

impl Remote {
    pub(super) fn new(epoll: Option<OwnedFd>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            wake: sys::eventfd()?,
            epoll,
            notices: Mutex::new(Vec::new()),
            noticed: AtomicBool::new(false),
        }))
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn epoll(&self) -> Option<BorrowedFd<'_>> {
        self.epoll.as_ref().map(AsFd::as_fd)
    }

    /// Ends the poller's present sleep, or else its next one.
    ///
    /// The counter is never read back: both pollers watch for its changes, not
    /// for its level.
    pub(super) fn wake(&self) {
        sys::ring(self.wake.as_fd());
    }

    pub(super) fn leave(&self, notice: Notice) {
        let backlog = {
            let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
            notices.push(notice);
            // Ordering: Relaxed, since the lock orders the list; a reader that
            // misses the flag now is woken, or sees it on a later visit.
            self.noticed.store(true, Ordering::Relaxed);
            notices.len()
        };
        if matches!(notice, Notice::Closed { .. }) || backlog.is_multiple_of(BACKLOG) {
            self.wake();
        }
    }

    #[inline]
    pub(super) fn has_notices(&self) -> bool {
        // Ordering: Relaxed, as said in `leave`.
        self.noticed.load(Ordering::Relaxed)
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        self.noticed.store(false, Ordering::Relaxed);
        std::mem::take(&mut *notices)
    }
}

/// Ends the sleep of one poller, from any thread, for as long as anybody
/// likes: once the poller is gone it does nothing.
#[derive(Clone)]
pub(crate) struct Waker(Arc<Remote>);

impl Waker {
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Self(remote)
    }

    #[cfg(test)]
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.wake_fd()
    }

    /// The poller's present sleep ends, or else its next one does.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}
