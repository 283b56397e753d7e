//! The same operations for callers that are plain threads: they block.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use super::operate::Call;
use super::source::Source;
use super::sys;
use crate::time;

/// Calls `f` with the deadline to keep to: `deadline`, or that of a timeout that
/// the thread is in, which then unwinds it.
#[inline]
pub(super) fn within_timeouts<T>(
    deadline: Option<Instant>,
    f: impl FnOnce(Option<Instant>) -> io::Result<T>,
) -> io::Result<T> {
    time::thread::unwind_if_due();
    let result = f(time::thread::limit(deadline));
    if let Err(error) = &result
        && error.kind() == io::ErrorKind::TimedOut
    {
        time::thread::unwind_if_due();
    }
    result
}

/// Whether the system call can be left to block: a close reaches it there.
/// Everything else waits in `poll(2)`.
pub(super) fn may_block(source: &Source, call: Call, deadline: Option<Instant>) -> bool {
    deadline.is_none() && source.mode().heeds_shutdown(call.direction)
}

/// Carries out an operation. `attempt` is given flags to add: `MSG_DONTWAIT`
/// where it must not block.
#[inline]
pub(super) fn operate(
    source: &Source,
    call: Call,
    deadline: Option<Instant>,
    mut attempt: impl FnMut(i32) -> io::Result<usize>,
) -> io::Result<usize> {
    let flags = if may_block(source, call, deadline) {
        0
    } else {
        libc::MSG_DONTWAIT
    };
    loop {
        match attempt(flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !call.nowait => {
                wait_ready(source, call, deadline)?;
            }
            other => return other,
        }
        if source.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
    }
}

/// Blocks until the source is ready, the deadline passes, or it is closed.
pub(super) fn wait_ready(source: &Source, call: Call, deadline: Option<Instant>) -> io::Result<()> {
    let watched = sys::pollfd(source.as_fd(), call.direction);
    let ready = if source.mode().heeds_shutdown(call.direction) {
        sys::wait(&mut [watched], deadline)?
    } else {
        let alarm = libc::pollfd {
            fd: source.alarm()?.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // The alarm may have been made too late to be rung.
        source.is_closed() || sys::wait(&mut [watched, alarm], deadline)?
    };
    if source.is_closed() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    if ready {
        Ok(())
    } else {
        Err(io::ErrorKind::TimedOut.into())
    }
}
