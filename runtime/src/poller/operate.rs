//! Which way an operation is carried out: by the worker's io_uring, by trying
//! and waiting for epoll, or by blocking the thread.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{Direction, Epoll, Poller, Ring, op, source::Source, sys, thread};
use crate::scheduler::wait::{self, Here, Wait};

/// What needs to be known about an operation to wait for it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) why: Wait,
    pub(super) direction: Direction,
    /// Those of the kernel's `MSG_` that the call has of its own.
    pub(super) flags: i32,
    /// The caller said `MSG_DONTWAIT`: "would block" is its answer.
    pub(super) nowait: bool,
    /// The system call knows no flag like `MSG_DONTWAIT`: only the mode of the
    /// descriptor keeps it from blocking.
    pub(super) by_mode: bool,
    /// The length of the buffer, where moving less than that tells that a TCP
    /// stream can move no more for now; else zero.
    pub(super) want: usize,
}

impl Call {
    #[inline]
    pub(super) fn new(why: Wait, direction: Direction) -> Self {
        Self {
            why,
            direction,
            flags: 0,
            nowait: false,
            by_mode: false,
            want: 0,
        }
    }

    #[inline]
    pub(super) fn by_mode(self) -> Self {
        Self {
            by_mode: true,
            ..self
        }
    }

    #[inline]
    pub(super) fn receive(flags: i32, len: usize) -> io::Result<Self> {
        if flags & (libc::MSG_WAITALL | libc::MSG_TRUNC) != 0 {
            return Err(refused(flags));
        }
        // The error queue and urgent data have no readiness of their own to wait
        // for, and must not use up that of the stream.
        let aside = flags & (libc::MSG_ERRQUEUE | libc::MSG_OOB) != 0;
        let flags = flags | if aside { libc::MSG_DONTWAIT } else { 0 };
        // What was only looked at is still there.
        let takes = !aside && flags & libc::MSG_PEEK == 0;
        Ok(Self {
            flags,
            nowait: flags & libc::MSG_DONTWAIT != 0,
            want: if takes { len } else { 0 },
            ..Self::new(Wait::Recv, Direction::In)
        })
    }

    #[inline]
    pub(super) fn send(flags: i32, len: usize) -> io::Result<Self> {
        if flags & (libc::MSG_WAITALL | libc::MSG_ZEROCOPY) != 0 {
            return Err(refused(flags));
        }
        Ok(Self {
            flags: flags | libc::MSG_NOSIGNAL,
            nowait: flags & libc::MSG_DONTWAIT != 0,
            want: len,
            ..Self::new(Wait::Send, Direction::Out)
        })
    }
}

#[cold]
fn refused(flags: i32) -> io::Error {
    let why = if flags & libc::MSG_WAITALL != 0 {
        "MSG_WAITALL is not supported on a source: call in a loop"
    } else if flags & libc::MSG_ZEROCOPY != 0 {
        "MSG_ZEROCOPY is not supported on a source: the buffer is only borrowed for the call"
    } else {
        "MSG_TRUNC is not supported on a source: the count would exceed the buffer"
    };
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl Source {
    /// Carries out one operation, given in the two forms that it has: the
    /// entry for an io_uring, and the system call, to which flags are added
    /// that keep it from blocking.
    ///
    /// # Safety
    ///
    /// The memory that both use must be valid, and not used otherwise, until
    /// this returns or unwinds.
    #[inline(always)]
    pub(super) unsafe fn operate(
        &self,
        call: Call,
        deadline: Option<Instant>,
        entry: impl Fn() -> squeue::Entry,
        attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_closed() {
            return refusal(call);
        }
        let result = match wait::here() {
            Some(here) => match here.poller() {
                Poller::Ring(ring)
                    if call.direction == Direction::Out && self.mode().sends_packets() =>
                {
                    self.try_beside_ring(ring, &here, call, deadline, attempt)
                }
                Poller::Ring(ring) => {
                    if call.by_mode {
                        self.introduce(ring, call);
                    }
                    loop {
                        // Not before: a close that did not find the source in
                        // the ring's book yet sends no further notice, nor does
                        // one that came while there was no room in the queue.
                        if self.is_closed() {
                            return refusal(call);
                        }
                        // SAFETY: the caller vouches for the entry's memory.
                        let result = unsafe { ring.run(&here, self, call.why, deadline, entry()) };
                        if result >= 0 {
                            return Ok(result as usize);
                        }
                        if let Err(error) = self.again(ring, &here, call, deadline, result) {
                            break Err(error);
                        }
                    }
                }
                Poller::Epoll(epoll) => {
                    self.operate_by_epoll(epoll, &here, call, deadline, attempt)
                }
            },
            None => self.operate_by_thread(call, deadline, attempt),
        };
        result.or_else(|error| self.failed(call, error))
    }

    #[inline]
    fn operate_by_epoll(
        &self,
        epoll: &Epoll,
        here: &Here,
        call: Call,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.prepare(call, true)?;
        epoll.operate(here, self, call, deadline, || attempt(libc::MSG_DONTWAIT))
    }

    fn operate_by_thread(
        &self,
        call: Call,
        deadline: Option<Instant>,
        attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        thread::within_timeouts(deadline, |deadline| {
            self.prepare(call, !thread::may_block(self, call, deadline))?;
            thread::operate(self, call, deadline, attempt)
        })
    }

    /// Carries out one operation by its system call, tried before it waits,
    /// whichever way the caller waits.
    pub(super) fn try_or_wait(
        &self,
        call: Call,
        deadline: Option<Instant>,
        attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_closed() {
            return refusal(call);
        }
        let result = match wait::here() {
            Some(here) => match here.poller() {
                Poller::Ring(ring) => self.try_beside_ring(ring, &here, call, deadline, attempt),
                Poller::Epoll(epoll) => {
                    self.operate_by_epoll(epoll, &here, call, deadline, attempt)
                }
            },
            None => self.operate_by_thread(call, deadline, attempt),
        };
        result.or_else(|error| self.failed(call, error))
    }

    fn try_beside_ring(
        &self,
        ring: &Ring,
        here: &Here,
        call: Call,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.prepare(call, true)?;
        self.introduce(ring, call);
        ring.pace(here);
        loop {
            match attempt(libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !call.nowait => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return result,
            }
            ring.is_patient();
            self.wait_on_ring(ring, here, call, deadline)?;
        }
    }

    /// Waits without doing anything.
    pub(super) fn wait_ready(&self, call: Call, deadline: Option<Instant>) -> io::Result<()> {
        if self.is_closed() {
            return refusal(call).map(drop);
        }
        let result = match wait::here() {
            Some(here) => match here.poller() {
                Poller::Ring(ring) => {
                    self.introduce(ring, call);
                    self.wait_on_ring(ring, &here, call, deadline)
                }
                Poller::Epoll(epoll) => epoll.wait_ready(&here, self, call, deadline),
            },
            None => thread::within_timeouts(deadline, |deadline| {
                thread::wait_ready(self, call, deadline)
            }),
        };
        match result {
            // A closed source counts as ready to the kernel.
            Ok(()) if !self.is_closed() => Ok(()),
            Ok(()) => refusal(call).map(drop),
            Err(error) => self.failed(call, error).map(drop),
        }
    }

    /// Sees to it that the system call of `call` does not block.
    #[inline]
    pub(super) fn prepare(&self, call: Call, must_not_block: bool) -> io::Result<()> {
        if call.by_mode && must_not_block {
            self.mode().make_nonblocking()?;
        }
        Ok(())
    }

    /// Closing a socket ends most of what the kernel does with it by itself; of
    /// everything else the ring must hear.
    #[inline]
    fn introduce(&self, ring: &Ring, call: Call) {
        if !self.mode().heeds_shutdown(call.direction) {
            ring.get_to_know(self.book());
        }
    }

    fn wait_on_ring(
        &self,
        ring: &Ring,
        here: &Here,
        call: Call,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        loop {
            if self.is_closed() {
                return Err(io::ErrorKind::NotConnected.into());
            }
            let events = sys::poll_events(call.direction) as u16;
            let entry = opcode::PollAdd::new(Fd(self.as_raw_fd()), u32::from(events)).build();
            // SAFETY: the entry uses no memory.
            let result = unsafe { ring.run(here, self, call.why, deadline, entry) };
            if result >= 0 {
                return Ok(());
            }
            if result == -libc::EAGAIN {
                here.yield_now();
            } else {
                self.again(ring, here, call, deadline, result)?;
            }
        }
    }

    /// What to make of an operation that failed: an error, or another try.
    #[cold]
    fn again(
        &self,
        ring: &Ring,
        here: &Here,
        call: Call,
        deadline: Option<Instant>,
        result: i32,
    ) -> io::Result<()> {
        match -result {
            // The descriptor is in O_NONBLOCK mode, which io_uring heeds.
            libc::EAGAIN if !call.nowait && !self.is_closed() => {
                self.wait_on_ring(ring, here, call, deadline)
            }
            // Nobody here wanted it to end: it was interrupted in the kernel's
            // own thread, somebody meant another source on a reused descriptor,
            // or there was no room for it (`op::NOT_DONE`).
            libc::EINTR | libc::ECANCELED if !self.is_closed() => in_time(deadline),
            _ if result == op::TIMED_OUT => Err(io::ErrorKind::TimedOut.into()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// A closed source fails in one way only, however the kernel puts it.
    #[cold]
    pub(super) fn failed(&self, call: Call, error: io::Error) -> io::Result<usize> {
        if self.is_closed() {
            refusal(call)
        } else {
            Err(error)
        }
    }
}

/// Comes before an operation that may not have to wait at all: lets others run
/// once in a while, and ends a coroutine that is to end.
pub(super) fn pace(here: &Here) {
    match here.poller() {
        Poller::Ring(ring) => ring.pace(here),
        Poller::Epoll(epoll) => epoll.pace(here),
    }
}

/// Whether there is another try to be made.
#[cold]
pub(super) fn in_time(deadline: Option<Instant>) -> io::Result<()> {
    if deadline.is_some_and(|at| at <= Instant::now()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

/// What a closed source answers: what std's sockets do after a shutdown.
#[cold]
pub(super) fn refusal(call: Call) -> io::Result<usize> {
    match call.why {
        Wait::Recv | Wait::Read => Ok(0),
        Wait::Send | Wait::Write => Err(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the source was closed: nothing can be sent any more",
        )),
        _ => Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "the source was closed: open a new one",
        )),
    }
}
