//! A worker's epoll instance, edge-triggered.
//!
//! A source is registered once with each worker that waits on it, for both
//! directions, and stays registered until it is dropped. Operations are plain
//! non-blocking system calls; only one that would block touches this file's
//! waiting part.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::book::ById;
use super::operate::Call;
use super::readiness::Readiness;
use super::remote::{Notice, Remote, Waker};
use super::source::Source;
use super::{Direction, Key, sys};
use crate::scheduler::wait::{Here, Wait, Woken};

/// The data of the eventfd's events; no source has this id.
const WAKE: u64 = 0;

/// After so many operations in a row that had no need to wait, a coroutine
/// lets others run; untuned.
pub(super) const BUDGET: u32 = 32;

const INTEREST: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET) as u32;

pub(crate) struct Epoll {
    remote: Arc<Remote>,
    sources: RefCell<ById<Rc<Readiness>>>,
    events: RefCell<Vec<libc::epoll_event>>,
    waiting: Cell<usize>,
    /// Operations since one last waited.
    streak: Cell<u32>,
    /// Whether the kernel has epoll_pwait2 (Linux 5.11): timeouts in ns.
    precise: Cell<bool>,
}

impl Epoll {
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let remote = Remote::new(Some(sys::epoll_create()?))?;
        let epoll = Self {
            remote,
            sources: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(entries.max(1) as usize)),
            waiting: Cell::new(0),
            streak: Cell::new(0),
            precise: Cell::new(true),
        };
        let wake = epoll.remote.wake_fd().as_raw_fd();
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        epoll.control(libc::EPOLL_CTL_ADD, wake, events, WAKE)?;
        Ok(epoll)
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.remote))
    }

    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.waiting.get() > 0 || self.remote.has_notices()
    }

    fn control(&self, operation: i32, fd: i32, events: u32, data: u64) -> io::Result<()> {
        let epoll = self.remote.epoll().expect("an epoll poller has an epoll");
        sys::epoll_ctl(epoll, operation, fd, events, data)
    }

    pub(super) fn poll(
        &self,
        timeout: Option<Duration>,
        ready: &mut impl FnMut(Key),
    ) -> io::Result<usize> {
        let mut count = 0;
        if self.remote.has_notices() {
            count += self.read_notices(ready);
        }
        let timeout = if count > 0 {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let mut events = self.events.borrow_mut();
        let sources = self.sources.borrow();
        events.clear();
        let capacity = events.capacity();
        let happened = self.wait(events.as_mut_ptr(), capacity, timeout)?;
        // SAFETY: the kernel has filled in so many, no more than the capacity.
        unsafe { events.set_len(happened) };
        for event in events.iter() {
            let (id, flags) = (event.u64, event.events);
            // What is not in the table is the eventfd, which has done its work,
            // or a source that is gone.
            if let Some(source) = sources.get(&id) {
                count += source.edge(flags, ready);
            }
        }
        Ok(count)
    }

    /// `events` must be valid for writes of `capacity` events.
    fn wait(
        &self,
        events: *mut libc::epoll_event,
        capacity: usize,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let epoll = self.remote.epoll().expect("an epoll poller has an epoll");
        let epoll = epoll.as_raw_fd();
        let capacity = capacity.min(i32::MAX as usize) as libc::c_int;
        let result = match timeout {
            Some(time) if !time.is_zero() && self.precise.get() => {
                let time = sys::timespec(time);
                // SAFETY: the arguments are those of epoll_pwait2(2), without a
                // signal mask; `events` and `time` outlive the call.
                unsafe {
                    libc::syscall(
                        libc::SYS_epoll_pwait2,
                        epoll,
                        events,
                        capacity,
                        &raw const time,
                        std::ptr::null::<libc::sigset_t>(),
                        0usize,
                    ) as libc::c_int
                }
            }
            coarse => {
                // Rounded up: a timer that is due in less than a millisecond
                // must not have the worker visit in a loop until it is.
                let milliseconds = coarse.map_or(-1, |time| {
                    let rounded = time.as_nanos().div_ceil(1_000_000);
                    rounded.min(i32::MAX as u128) as libc::c_int
                });
                // SAFETY: `events` outlives the call.
                unsafe { libc::epoll_wait(epoll, events, capacity, milliseconds) }
            }
        };
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(0),
            // EPERM: what a seccomp profile older than the call answers.
            Some(libc::ENOSYS | libc::EPERM) if self.precise.replace(false) => {
                self.wait(events, capacity as usize, timeout)
            }
            _ => Err(error),
        }
    }

    #[cold]
    fn read_notices(&self, ready: &mut impl FnMut(Key)) -> usize {
        let mut sources = self.sources.borrow_mut();
        let mut count = 0;
        for notice in self.remote.take_notices() {
            match notice {
                Notice::Forget { id } => {
                    sources.remove(&id);
                }
                Notice::Closed { id, .. } => {
                    count += sources.get(&id).map_or(0, |source| source.closed(ready));
                }
            }
        }
        count
    }

    /// What this poller remembers about the source, from now on if it did not.
    #[inline]
    fn readiness(&self, source: &Source) -> io::Result<Rc<Readiness>> {
        if let Some(known) = self.sources.borrow().get(&source.book().id()) {
            return Ok(Rc::clone(known));
        }
        self.register(source)
    }

    #[cold]
    fn register(&self, source: &Source) -> io::Result<Rc<Readiness>> {
        let id = source.book().id();
        let fd = source.as_raw_fd();
        let always = match self.control(libc::EPOLL_CTL_ADD, fd, INTEREST, id) {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::EPERM) => true,
                // Left over from a descriptor of the same number that was
                // closed behind its owner's back while a copy lived on.
                Some(libc::EEXIST) => {
                    self.control(libc::EPOLL_CTL_MOD, fd, INTEREST, id)?;
                    false
                }
                _ => return Err(error),
            },
        };
        let readiness = Rc::new(Readiness::new(source.mode().is_tcp(), always));
        let previous = self.sources.borrow_mut().insert(id, Rc::clone(&readiness));
        debug_assert!(previous.is_none(), "a source is registered once");
        source.book().enter(&self.remote);
        Ok(readiness)
    }

    /// Carries out an operation by trying it, waiting whenever it would block.
    #[inline]
    pub(super) fn operate(
        &self,
        here: &Here,
        source: &Source,
        call: Call,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.pace(here);
        let readiness = self.readiness(source)?;
        let mut late = false;
        loop {
            // A lowered flag may be of before an edge that the kernel has yet to
            // report: good enough to wait on, not to answer by.
            if call.nowait || late || readiness.is_ready(call.direction) {
                match attempt() {
                    Ok(got) => {
                        readiness.moved(call.direction, got, call.want);
                        return Ok(got);
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock if !call.nowait => {
                            readiness.exhausted(call.direction);
                        }
                        io::ErrorKind::Interrupted => continue,
                        _ => return Err(error),
                    },
                }
            }
            if late {
                return Err(io::ErrorKind::TimedOut.into());
            }
            late = self.suspend(here, source, &readiness, call, deadline)?;
        }
    }

    /// Waits until the kernel itself says that the source is ready: the flags
    /// here may be of before somebody read or wrote.
    pub(super) fn wait_ready(
        &self,
        here: &Here,
        source: &Source,
        call: Call,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        self.pace(here);
        let readiness = self.readiness(source)?;
        let mut late = false;
        loop {
            if late || readiness.is_ready(call.direction) {
                if readiness.is_always_ready() || sys::is_ready(source.as_fd(), call.direction)? {
                    return Ok(());
                }
                readiness.exhausted(call.direction);
            }
            if late {
                return Err(io::ErrorKind::TimedOut.into());
            }
            late = self.suspend(here, source, &readiness, call, deadline)?;
        }
    }

    /// Waits for the next edge. True if the deadline has passed: the caller
    /// looks for itself once more, since the timers of a busy worker may fire
    /// when it has yet to hear of an edge. An error if the source is closed.
    #[inline]
    fn suspend(
        &self,
        here: &Here,
        source: &Source,
        readiness: &Readiness,
        call: Call,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        if source.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if readiness.is_always_ready() {
            // It said "would block" against its nature; all that is left is
            // to ask again later.
            here.yield_now();
            return Ok(deadline.is_some_and(|at| at <= Instant::now()));
        }
        let woken = self.park_on(here, readiness, call.direction, call.why, deadline);
        match woken {
            Woken::Unparked => Ok(false),
            Woken::TimedOut => Ok(true),
            // Nothing is in flight with epoll, so there is nothing to wait out.
            Woken::Cancelled => here.unwind(),
        }
    }

    #[inline]
    fn park_on(
        &self,
        here: &Here,
        readiness: &Readiness,
        direction: Direction,
        why: Wait,
        deadline: Option<Instant>,
    ) -> Woken {
        self.streak.set(0);
        let _counted = Counted::new(&self.waiting);
        let _enlisted = readiness.enlist(direction, here.key());
        here.park(why, deadline)
    }

    /// Lets others run if IO has been ready for too long. Before the attempt,
    /// since yielding may unwind, and what was received must not be lost.
    #[inline]
    pub(super) fn pace(&self, here: &Here) {
        let streak = self.streak.get() + 1;
        self.streak.set(streak);
        if streak >= BUDGET || here.is_cancelled() {
            self.streak.set(0);
            here.yield_now();
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        debug_assert!(
            self.waiting() == 0 || std::thread::panicking(),
            "an epoll poller was dropped with {} coroutines waiting",
            self.waiting()
        );
    }
}

/// One more that waits, for as long as it lives.
struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
