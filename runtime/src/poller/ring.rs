//! A worker's io_uring.
//!
//! Operations are queued in shared memory by the coroutines that want them and
//! go to the kernel in one system call, together with the worker's visit for
//! completions: one `io_uring_enter` for a whole batch of ready coroutines.
//! Completions are only posted while the worker is inside that call (the ring
//! is set up so wherever the kernel can), so nothing interrupts a running
//! coroutine.

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::book::{Book, ById};
use super::epoll::BUDGET;
use super::op::Op;
use super::remote::{Notice, Remote, Waker};
use super::{Key, setup, sys};
use crate::prefetch::prefetch;
use crate::scheduler::wait::Here;

/// The completion of the watch on the eventfd.
const WAKE: u64 = 0;
/// A completion that nobody waits for.
const NOBODY: u64 = 2;
/// Set in the address of an operation for its cancel.
const CANCEL: u64 = 1;

/// Completions that are taken out of their queue at once.
const BATCH: usize = 16;

/// What a completion's data says of whose it is.
#[inline]
fn record(data: u64) -> *const Op {
    std::ptr::with_exposed_provenance((data & !CANCEL) as usize)
}

pub(crate) struct Ring {
    uring: IoUring,
    remote: Arc<Remote>,
    /// Sources that told us to be told when they are closed.
    known: RefCell<ById<()>>,
    /// Completions that were taken out to make room while a coroutine ran, in
    /// order; the next visit deals with them.
    carried: RefCell<Vec<cqueue::Entry>>,
    /// Cancels that found the queue full: addresses of records that stay valid
    /// until their cancel is answered.
    cancels: RefCell<Vec<u64>>,
    waiting: Cell<usize>,
    /// Operations in a row that were tried and did not have to wait.
    eager: Cell<u32>,
    /// Whether the kernel watches the eventfd.
    armed: Cell<bool>,
    sleep_flags: EnterFlags,
    /// How often the kernel is to seem to take nothing from a full queue.
    #[cfg(test)]
    refusals: Cell<u32>,
    /// An io_uring of ours has one submitter, the thread that made it.
    thread: PhantomData<*const ()>,
}

impl Ring {
    /// Fails where the kernel, its settings or its age forbid a ring that can
    /// do all that is needed; nothing is left behind then.
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let uring = setup::ring(entries)?;
        let mut sleep_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if uring.params().is_feature_no_iowait() {
            // Sleeping in wait for a peer is no disk at work: an idle server
            // shall not look like a busy one.
            sleep_flags |= EnterFlags::NO_IOWAIT;
        }
        let ring = Self {
            uring,
            remote: Remote::new(None)?,
            known: RefCell::default(),
            carried: RefCell::default(),
            cancels: RefCell::default(),
            waiting: Cell::new(0),
            eager: Cell::new(0),
            armed: Cell::new(false),
            sleep_flags,
            #[cfg(test)]
            refusals: Cell::new(0),
            thread: PhantomData,
        };
        // The first visit shows whether io_uring_enter is allowed at all, and
        // puts the watch on the eventfd into place.
        ring.arm();
        ring.enter(ring.queued(), false, None)?;
        Ok(ring)
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
        // SAFETY: one thread, and no other view of the queue is alive.
        let queue = unsafe { self.uring.completion_shared() };
        !queue.is_empty() || self.must_enter() || self.has_leftovers()
    }

    /// Completions carried over, cancels and notices to send: seldom any.
    #[inline]
    fn has_leftovers(&self) -> bool {
        !self.carried.borrow().is_empty()
            || !self.cancels.borrow().is_empty()
            || self.remote.has_notices()
    }

    /// Whether the kernel has something to hear, or something to say that it
    /// only says in a system call.
    #[inline]
    fn must_enter(&self) -> bool {
        // SAFETY: one thread, and no other view of the queue is alive.
        let queue = unsafe { self.uring.submission_shared() };
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    #[inline]
    fn queued(&self) -> u32 {
        // SAFETY: one thread, and no other view of the queue is alive.
        unsafe { self.uring.submission_shared() }.len() as u32
    }

    /// Comes before an operation that is tried before it waits: once in a while,
    /// if none of them ever had to, the others get their turns.
    pub(super) fn pace(&self, here: &Here) {
        if here.is_cancelled() {
            here.unwind();
        }
        let eager = self.eager.get() + 1;
        self.eager.set(eager % BUDGET);
        if eager == BUDGET {
            here.yield_now();
        }
    }

    /// An operation that was tried has to wait.
    pub(super) fn is_patient(&self) {
        self.eager.set(0);
    }

    /// Queues an operation; true if it did. Where the queue is full it goes to
    /// the kernel now; where the kernel does not take it, other coroutines run,
    /// nothing is submitted, and the caller must look again at whatever it looked
    /// at before: a close may have come meanwhile, which knew of no operation to
    /// end. If this coroutine is to be unwound meanwhile, it is.
    ///
    /// # Safety
    ///
    /// The entry's memory and the record that it is marked with must stay
    /// valid until its completion was reported.
    #[inline]
    pub(super) unsafe fn submit(&self, here: &Here, entry: squeue::Entry) -> bool {
        // SAFETY: the caller vouches for the entry.
        let submitted = unsafe { self.push(&entry) || self.submit_to_full_queue(here, &entry) };
        self.waiting
            .set(self.waiting.get() + usize::from(submitted));
        submitted
    }

    /// # Safety
    ///
    /// As for [`Ring::submit`].
    #[inline]
    unsafe fn push(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: one thread, and no other view of the queue is alive; the
        // caller vouches for the entry.
        unsafe { self.uring.submission_shared().push(entry).is_ok() }
    }

    /// # Safety
    ///
    /// As for [`Ring::submit`].
    #[cold]
    unsafe fn submit_to_full_queue(&self, here: &Here, entry: &squeue::Entry) -> bool {
        while self.flush() {
            // SAFETY: the caller vouches for the entry.
            if unsafe { self.push(entry) } {
                return true;
            }
        }
        here.yield_now();
        false
    }

    /// Fills the queue with what does nothing, and has the kernel seem to take
    /// none of it `times` times.
    #[cfg(test)]
    pub(super) fn jam(&self, times: u32) {
        let entry = opcode::Nop::new().build().user_data(NOBODY);
        // SAFETY: the entry points to no memory.
        while unsafe { self.push(&entry) } {}
        self.refusals.set(times);
    }

    /// Sends what is queued to the kernel from inside a coroutine; whether it
    /// took some. A kernel that cannot for want of room is given some.
    fn flush(&self) -> bool {
        #[cfg(test)]
        if self.refusals.get() > 0 {
            self.refusals.set(self.refusals.get() - 1);
            return false;
        }
        let before = self.queued();
        if self.enter(before, false, None).is_err() {
            // SAFETY: one thread, and no other view of the queue is alive.
            let queue = unsafe { self.uring.completion_shared() };
            self.carried.borrow_mut().extend(queue);
        }
        self.queued() < before
    }

    /// Asks the kernel to end an operation that is in flight. The record stays
    /// valid until the answer: `Op` sees to that.
    pub(super) fn cancel(&self, op: &Op) {
        let address = (&raw const *op).expose_provenance() as u64;
        self.cancels.borrow_mut().push(address);
        self.send_cancels();
    }

    /// Queues what cancels there are, as far as the queue has room.
    fn send_cancels(&self) {
        let mut cancels = self.cancels.borrow_mut();
        while let Some(&address) = cancels.first() {
            let entry = opcode::AsyncCancel::new(address)
                .build()
                .user_data(address | CANCEL);
            // SAFETY: the entry points to no memory; the record is valid until
            // its cancel was reported.
            if unsafe { !self.push(&entry) } {
                return;
            }
            cancels.remove(0);
        }
    }

    /// Has the kernel watch the eventfd; false if the queue is full.
    fn arm(&self) -> bool {
        let entry =
            opcode::PollAdd::new(Fd(self.remote.wake_fd().as_raw_fd()), libc::POLLIN as u32)
                .multi(true)
                .build()
                .user_data(WAKE);
        // SAFETY: the entry points to no memory, and the eventfd is open as
        // long as the ring is.
        let armed = unsafe { self.push(&entry) };
        self.armed.set(armed);
        armed
    }

    /// Lets the ring hear of the source's end, for kinds of descriptors where
    /// closing does not by itself end what the kernel does with them.
    #[inline]
    pub(super) fn get_to_know(&self, book: &Book) {
        if !self.known.borrow().contains_key(&book.id()) {
            self.enter_in_book(book);
        }
    }

    #[cold]
    fn enter_in_book(&self, book: &Book) {
        self.known.borrow_mut().insert(book.id(), ());
        book.enter(&self.remote);
    }

    #[inline]
    pub(super) fn poll(
        &self,
        timeout: Option<Duration>,
        ready: &mut impl FnMut(Key),
    ) -> io::Result<usize> {
        let mut count = 0;
        let mut unsent = false;
        if !self.armed.get() || self.has_leftovers() {
            (count, unsent) = self.see_to_leftovers(ready);
        }
        // SAFETY: one thread, and no other view of the queue is alive.
        let reaped = unsafe { !self.uring.completion_shared().is_empty() };
        let sleep = !(reaped || unsent || count > 0 || timeout == Some(Duration::ZERO));
        if (sleep || self.must_enter())
            && let Err(error) = self.enter(self.queued(), sleep, timeout)
        {
            self.forgive(error, sleep)?;
        }
        Ok(count + self.reap(ready))
    }

    /// Reports each completion that the kernel has posted.
    #[inline]
    fn reap(&self, ready: &mut impl FnMut(Key)) -> usize {
        // SAFETY: one thread, and no other view of the queue is alive: `ready`
        // must not call into the poller.
        let mut queue = unsafe { self.uring.completion_shared() };
        let mut count = 0;
        let mut batch = [const { MaybeUninit::uninit() }; BATCH];
        loop {
            let batch = &*queue.fill(&mut batch);
            if batch.is_empty() {
                return count;
            }
            // With many operations in flight the records are in nobody's cache,
            // and what a coroutine will need only its record knows: fetch those
            // of the whole batch at once, then the rest.
            for completion in batch {
                prefetch(record(completion.user_data()));
            }
            for completion in batch {
                let data = completion.user_data();
                if !matches!(data, WAKE | NOBODY) {
                    // SAFETY: as in `report`, which is yet to come.
                    unsafe { &*record(data) }.prefetch();
                }
            }
            for completion in batch {
                count += usize::from(self.report(completion, ready));
            }
        }
    }

    /// Deals with one completion; whether it was somebody's.
    #[inline]
    fn report(&self, completion: &cqueue::Entry, ready: &mut impl FnMut(Key)) -> bool {
        let data = completion.user_data();
        if data == WAKE {
            if !cqueue::more(completion.flags()) {
                self.armed.set(false);
            }
            return false;
        }
        if data == NOBODY {
            return false;
        }
        // SAFETY: the frame that holds the record does not go on before it has
        // seen both this operation's completion and, if it asked for a cancel,
        // that one's too; each comes once. The frame is on this thread.
        let op = unsafe { &*record(data) };
        ready(if data & CANCEL == 0 {
            self.waiting.set(self.waiting.get() - 1);
            op.complete(completion.result())
        } else {
            op.complete_cancel(completion.result())
        });
        true
    }

    /// What a visit seldom has to do. Returns how many coroutines it reported
    /// and whether something still waits for room in the queue.
    #[cold]
    fn see_to_leftovers(&self, ready: &mut impl FnMut(Key)) -> (usize, bool) {
        let carried = std::mem::take(&mut *self.carried.borrow_mut());
        let count = carried
            .iter()
            .filter(|completion| self.report(completion, ready))
            .count();
        self.send_cancels();
        let mut unsent = !self.cancels.borrow().is_empty();
        for notice in self.remote.take_notices() {
            match notice {
                Notice::Forget { id } => {
                    self.known.borrow_mut().remove(&id);
                }
                Notice::Closed { fd, .. } => {
                    if !self.cancel_all_on(fd) {
                        unsent = true;
                        self.remote.leave(notice);
                    }
                }
            }
        }
        (count, unsent || !(self.armed.get() || self.arm()))
    }

    /// Ends whatever is in flight on a descriptor; false if the queue is full.
    /// Should the number mean another file by now, its operations find that
    /// nobody wanted them ended, and are submitted again.
    pub(super) fn cancel_all_on(&self, fd: RawFd) -> bool {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all())
            .build()
            .user_data(NOBODY);
        // SAFETY: the entry points to no memory.
        unsafe { self.push(&entry) }
    }

    /// The one system call: hands over `submit` entries, has the kernel post
    /// what it holds back, and if `sleep` waits for a completion.
    fn enter(&self, submit: u32, sleep: bool, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.uring.submitter();
        let time;
        let mut args = SubmitArgs::new();
        if let Some(timeout) = timeout
            && sleep
        {
            let limit = sys::timespec(timeout);
            time = Timespec::new()
                .sec(limit.tv_sec as u64)
                .nsec(limit.tv_nsec as u32);
            args = args.timespec(&time);
        }
        // SAFETY: the arguments are of the form that the flags promise and
        // live until the call returns; the entries are sound by the contract
        // of `submit`.
        let entered = unsafe {
            if sleep {
                submitter.enter(submit, 1, self.sleep_flags.bits(), Some(&args))
            } else {
                let flags = EnterFlags::GETEVENTS.bits();
                submitter.enter::<libc::sigset_t>(submit, 0, flags, None)
            }
        };
        entered.map(drop)
    }

    /// Of the errors of a visit only those matter that will come again: the
    /// queue is intact, and what was not taken goes with the next visit.
    #[cold]
    fn forgive(&self, error: io::Error, sleep: bool) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME) => Ok(()),
            // No memory for a request, or no room for completions: those are
            // taken out next. A worker with nothing else to do waits a little.
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                if sleep {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
            Some(libc::EBADR) => {
                log::error!(
                    "the kernel ran out of memory and lost completions of io_uring: \
                     the coroutines that wait for them will wait for ever"
                );
                Ok(())
            }
            _ => Err(error),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        debug_assert!(
            self.waiting() == 0 || std::thread::panicking(),
            "an io_uring was dropped with {} operations in flight",
            self.waiting()
        );
    }
}
