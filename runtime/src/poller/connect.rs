//! Connecting: the one operation that goes on in the kernel after the call.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockAddr;

use super::nap::nap;
use super::operate::{Call, in_time, pace, refusal};
use super::{Direction, Poller, op, source::Source, sys};
use crate::scheduler::wait::{self, Here, Wait};
use crate::time;

pub(super) fn connect(
    source: &Source,
    addr: &SockAddr,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let call = Call::new(Wait::Connect, Direction::Out).by_mode();
    let here = wait::here();
    match &here {
        // It may well succeed at once, again and again.
        Some(here) if addr.is_unix() || matches!(here.poller(), Poller::Epoll(_)) => pace(here),
        Some(_) => {}
        None => time::thread::unwind_if_due(),
    }
    let mut interrupted = false;
    let result = loop {
        if source.is_closed() {
            return refusal(call).map(drop);
        }
        let Err(error) = begin(source, here.as_ref(), call, addr, deadline) else {
            break Ok(());
        };
        match error.raw_os_error() {
            // A signal; or on a ring there was no room, or somebody meant
            // another source on a reused descriptor. Whether it goes on in the
            // kernel is told by another try only: a socket that does not connect
            // at all counts as writable, and has no error.
            Some(libc::EINTR | libc::ECANCELED) => {
                interrupted = true;
                if let Err(error) = in_time(deadline) {
                    break Err(error);
                }
            }
            Some(libc::EINPROGRESS) => break finish(source, call, deadline),
            Some(libc::EALREADY) if interrupted => break finish(source, call, deadline),
            Some(libc::EAGAIN) => {
                if let Err(error) = nap(here.as_ref(), call, deadline) {
                    break Err(error);
                }
            }
            _ => break Err(error),
        }
    };
    match result {
        Ok(()) => Ok(()),
        Err(error) => source.failed(call, error).map(drop),
    }
}

/// Has the kernel begin, and where it can be had, finish.
///
/// A unix socket is connected at once, or has to be tried again; see `nap.rs`.
fn begin(
    source: &Source,
    here: Option<&Here>,
    call: Call,
    addr: &SockAddr,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let (fd, at, len) = (source.as_raw_fd(), addr.as_ptr().cast(), addr.len());
    if let Some(here) = here
        && let Poller::Ring(ring) = here.poller()
        && !addr.is_unix()
    {
        let entry = opcode::Connect::new(Fd(fd), at, len).build();
        // SAFETY: the address is borrowed until the call returns.
        return match unsafe { ring.run(here, source, call.why, deadline, entry) } {
            op::TIMED_OUT => Err(io::ErrorKind::TimedOut.into()),
            failed @ ..0 => Err(io::Error::from_raw_os_error(-failed)),
            _ => Ok(()),
        };
    }
    let must_not_block =
        here.is_some() || time::thread::limit(deadline).is_some() || addr.is_unix();
    source.prepare(call, must_not_block)?;
    // SAFETY: the address is valid for so many bytes.
    unsafe { sys::connect(fd, at, len) }
}

/// It goes on in the kernel, which says how it ended once the socket is
/// writable.
fn finish(source: &Source, call: Call, deadline: Option<Instant>) -> io::Result<()> {
    source.wait_ready(call, deadline)?;
    match sys::socket_option(source.as_fd(), libc::SO_ERROR)? {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
