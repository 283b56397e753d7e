//! Waiting for what the kernel tells nobody of: room in the queue of a unix
//! socket to which the caller is not connected, be it a listener's or one of
//! datagrams. Such a queue is asked again and again.
//!
//! The kernel would wait by itself, in a system call that blocks, but would not
//! heed there that the source is closed. A poller that is asked when the source
//! is writable says "now", which is no news of the queue.

use std::io;
use std::time::{Duration, Instant};

use super::operate::{Call, pace, refusal};
use super::source::Source;
use crate::scheduler::wait::{self, Here, Woken};
use crate::{thread, time};

/// How long to leave a full queue alone; untuned.
const NAP: Duration = Duration::from_millis(1);

impl Source {
    /// Carries out one operation by its system call, tried until it does not
    /// block, whichever way the caller waits.
    pub(super) fn try_or_nap(
        &self,
        call: Call,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let here = wait::here();
        match &here {
            Some(here) => pace(here),
            None => time::thread::unwind_if_due(),
        }
        loop {
            if self.is_closed() {
                return refusal(call);
            }
            match attempt(libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !call.nowait => {
                    if let Err(error) = nap(here.as_ref(), call, deadline) {
                        return self.failed(call, error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.or_else(|error| self.failed(call, error)),
            }
        }
    }
}

/// Lets some time pass. An error if the deadline has passed before that.
#[cold]
pub(super) fn nap(here: Option<&Here>, call: Call, deadline: Option<Instant>) -> io::Result<()> {
    let now = Instant::now();
    let until = now + NAP;
    if deadline.is_some_and(|at| at <= now) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let until = deadline.map_or(until, |at| at.min(until));
    match here {
        None => thread::sleep_until(Some(until)),
        Some(here) => {
            if let Woken::Cancelled = here.park(call.why, Some(until)) {
                here.unwind();
            }
        }
    }
    Ok(())
}
