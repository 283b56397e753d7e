//! What kind of descriptor a source has, and its `O_NONBLOCK` mode.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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

/// What is known of the open file behind a descriptor, and was done to it. Asks
/// the kernel when first needed, and puts back what it changed.
///
/// The mode belongs to the open file, so the clones of a source share one of
/// these: what one of them puts back the others rely on, and so only the last
/// puts it back.
///
/// Dropping it leaves a socket's mode as it is: listeners are shared with
/// other processes, which may be in the middle of an accept that must not
/// block. What is no socket, such as a terminal, is shared with programs that
/// expect to find it blocking.
pub(super) struct Mode {
    /// Of this sharer alone.
    fd: RawFd,
    /// Beside the rest of the source, as every send looks at it.
    kind: AtomicU8,
    /// Whether it restores a socket's mode, too.
    restores: bool,
    /// Most connections need none.
    file: OnceLock<Arc<File>>,
}

struct File {
    /// Set once the file is known to be in `O_NONBLOCK` mode.
    nonblocking: AtomicBool,
    /// The lock makes one caller of several change the mode, or the second would
    /// take the first's change for the user's wish; and one sharer the last.
    state: Mutex<State>,
}

struct State {
    /// Whether the file was put into `O_NONBLOCK` mode by us.
    changed: bool,
    sharers: usize,
}

impl File {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            nonblocking: AtomicBool::new(false),
            state: Mutex::new(State {
                changed: false,
                sharers: 1,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mode {
    /// `fd` must stay open until the value is dropped.
    pub(super) fn new(fd: RawFd) -> Self {
        Self {
            fd,
            kind: AtomicU8::new(UNKNOWN),
            restores: false,
            file: OnceLock::new(),
        }
    }

    /// For a copy of the descriptor, which must stay open likewise.
    pub(super) fn share(&self, fd: RawFd) -> Self {
        self.file().state().sharers += 1;
        Self {
            fd,
            kind: AtomicU8::new(self.kind.load(Ordering::Relaxed)),
            restores: false,
            file: OnceLock::from(Arc::clone(self.file())),
        }
    }

    fn file(&self) -> &Arc<File> {
        self.file.get_or_init(File::new)
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
        match self.file.get() {
            Some(file) if file.nonblocking.load(Ordering::Relaxed) => Ok(()),
            _ => self.change(),
        }
    }

    #[cold]
    fn change(&self) -> io::Result<()> {
        let file = self.file();
        let mut state = file.state();
        if !file.nonblocking.load(Ordering::Relaxed) {
            state.changed = !sys::set_nonblocking(self.fd(), true)?;
            file.nonblocking.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Puts the file back into the mode in which it came, unless clones live.
    pub(super) fn restore(mut self) {
        self.restores = true;
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        let Some(file) = self.file.get() else {
            // Nothing was changed, and nothing shared.
            return;
        };
        let mut state = file.state();
        state.sharers -= 1;
        // The last may never have had to ask what it is.
        if state.sharers == 0 && state.changed && (self.restores || self.kind() == OTHER) {
            // It worked in the other direction, and there is nobody to tell.
            let _ = sys::set_nonblocking(self.fd(), false);
        }
    }
}
