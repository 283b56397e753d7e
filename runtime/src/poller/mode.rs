//! What kind of descriptor a source has, and its `O_NONBLOCK` mode.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Direction, sys};

const UNKNOWN: u8 = 0;
/// A TCP connection or listener.
const TCP: u8 = 1;
/// Another socket of the internet, or a stream between processes.
const SOCKET: u8 = 2;
/// A socket of unix, or of a family unknown here, that is no stream: it sends
/// packets into the queue of another socket, and waits for room there.
const PACKETS: u8 = 3;
/// No socket at all.
const OTHER: u8 = 4;

/// Asks the kernel when first needed, and puts back what it changed.
///
/// Dropping it leaves a socket's mode as it is: listeners are shared with
/// other processes, which may be in the middle of an accept that must not
/// block. What is no socket, such as a terminal, is shared with programs that
/// expect to find it blocking.
pub(super) struct Mode {
    fd: RawFd,
    kind: AtomicU8,
    /// Set once the descriptor is known to be in `O_NONBLOCK` mode.
    nonblocking: AtomicBool,
    /// Whether it was put there by us. The lock makes one caller of several do
    /// it, or the second would take the first's change for the user's wish.
    changed: Mutex<bool>,
}

impl Mode {
    /// `fd` must stay open until the value is dropped.
    pub(super) fn new(fd: RawFd) -> Self {
        Self {
            fd,
            kind: AtomicU8::new(UNKNOWN),
            nonblocking: AtomicBool::new(false),
            changed: Mutex::new(false),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: whoever made `self` keeps the descriptor open for its life.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    #[inline]
    fn kind(&self) -> u8 {
        match self.kind.load(Ordering::Relaxed) {
            UNKNOWN => self.find_kind(),
            kind => kind,
        }
    }

    #[cold]
    fn find_kind(&self) -> u8 {
        let option = |option| sys::socket_option(self.fd(), option);
        let kind = match option(libc::SO_DOMAIN) {
            Ok(libc::AF_INET | libc::AF_INET6) => match option(libc::SO_PROTOCOL) {
                Ok(libc::IPPROTO_TCP) => TCP,
                _ => SOCKET,
            },
            Ok(libc::AF_UNIX) if matches!(option(libc::SO_TYPE), Ok(libc::SOCK_STREAM)) => SOCKET,
            Ok(_) => PACKETS,
            Err(_) => OTHER,
        };
        self.kind.store(kind, Ordering::Relaxed);
        kind
    }

    /// Whether `shutdown` ends what blocks in that direction inside the kernel.
    /// It does not reach the queue of another socket.
    #[inline]
    pub(super) fn heeds_shutdown(&self, direction: Direction) -> bool {
        match self.kind() {
            TCP | SOCKET => true,
            PACKETS => direction == Direction::In,
            _ => false,
        }
    }

    /// Whether a send is not to be left to an io_uring. Where that finds the queue
    /// of the other socket full, the packet that it sends in the end may be empty
    /// (seen on Linux 6.18).
    #[inline]
    pub(super) fn sends_packets(&self) -> bool {
        self.kind() == PACKETS
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.kind() == TCP
    }

    /// Makes sure that the descriptor is in `O_NONBLOCK` mode.
    #[inline]
    pub(super) fn make_nonblocking(&self) -> io::Result<()> {
        // Ordering: Relaxed, for the flag guards nothing but a system call
        // whose effect is in the kernel.
        if self.nonblocking.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.change()
    }

    #[cold]
    fn change(&self) -> io::Result<()> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.nonblocking.load(Ordering::Relaxed) {
            *changed = !sys::set_nonblocking(self.fd(), true)?;
            self.nonblocking.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Puts the descriptor back into the mode in which it came.
    pub(super) fn restore(&mut self) {
        let changed = self
            .changed
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(changed) {
            // It worked in the other direction, and there is nobody to tell.
            let _ = sys::set_nonblocking(self.fd(), false);
            *self.nonblocking.get_mut() = false;
        }
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if *self.kind.get_mut() == OTHER {
            self.restore();
        }
    }
}
