//! The two verbs that everything is built on: park the current coroutine,
//! unpark that one.
//!
//! A coroutine only ever resumes on its home thread, so parking needs no
//! handshake with the switch: once `Token::prepare_park` has answered true,
//! whoever unparks puts the coroutine into its home's queues, and the home looks
//! at those only after the coroutine has switched away.
//!
//! Every wait is a loop over a condition of its own. A park may return for no
//! reason; what it never does is to stay when an unpark came after the
//! condition was looked at.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Instant;

use crate::coroutine::control::{Control, Ref};
use crate::coroutine::fiber::Order;
use crate::coroutine::outcome::{Unwinding, Why};
use crate::facade::Ordering;
use crate::poller::{Key, Poller};
use crate::scheduler::cancel::Asked;
use crate::scheduler::remote::{Remote, bump};
use crate::scheduler::timers::{Target, Timer};
use crate::scheduler::worker::Worker;
use crate::time::frame::Frames;

/// What a coroutine waits for, for a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Wait {
    Parked,
    Sleeping,
    Joining,
    Locking,
    Notified,
    Acquiring,
    Sending,
    Receiving,
    Selecting,
    Recv,
    Send,
    Accept,
    Connect,
    Readable,
    Writable,
    Read,
    Write,
}

impl Wait {
    pub(crate) fn describe(wait: u8) -> &'static str {
        const NAMES: [(Wait, &str); 17] = [
            (Wait::Parked, "park"),
            (Wait::Sleeping, "sleep"),
            (Wait::Joining, "join"),
            (Wait::Locking, "lock"),
            (Wait::Notified, "wait"),
            (Wait::Acquiring, "acquire"),
            (Wait::Sending, "send to a channel"),
            (Wait::Receiving, "receive from a channel"),
            (Wait::Selecting, "select"),
            (Wait::Recv, "recv"),
            (Wait::Send, "send"),
            (Wait::Accept, "accept"),
            (Wait::Connect, "connect"),
            (Wait::Readable, "readable"),
            (Wait::Writable, "writable"),
            (Wait::Read, "read"),
            (Wait::Write, "write"),
        ];
        NAMES
            .iter()
            .find(|(w, _)| *w as u8 == wait)
            .map_or("?", |(_, name)| name)
    }
}

/// Why a park came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// Unparked, or for no reason: look at the condition again.
    Unparked,
    /// The deadline has passed. It may have been unparked as well.
    TimedOut,
    /// The coroutine is to be unwound: wind up and call [`Here::unwind`].
    Cancelled,
}

thread_local! {
    /// The worker that this thread is, if it is one.
    static WORKER: Cell<*const Worker> = const { Cell::new(std::ptr::null()) };
}

/// The one way to the current worker. Never inlined: its address computation
/// must not be carried over a switch by the compiler, should a coroutine ever
/// be allowed to resume on another thread.
#[inline(never)]
pub(crate) fn worker() -> *const Worker {
    WORKER.get()
}

/// Makes `worker` the current thread's.
pub(crate) fn set_worker(worker: *const Worker) {
    WORKER.set(worker);
}

/// The coroutine that runs now and its worker.
///
/// Stays right for as long as the coroutine lives, as it never changes threads;
/// so it may be kept in frames of the coroutine, and nowhere else.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    worker: NonNull<Worker>,
    coroutine: NonNull<Control>,
    _this_thread: PhantomData<*const ()>,
}

/// `None` on a plain thread, and where a worker runs something between two
/// coroutines.
#[inline]
pub(crate) fn here() -> Option<Here> {
    let worker = NonNull::new(worker().cast_mut())?;
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    let coroutine = unsafe { worker.as_ref() }.running()?;
    Some(Here {
        worker,
        coroutine,
        _this_thread: PhantomData,
    })
}

impl Here {
    #[inline]
    pub(crate) fn worker(&self) -> &Worker {
        // SAFETY: the worker outlives its coroutines, and this is one's frame.
        unsafe { self.worker.as_ref() }
    }

    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: it runs, so it is alive.
        unsafe { self.coroutine.as_ref() }
    }

    pub(crate) fn coroutine(&self) -> NonNull<Control> {
        self.coroutine
    }

    /// A counted reference to the current coroutine.
    pub(crate) fn reference(&self) -> Ref {
        self.control().life.retain();
        // SAFETY: the reference just taken.
        unsafe { Ref::from_raw(self.coroutine) }
    }

    /// The worker's poller.
    #[inline]
    pub(crate) fn poller(&self) -> &Poller {
        &self.worker().poller
    }

    /// What the poller is to report for the worker to unpark this coroutine.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        Key::new(self.coroutine.cast())
    }

    /// Suspends until unparked, the deadline passes or the coroutine is to be
    /// unwound; may also return for no reason.
    #[inline]
    pub(crate) fn park(&self, why: Wait, deadline: Option<Instant>) -> Woken {
        if self.is_cancelled() {
            return Woken::Cancelled;
        }
        match deadline {
            None => self.suspend_parked(why),
            Some(deadline) => self.park_until(why, deadline),
        }
        .unwrap_or(Woken::Unparked)
    }

    /// Before the public `park`: if it will find a permit, now and then lets
    /// others run first. Before, since yielding may unwind, and the permit must
    /// not be lost.
    #[inline]
    pub(crate) fn make_way(&self) {
        if self.control().token.has_permit() && self.worker().is_too_eager() {
            self.yield_now();
        }
    }

    /// [`Here::park`] for those that cannot be unwound yet, as the kernel still
    /// holds a buffer of theirs: it waits though the coroutine is to be unwound,
    /// and may tell so.
    pub(crate) fn park_masked(&self, why: Wait) -> Woken {
        self.suspend_parked(why).unwrap_or(Woken::Unparked)
    }

    #[inline]
    fn suspend_parked(&self, why: Wait) -> Option<Woken> {
        let worker = self.worker();
        let control = self.control();
        // Where it lets others run without being parked, it does not do so by
        // `yield_now`, which may unwind: a park never does.
        if worker.chaos_strikes() {
            worker.push_ready(self.coroutine);
        } else if control.token.prepare_park() {
            control.wait.store(why as u8, Ordering::Relaxed);
            control.parks_at(worker.clock());
            bump(&worker.remote().counters.parks);
        } else if worker.is_too_eager() {
            worker.push_ready(self.coroutine);
        } else {
            return None;
        }
        let calm = !std::thread::panicking();
        let order = self.switch_away();
        if order == Order::GO || !self.may_unwind(calm) {
            None
        } else {
            Some(Woken::Cancelled)
        }
    }

    /// Suspends until somebody has taken the claim that the caller has opened:
    /// whoever it waits for, its deadline, or, unless `masked`, who unwinds it.
    /// [`Woken::Unparked`] stands for the first.
    #[inline]
    pub(crate) fn wait_claimed(&self, why: Wait, deadline: Option<Instant>, masked: bool) -> Woken {
        let control = self.control();
        if !masked && self.is_cancelled() && control.claim.take() {
            return Woken::Cancelled;
        }
        match deadline {
            None => self.suspend_claimed(why, masked),
            Some(deadline) => {
                let timer = Timer::new();
                // SAFETY: as in `park_until`.
                unsafe { self.set_timer(&timer, deadline) };
                let woken = self.suspend_claimed(why, masked);
                let fired = !self.worker().timers.remove(&timer);
                if woken == Woken::Unparked && fired {
                    Woken::TimedOut
                } else {
                    woken
                }
            }
        }
    }

    #[inline]
    fn suspend_claimed(&self, why: Wait, masked: bool) -> Woken {
        let worker = self.worker();
        let control = self.control();
        control.wait.store(why as u8, Ordering::Relaxed);
        control.parks_at(worker.clock());
        bump(&worker.remote().counters.parks);
        worker.not_eager();
        let calm = !std::thread::panicking();
        let order = self.switch_away();
        // Asked even if masked: what the worker noted holds for this suspension.
        if order == Order::GO || !self.may_unwind(calm) || masked {
            Woken::Unparked
        } else {
            Woken::Cancelled
        }
    }

    /// Sets a timer that wakes this coroutine.
    ///
    /// # Safety
    ///
    /// As for [`Timers::insert`](crate::scheduler::timers::Timers::insert).
    #[inline]
    unsafe fn set_timer(&self, timer: &Timer, deadline: Instant) {
        let worker = self.worker();
        let at = worker.shared.at(deadline);
        let target = Target::Waiter(self.coroutine);
        // SAFETY: the caller's promise.
        unsafe { worker.timers.insert(timer, at, target) };
    }

    fn park_until(&self, why: Wait, deadline: Instant) -> Option<Woken> {
        let timer = Timer::new();
        // SAFETY: removed below on every path; nothing in between unwinds, and
        // this frame stays where it is while the coroutine is suspended.
        unsafe { self.set_timer(&timer, deadline) };
        let woken = self.suspend_parked(why);
        let fired = !self.worker().timers.remove(&timer);
        if woken.is_none() && fired {
            Some(Woken::TimedOut)
        } else {
            woken
        }
    }

    /// Lets the others run that are ready.
    #[inline(always)]
    pub(crate) fn yield_now(&self) {
        if std::thread::panicking() {
            return self.yield_while_panicking();
        }
        self.worker().push_ready(self.coroutine);
        if self.switch_away() != Order::GO {
            self.yielded_into_the_end(true);
        }
    }

    /// Apart, so that which it was need not be kept over the switch.
    #[cold]
    fn yield_while_panicking(&self) {
        self.worker().push_ready(self.coroutine);
        if self.switch_away() != Order::GO {
            self.yielded_into_the_end(false);
        }
    }

    /// After what the coroutine might have had to wait for and had not, or has tried
    /// in vain: now and then lets others run, or one whose channel is never empty, or
    /// that tries again until it is not, would keep the worker to itself. Does not
    /// unwind, so what the caller has got is not lost.
    #[inline]
    pub(crate) fn give_way(&self) {
        if self.worker().is_too_eager() {
            self.worker().push_ready(self.coroutine);
            self.switch_away();
            // What the worker noted held for that suspension alone.
            self.control().calm.set(false);
        }
    }

    #[cold]
    fn yielded_into_the_end(&self, calm: bool) {
        if self.may_unwind(calm) {
            self.unwind();
        }
    }

    #[inline(always)]
    fn switch_away(&self) -> Order {
        let near = 0_u8;
        self.control().suspended_at.set(&raw const near);
        // SAFETY: `run_on` set it to the yielder of the stack that this is.
        unsafe { (*self.control().yielder.get()).suspend(()) }
    }

    /// Whether a park would return [`Woken::Cancelled`] at once.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        let is_due = self.worker().order() != Order::GO || self.control().due.get();
        is_due && self.may_unwind(!std::thread::panicking())
    }

    /// The same if its runtime stops but its worker may not have noticed yet.
    pub(crate) fn is_to_be_unwound(&self) -> bool {
        cfg!(panic = "unwind")
            && self.worker().shared.is_stopping()
            && self.may_unwind(!std::thread::panicking())
    }

    /// In a shutdown: whether this coroutine may be unwound now. Not while it is
    /// being unwound, by the shutdown or by a panic of its own: that would be a
    /// destructor that panics, and abort.
    ///
    /// The count of panics is the thread's. `calm`: it was zero when this
    /// coroutine last suspended, so that a panic that is under way now is
    /// another's. So it is if the worker has seen the thread calm in between.
    /// Where it cannot be told, the unwinding is put off until it has.
    ///
    /// Called after every resumption in a shutdown, before anything of the
    /// user's runs: what the worker noted holds for that one suspension.
    #[cold]
    fn may_unwind(&self, calm: bool) -> bool {
        let calm = self.control().calm.replace(false) || calm;
        if self.is_unwinding() {
            return false;
        }
        if !calm && std::thread::panicking() {
            self.worker().put_off_unwinding();
            return false;
        }
        true
    }

    /// For a wait that was told to unwind and has got what it waited for: whether
    /// it must unwind all the same, and drop that. With another's panic under way
    /// its next wait could not tell it from one of its own, and would be put off
    /// until that panic is over, which may be waiting for this very coroutine. Only
    /// in a shutdown: otherwise the coroutine may go on afterwards, and miss it.
    #[cold]
    pub(crate) fn is_last_chance(&self) -> bool {
        self.worker().order() != Order::GO && std::thread::panicking()
    }

    /// Whether a shutdown is unwinding this coroutine at this moment.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        self.control().unwinding.load(Ordering::Relaxed)
    }

    /// Unwinds this coroutine, without a word from the panic hook.
    #[cold]
    pub(crate) fn unwind(&self) -> ! {
        Unwinding::start(Some(self.reference()), self.take_reason())
    }

    /// The weightiest reason to unwind. Requests and deadlines are delivered
    /// once, a shutdown is for good.
    fn take_reason(&self) -> Why {
        let control = self.control();
        let shields = control.shields.get();
        if self.worker().order() != Order::GO {
            control.pending.set(false);
            return Why::Shutdown;
        }
        let why = if shields == 0 && control.pending.replace(false) {
            // Letters that are still on their way ask for no more than this.
            control.delivered.set(Asked::of(control).number());
            Why::Cancelled
        } else if let Some(frame) = self.frames().due(shields) {
            Why::Elapsed(frame.deliver())
        } else {
            // Of which its worker has yet to take notice.
            Why::Shutdown
        };
        self.settle();
        why
    }

    /// Works out anew whether there is a reason to unwind, other than a shutdown.
    pub(crate) fn settle(&self) {
        let control = self.control();
        let shields = control.shields.get();
        let asked = shields == 0 && control.pending.get();
        control
            .due
            .set(asked || self.frames().due(shields).is_some());
    }

    /// The deadlines that the coroutine is in.
    #[inline]
    pub(crate) fn frames(&self) -> &Frames {
        // SAFETY: it runs on this fiber to its end.
        unsafe { &(*self.control().fiber.get()).frames }
    }
}

/// [`Here::give_way`], for a coroutine.
#[inline]
pub(crate) fn give_way() {
    if let Some(here) = here() {
        here.give_way();
    }
}

/// Wakes a parked coroutine from any thread, or has its next park return at
/// once.
#[inline]
pub(crate) fn unpark(coroutine: NonNull<Control>) {
    // SAFETY: blocks are never unmapped. If this one has become another
    // coroutine's, that one gets a wake-up for no reason, which parks allow.
    if unsafe { coroutine.as_ref() }.token.unpark() {
        make_ready(coroutine);
    }
}

/// Has a suspended coroutine look again, whatever it waits for. On its home's
/// thread, for a coroutine that has started.
pub(crate) fn interrupt(coroutine: NonNull<Control>) {
    // SAFETY: blocks are never unmapped.
    if unsafe { coroutine.as_ref() }.claim.take() {
        make_ready(coroutine);
    } else {
        unpark(coroutine);
    }
}

/// The same, with a permit for the public `park`.
#[inline]
pub(crate) fn unpark_with_permit(coroutine: &Ref) {
    if coroutine.token.unpark_with_permit() {
        make_ready(coroutine.as_ptr());
    }
}

/// Puts a coroutine that the caller has unparked into its home's queues.
#[inline]
pub(crate) fn make_ready(coroutine: NonNull<Control>) {
    // SAFETY: it was parked, so it is alive until it has run again.
    let home: *const Remote = unsafe { coroutine.as_ref() }
        .home
        .load(Ordering::Relaxed)
        .cast();
    let worker = worker();
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    if let Some(worker) = unsafe { worker.as_ref() }
        && std::ptr::eq(worker.remote(), home)
    {
        worker.push_ready(coroutine);
    } else {
        // SAFETY: a coroutine's home is there as long as the coroutine, which
        // cannot go on before it is delivered.
        unsafe { Remote::deliver(home, coroutine) };
    }
}
