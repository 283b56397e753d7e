//! [`Source`]: a descriptor to wait on.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Instant;

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::{SockAddr, SockAddrStorage};

use super::book::Book;
use super::mode::Mode;
use super::operate::Call;
use super::{Direction, sys};
use crate::scheduler::wait::Wait;

/// A descriptor on which coroutines and threads wait: a socket, a pipe, an
/// eventfd, a terminal.
///
/// Every call suspends the calling coroutine, or blocks the calling thread
/// where there is none, until the kernel has done what was asked. Any number
/// of callers may use one source at once, from any worker of any runtime and
/// any thread: one may receive while another sends, several may accept. It
/// makes no difference whether the descriptor is in `O_NONBLOCK` mode.
///
/// # Deadlines
///
/// `None` waits for ever. A deadline that passes is an error of kind
/// [`TimedOut`](io::ErrorKind::TimedOut), and nothing was sent or received
/// then; one of the past still tries once. Signals do not end a wait. The
/// options `SO_RCVTIMEO` and `SO_SNDTIMEO` are not heeded.
///
/// # Cancellation
///
/// A coroutine that is to end while it waits here unwinds from the call, and
/// nothing was sent or received then. What the kernel had already done is
/// returned instead, and the next call that suspends unwinds; only while another
/// coroutine's panic is under way on the same worker does it unwind at once, and
/// what was received is lost with the coroutine.
///
/// # After `close`
///
/// [`recv`](Self::recv) and [`read`](Self::read) return `Ok(0)`,
/// [`send`](Self::send) and [`write`](Self::write) fail with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe), everything else fails with
/// [`NotConnected`](io::ErrorKind::NotConnected).
///
/// # Flags
///
/// Those of `recv(2)` and `send(2)`. `MSG_NOSIGNAL` is always added.
/// `MSG_DONTWAIT` makes [`WouldBlock`](io::ErrorKind::WouldBlock) an answer, and
/// receiving with `MSG_ERRQUEUE` or `MSG_OOB` implies it: there is no waiting
/// for those. Refused as [invalid](io::ErrorKind::InvalidInput) are
/// `MSG_WAITALL`: call in a loop; `MSG_TRUNC`, by which a receive counts more
/// than it has put into the buffer; and `MSG_ZEROCOPY`, by which the kernel reads
/// the buffer after the call.
///
/// # kTLS and sockmap
///
/// Under epoll a TCP stream that moves less than was asked for counts as drained,
/// or full, until the kernel announces more. That is not so where something in
/// the kernel sits between the stream and its user: kTLS (`TCP_ULP`), or a sockmap
/// of BPF. Such a stream can hang there. Use io_uring for it, or ask by
/// `MSG_DONTWAIT`, which does not go by what is remembered, before each call
/// that waits.
///
/// # Blocking mode
///
/// Where there is no other way not to block the worker, `accept`, `connect`,
/// `read` and `write` put the descriptor into `O_NONBLOCK` mode.
/// [`into_fd`](Self::into_fd) undoes that, and so does dropping a source that
/// is no socket; of several [clones](Self::try_clone) the last does it, so what
/// `into_fd` gives while others live is left in `O_NONBLOCK` mode. The mode
/// belongs to the open file, so it is seen through copies of the descriptor, too:
/// whoever clears it behind the back of a source may have its next `accept` block
/// the worker.
pub struct Source {
    // Dropped in the order of declaration: what goes by the descriptor's
    // number goes before the descriptor.
    book: Book,
    mode: Mode,
    closed: AtomicBool,
    /// Rung by `close` for threads that wait where `shutdown` does not reach.
    alarm: OnceLock<OwnedFd>,
    fd: OwnedFd,
}

impl Source {
    /// Takes over a descriptor. Makes no system call.
    pub fn new(fd: OwnedFd) -> Self {
        let mode = Mode::new(fd.as_raw_fd());
        Self::with_mode(fd, mode)
    }

    fn with_mode(fd: OwnedFd, mode: Mode) -> Self {
        Self {
            book: Book::new(fd.as_raw_fd()),
            mode,
            closed: AtomicBool::new(false),
            alarm: OnceLock::new(),
            fd,
        }
    }

    /// Receives bytes from a socket. Zero means that the peer has finished, or
    /// that `buf` is empty.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, and the deadline's.
    #[inline]
    pub fn recv(&self, buf: &mut [u8], flags: i32, deadline: Option<Instant>) -> io::Result<usize> {
        let call = Call::receive(flags, buf.len())?;
        let (fd, at, len) = (self.as_raw_fd(), buf.as_mut_ptr(), clamp(buf.len()));
        let entry = || {
            opcode::Recv::new(Fd(fd), at, len as u32)
                .flags(call.flags)
                .build()
        };
        // SAFETY: both use the buffer, which is borrowed for the whole call.
        unsafe {
            self.operate(call, deadline, entry, |more| {
                sys::recv(fd, at, len, call.flags | more)
            })
        }
    }

    /// Sends bytes to a socket; returns how many the kernel took.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`, and the deadline's.
    #[inline]
    pub fn send(&self, buf: &[u8], flags: i32, deadline: Option<Instant>) -> io::Result<usize> {
        let call = Call::send(flags, buf.len())?;
        let (fd, at, len) = (self.as_raw_fd(), buf.as_ptr(), clamp(buf.len()));
        let entry = || {
            opcode::Send::new(Fd(fd), at, len as u32)
                .flags(call.flags)
                .build()
        };
        // SAFETY: both use the buffer, which is borrowed for the whole call.
        unsafe {
            self.operate(call, deadline, entry, |more| {
                sys::send(fd, at, len, call.flags | more)
            })
        }
    }

    /// Reads from a pipe, an eventfd, a terminal: what is no socket. Zero
    /// means the end, or that `buf` is empty. A regular file is read at its
    /// current position, and blocks the worker where there is no io_uring.
    ///
    /// # Errors
    ///
    /// Those of `read(2)`, and the deadline's.
    pub fn read(&self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let call = Call::new(Wait::Read, Direction::In).by_mode();
        let (fd, at, len) = (self.as_raw_fd(), buf.as_mut_ptr(), clamp(buf.len()));
        let entry = || {
            opcode::Read::new(Fd(fd), at, len as u32)
                .offset(CURRENT_POSITION)
                .build()
        };
        // SAFETY: both use the buffer, which is borrowed for the whole call.
        unsafe { self.operate(call, deadline, entry, |_| sys::read(fd, at, len)) }
    }

    /// Writes to a pipe, an eventfd, a terminal; returns how many bytes were
    /// taken. A regular file is written at its current position, and blocks
    /// the worker where there is no io_uring.
    ///
    /// # Errors
    ///
    /// Those of `write(2)`, and the deadline's.
    pub fn write(&self, buf: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let call = Call::new(Wait::Write, Direction::Out).by_mode();
        let (fd, at, len) = (self.as_raw_fd(), buf.as_ptr(), clamp(buf.len()));
        let entry = || {
            opcode::Write::new(Fd(fd), at, len as u32)
                .offset(CURRENT_POSITION)
                .build()
        };
        // SAFETY: both use the buffer, which is borrowed for the whole call.
        unsafe { self.operate(call, deadline, entry, |_| sys::write(fd, at, len)) }
    }

    /// Accepts a connection on a listening socket. The new descriptor is
    /// close-on-exec and in blocking mode.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`, and the deadline's.
    pub fn accept(&self, deadline: Option<Instant>) -> io::Result<(OwnedFd, SockAddr)> {
        let call = Call::new(Wait::Accept, Direction::In).by_mode();
        let mut storage = SockAddrStorage::zeroed();
        let mut len = storage.size_of();
        let fd = self.as_raw_fd();
        let at = (&raw mut storage).cast::<libc::sockaddr>();
        let len_at = &raw mut len;
        // Not an operation of the ring, which would let in one a batch: a crowd
        // that comes to a busy server is let in at a system call each.
        let accepted = self.try_or_wait(call, deadline, |_| {
            // SAFETY: it uses the storage and its length, which live in this
            // frame.
            unsafe { sys::accept(fd, at, len_at) }
        })?;
        // SAFETY: the kernel just made this descriptor for us alone.
        let accepted = unsafe { OwnedFd::from_raw_fd(accepted as RawFd) };
        // SAFETY: the kernel has filled in so much of the address.
        Ok((accepted, unsafe { SockAddr::new(storage, len) }))
    }

    /// Connects a socket. A connection that was begun when the deadline passes
    /// goes on in the kernel: drop the source to end it.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)`, and the deadline's.
    pub fn connect(&self, addr: &SockAddr, deadline: Option<Instant>) -> io::Result<()> {
        super::connect::connect(self, addr, deadline)
    }

    /// Waits until a receive, a read or an accept would not block: there is
    /// data, the end, or an error. Somebody else may be quicker to take it.
    ///
    /// # Errors
    ///
    /// The deadline's.
    pub fn wait_readable(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.wait_ready(Call::new(Wait::Readable, Direction::In), deadline)
    }

    /// Waits until a send or a write would not block. Somebody else may be
    /// quicker to fill the room.
    ///
    /// # Errors
    ///
    /// The deadline's.
    pub fn wait_writable(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.wait_ready(Call::new(Wait::Writable, Direction::Out), deadline)
    }

    /// Ends whatever waits here, in any coroutine or thread, and every later
    /// call; see [above](Self#after-close) for what they answer. A socket is
    /// shut down both ways, which its peer and copies of the descriptor see,
    /// too. The descriptor itself is closed when the source is dropped.
    ///
    /// What has no `shutdown(2)` (sockets of unusual families) is only ended
    /// as far as it is waited for by epoll or is no socket at all.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // It fails for what is no socket, or was not connected: in the second
        // case it has woken everybody all the same.
        let _ = sys::shutdown(self.as_fd());
        self.book.announce_close();
        // Ordering: SeqCst between setting the flag and looking for the alarm;
        // `alarm` has the other half.
        fence(Ordering::SeqCst);
        if let Some(alarm) = self.alarm.get() {
            sys::ring(alarm.as_fd());
        }
    }

    /// Another source on the same open file, with a descriptor of its own.
    ///
    /// Each is closed by itself, though a socket's `shutdown` is felt by both.
    /// They share what is known of the [blocking mode](Self#blocking-mode), and
    /// so neither puts the file back into blocking mode under the other. A source
    /// on a copy of the descriptor that was made otherwise does not.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` where descriptors have run out.
    pub fn try_clone(&self) -> io::Result<Self> {
        let fd = self.fd.try_clone()?;
        let mode = self.mode.share(fd.as_raw_fd());
        Ok(Self::with_mode(fd, mode))
    }

    /// Gives the descriptor back, in the blocking mode in which it came; see
    /// [above](Self#blocking-mode) for one that has clones.
    pub fn into_fd(self) -> OwnedFd {
        let Self { book, mode, fd, .. } = self;
        drop(book);
        mode.restore();
        fd
    }

    #[inline]
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    #[inline]
    pub(super) fn mode(&self) -> &Mode {
        &self.mode
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A descriptor that becomes readable when the source is closed; for the
    /// caller to look at `is_closed` once more after this.
    pub(super) fn alarm(&self) -> io::Result<&OwnedFd> {
        if self.alarm.get().is_none() {
            // Losing the race against another thread is as good.
            let _ = self.alarm.set(sys::eventfd()?);
        }
        // Ordering: SeqCst between making the alarm and looking at the flag;
        // `close` has the other half. Either it finds the alarm, or the caller
        // finds the flag.
        fence(Ordering::SeqCst);
        Ok(self.alarm.get().expect("it was set just now"))
    }
}

/// An offset that io_uring takes for "where the file is at".
const CURRENT_POSITION: u64 = u64::MAX;

#[inline]
fn clamp(len: usize) -> usize {
    len.min(sys::MAX_LEN)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.as_raw_fd())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl AsFd for Source {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Source {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<OwnedFd> for Source {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}

impl From<Source> for OwnedFd {
    fn from(source: Source) -> Self {
        source.into_fd()
    }
}
