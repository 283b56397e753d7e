//! The system calls of the poller, in terms of `io::Result`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::Direction;

/// The most that one read or write moves on Linux, and what fits a completion.
pub(super) const MAX_LEN: usize = 0x7fff_f000;

/// How many buffers one vectored call takes; more are left for the next.
pub(super) const MAX_BUFFERS: usize = libc::UIO_MAXIOV as usize;

#[inline]
fn count(result: libc::ssize_t) -> io::Result<usize> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}

#[inline]
fn status(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// # Safety
///
/// `buf` must be valid for writes of `len` bytes.
#[inline]
pub(super) unsafe fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: i32) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffer.
    count(unsafe { libc::recv(fd, buf.cast(), len, flags) })
}

/// # Safety
///
/// `buf` must be valid for reads of `len` bytes.
#[inline]
pub(super) unsafe fn send(fd: RawFd, buf: *const u8, len: usize, flags: i32) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffer.
    count(unsafe { libc::send(fd, buf.cast(), len, flags) })
}

/// # Safety
///
/// `msg` must be a message header all of whose parts are valid for writes.
#[inline]
pub(super) unsafe fn recvmsg(fd: RawFd, msg: *mut libc::msghdr, flags: i32) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message.
    count(unsafe { libc::recvmsg(fd, msg, flags) })
}

/// # Safety
///
/// `msg` must be a message header all of whose parts are valid for reads.
#[inline]
pub(super) unsafe fn sendmsg(fd: RawFd, msg: *const libc::msghdr, flags: i32) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message.
    count(unsafe { libc::sendmsg(fd, msg, flags) })
}

/// # Safety
///
/// `buf` must be valid for writes of `len` bytes.
#[inline]
pub(super) unsafe fn read(fd: RawFd, buf: *mut u8, len: usize) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffer.
    count(unsafe { libc::read(fd, buf.cast(), len) })
}

/// # Safety
///
/// `buf` must be valid for reads of `len` bytes.
#[inline]
pub(super) unsafe fn write(fd: RawFd, buf: *const u8, len: usize) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffer.
    count(unsafe { libc::write(fd, buf.cast(), len) })
}

/// Returns the accepted descriptor as a number: the caller owns it.
///
/// # Safety
///
/// `addr` must be valid for writes of `*len` bytes, and `len` for writes.
#[inline]
pub(super) unsafe fn accept(
    fd: RawFd,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> io::Result<usize> {
    // SAFETY: the caller vouches for the address.
    count(unsafe { libc::accept4(fd, addr, len, libc::SOCK_CLOEXEC) } as libc::ssize_t)
}

/// # Safety
///
/// `addr` must be valid for reads of `len` bytes.
pub(super) unsafe fn connect(
    fd: RawFd,
    addr: *const libc::sockaddr,
    len: libc::socklen_t,
) -> io::Result<()> {
    // SAFETY: the caller vouches for the address.
    status(unsafe { libc::connect(fd, addr, len) }).map(drop)
}

/// Shuts a socket down both ways; fails on what is no connected socket.
pub(super) fn shutdown(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers.
    status(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// An integer option of the socket level; an error on what is no socket.
pub(super) fn socket_option(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `len` are valid for writes and agree in size.
    status(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// Puts the descriptor into O_NONBLOCK mode or out of it; tells what it was.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<bool> {
    // SAFETY: plain numbers.
    let flags = status(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let was = flags & libc::O_NONBLOCK != 0;
    if was != on {
        // SAFETY: plain numbers.
        status(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags ^ libc::O_NONBLOCK) })?;
    }
    Ok(was)
}

/// An eventfd with its counter at zero.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = status(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd, whose readers are woken by that.
///
/// The counter is seldom or never read back; where it is full, it is emptied.
pub(super) fn ring(eventfd: BorrowedFd<'_>) {
    let (fd, one) = (eventfd.as_raw_fd(), 1u64.to_ne_bytes());
    // SAFETY: the buffer is eight bytes, as an eventfd wants.
    while let Err(error) = unsafe { write(fd, one.as_ptr(), one.len()) } {
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => {
                let mut counter = [0u8; 8];
                // SAFETY: the buffer is eight bytes, as an eventfd wants. Should
                // it fail, another thread was here first.
                let _ = unsafe { read(fd, counter.as_mut_ptr(), counter.len()) };
            }
            _ => return,
        }
    }
}

pub(super) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = status(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn epoll_ctl(
    epoll: BorrowedFd<'_>,
    operation: libc::c_int,
    fd: RawFd,
    events: u32,
    data: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` is valid for the call, which copies it.
    status(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
}

/// What `poll(2)` says about a descriptor right now.
pub(super) fn is_ready(fd: BorrowedFd<'_>, direction: Direction) -> io::Result<bool> {
    let mut fds = [pollfd(fd, direction)];
    wait(&mut fds, Some(Instant::now()))
}

pub(super) fn pollfd(fd: BorrowedFd<'_>, direction: Direction) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events: poll_events(direction),
        revents: 0,
    }
}

pub(super) const fn poll_events(direction: Direction) -> libc::c_short {
    match direction {
        Direction::In => libc::POLLIN | libc::POLLRDHUP,
        Direction::Out => libc::POLLOUT,
    }
}

/// Blocks the thread until one of the descriptors is ready or the deadline has
/// passed, whatever signals arrive; whether one is ready. A deadline of the
/// past still looks once.
pub(super) fn wait(fds: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let timeout = left
            .as_ref()
            .map_or(std::ptr::null(), |left| &raw const *left);
        // SAFETY: `fds` and `left` outlive the call, no signal mask is given.
        let result = status(unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                timeout,
                std::ptr::null(),
            )
        });
        match result {
            Ok(ready) => return Ok(ready > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Times beyond what the kernel can count become some thirty years.
pub(super) fn timespec(time: Duration) -> libc::timespec {
    let time = time.min(Duration::from_secs(1_000_000_000));
    libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos() as libc::c_long,
    }
}
