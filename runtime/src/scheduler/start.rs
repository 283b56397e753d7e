//! How a coroutine gets its stack, and how it ends.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::coroutine::control::{Control, Phase, Ref, Waiter};
use crate::coroutine::exits::{Callback, JoinState};
use crate::coroutine::fiber::{Fiber, Order, Yielder};
use crate::coroutine::life::Finish;
use crate::coroutine::outcome::{JoinError, Unwinding};
use crate::coroutine::stack::StackPool;
use crate::facade::Ordering;
use crate::scheduler::cancel::Asked;
use crate::scheduler::remote::{Remote, bump};
use crate::scheduler::wait;
use crate::scheduler::worker::Worker;

/// Idle fibers that a worker keeps however long it has been idle. Untuned.
const KEEP: usize = 64;

/// A worker's fibers that run nothing, the most recently used last.
pub(crate) struct Fibers {
    /// With stacks of the default size.
    idle: UnsafeCell<Vec<NonNull<Fiber>>>,
    /// With other sizes, as bytes asked for.
    odd: UnsafeCell<Vec<(u32, NonNull<Fiber>)>>,
    /// Handed to a new fiber's body, so that it knows itself.
    newest: Cell<Option<NonNull<Fiber>>>,
    /// The one on which the closures of those are dropped that cannot start, so
    /// that destructors may wait where there are no stacks.
    reserve: Cell<Option<NonNull<Fiber>>>,
    /// Those that cannot start, and why not, while the reserve is in use.
    refused: UnsafeCell<VecDeque<(NonNull<Control>, io::Error)>>,
    reserve_is_busy: Cell<bool>,
}

impl Fibers {
    pub(crate) fn new() -> Fibers {
        Fibers {
            idle: UnsafeCell::new(Vec::new()),
            odd: UnsafeCell::new(Vec::new()),
            newest: Cell::new(None),
            reserve: Cell::new(None),
            refused: UnsafeCell::new(VecDeque::new()),
            reserve_is_busy: Cell::new(false),
        }
    }

    #[inline]
    fn give(&self, size: u32, fiber: NonNull<Fiber>) {
        if size == 0 {
            // SAFETY: one thread, and nothing here calls out while it holds
            // the reference.
            unsafe { &mut *self.idle.get() }.push(fiber);
        } else {
            // SAFETY: as above.
            unsafe { &mut *self.odd.get() }.push((size, fiber));
        }
    }

    #[inline]
    fn take(&self, size: u32) -> Option<NonNull<Fiber>> {
        if size == 0 {
            // SAFETY: as in `give`.
            return unsafe { &mut *self.idle.get() }.pop();
        }
        // SAFETY: as in `give`.
        let odd = unsafe { &mut *self.odd.get() };
        let at = odd.iter().rposition(|&(s, _)| s == size)?;
        Some(odd.swap_remove(at).1)
    }

    /// Whether some could not start and have not been ended for it yet.
    #[inline]
    pub(crate) fn has_refused(&self) -> bool {
        // SAFETY: as in `give`.
        unsafe { !(*self.refused.get()).is_empty() }
    }

    /// Gives up those that have not been ended: they may be had a stack again.
    #[cold]
    pub(crate) fn take_refused(&self, mut f: impl FnMut(NonNull<Control>)) {
        while let Some((coroutine, _)) = self.next_refused() {
            f(coroutine);
        }
    }

    fn next_refused(&self) -> Option<(NonNull<Control>, io::Error)> {
        // SAFETY: as in `give`.
        unsafe { &mut *self.refused.get() }.pop_front()
    }

    /// Idle ones with stacks of the default size.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: as in `give`.
        unsafe { (*self.idle.get()).len() }
    }

    /// Whether there are more than are worth keeping through a quiet time.
    pub(crate) fn has_surplus(&self) -> bool {
        // SAFETY: as in `give`.
        unsafe { (*self.idle.get()).len() > KEEP || (*self.odd.get()).len() > KEEP }
    }

    /// Ends up to `most` idle fibers of each kind, the least recently used first,
    /// and gives their stacks back.
    pub(crate) fn trim(&self, pool: &StackPool, most: usize) {
        let mut ended = Vec::with_capacity(most.min(1024));
        // SAFETY: as in `give`; the fibers end below, after the borrows.
        unsafe {
            let idle = &mut *self.idle.get();
            let n = idle.len().min(most);
            ended.extend(idle.drain(..n));
            let odd = &mut *self.odd.get();
            let n = odd.len().min(most);
            ended.extend(odd.drain(..n).map(|(_, fiber)| fiber));
        }
        // One call for many: neighbours go back to the system together.
        pool.release_many(ended.into_iter().map(|fiber| {
            // SAFETY: an idle fiber of this thread, in no list any more.
            unsafe {
                fiber.as_ref().resume(Order::EXIT);
                Fiber::into_stack(fiber)
            }
        }));
    }
}

impl Worker {
    /// Runs an unstarted coroutine until it suspends or ends (and perhaps
    /// others after it, on the same stack).
    #[inline]
    pub(crate) fn start(&self, coroutine: NonNull<Control>) {
        // SAFETY: queued, so alive.
        let size = unsafe { coroutine.as_ref() }.stack_size.get();
        let fiber = match self.fibers.take(size) {
            Some(fiber) => fiber,
            None => match self.new_fiber(size) {
                Ok(fiber) => fiber,
                Err(e) => return self.could_not_start(coroutine, size, e),
            },
        };
        self.show_stacks();
        // SAFETY: an idle or new fiber of this thread.
        unsafe { fiber.as_ref().resume(Order::run(coroutine)) };
        // It may have suspended.
        self.set_running(None);
    }

    #[cold]
    fn new_fiber(&self, size: u32) -> io::Result<NonNull<Fiber>> {
        let bytes = if size == 0 {
            self.shared.config.stack_size
        } else {
            size as usize
        };
        let fiber = self.make_fiber(bytes, move |worker, yielder, first| {
            worker.fiber_body(size, yielder, first);
        })?;
        self.fibers.newest.set(Some(fiber));
        Ok(fiber)
    }

    fn make_fiber(
        &self,
        stack_size: usize,
        body: impl FnOnce(&Worker, &Yielder, Order) + 'static,
    ) -> io::Result<NonNull<Fiber>> {
        let stack = self.shared.stacks.allocate(stack_size)?;
        let worker: *const Worker = self;
        let fiber = Fiber::new(stack, move |yielder, first| {
            // SAFETY: fibers run on their worker's thread only and end before
            // the worker does.
            body(unsafe { &*worker }, yielder, first);
        });
        Ok(fiber)
    }

    /// Puts a stack by for those that cannot start. The worker must not move
    /// from here on.
    pub(crate) fn make_reserve(&self) -> io::Result<()> {
        let bytes = self.shared.config.stack_size;
        let fiber = self.make_fiber(bytes, Worker::reserve_body)?;
        self.fibers.reserve.set(Some(fiber));
        Ok(())
    }

    /// At the worker's end.
    pub(crate) fn drop_reserve(&self) {
        if let Some(fiber) = self.fibers.reserve.take() {
            // SAFETY: no coroutine is left, so it is idle, or never ran, and it is
            // in no list any more.
            drop(unsafe {
                fiber.as_ref().resume(Order::EXIT);
                Fiber::into_stack(fiber)
            });
        }
    }

    /// Ends one coroutine after another that cannot start.
    fn reserve_body(&self, yielder: &Yielder, first: Order) {
        let mut order = first;
        while order != Order::EXIT {
            let me = self.fibers.reserve.get().expect("it runs on it");
            while let Some((coroutine, why)) = self.fibers.next_refused() {
                self.run_on(coroutine, yielder, me, |control| {
                    // As a coroutine that is being unwound: a shutdown does not
                    // cut its destructors short.
                    control.unwinding.store(true, Ordering::Relaxed);
                    // SAFETY: just taken from its queue, never run.
                    unsafe { control.abandon(JoinError::NotStarted(why)) };
                });
            }
            self.fibers.reserve_is_busy.set(false);
            order = yielder.suspend(());
        }
    }

    /// A coroutine has no stack to start on: it ends on the reserve, now or when
    /// that is free again.
    fn refuse(&self, coroutine: NonNull<Control>, why: io::Error) {
        // SAFETY: as in `Fibers::give`.
        unsafe { &mut *self.fibers.refused.get() }.push_back((coroutine, why));
        if !self.fibers.reserve_is_busy.replace(true) {
            let reserve = self.fibers.reserve.get().expect("it is there to the end");
            // SAFETY: a fiber of this thread that is idle or new; this is the
            // worker's own stack.
            unsafe { reserve.as_ref().resume(Order::run(coroutine)) };
            self.set_running(None);
        }
    }

    /// One coroutine after another, for as long as the stack lives.
    fn fiber_body(&self, size: u32, yielder: &Yielder, first: Order) {
        let me = self
            .fibers
            .newest
            .get()
            .expect("set just before the first resume");
        let mut order = first;
        while let Some(coroutine) = order.coroutine() {
            self.run_here(coroutine, yielder, me);
            order = match self.next_for_this_stack(size) {
                Some(next) => Order::run(next),
                None => {
                    self.fibers.give(size, me);
                    self.show_stacks();
                    yielder.suspend(())
                }
            };
        }
    }

    #[inline]
    fn run_here(&self, coroutine: NonNull<Control>, yielder: &Yielder, me: NonNull<Fiber>) {
        self.run_on(coroutine, yielder, me, |control| {
            // SAFETY: just taken from its queue by this worker, on its own stack.
            unsafe {
                if !self.is_stopping() && Asked::of(control).count() == 0 {
                    control.run();
                } else {
                    // As a coroutine that is being unwound, so that the closure's
                    // destructors may wait.
                    control.unwinding.store(true, Ordering::Relaxed);
                    control.abandon(JoinError::Cancelled);
                }
            }
        });
    }

    /// From a coroutine's first moment to its last. `body` is to leave the
    /// outcome, and does not unwind.
    #[inline]
    fn run_on(
        &self,
        coroutine: NonNull<Control>,
        yielder: &Yielder,
        me: NonNull<Fiber>,
        body: impl FnOnce(&Control),
    ) {
        // SAFETY: queued, so alive, until `finish` below gives up the
        // runtime's reference.
        let control = unsafe { coroutine.as_ref() };
        control.home.store(
            (&raw const *self.remote()).cast_mut().cast(),
            Ordering::Relaxed,
        );
        control.yielder.set(yielder);
        control.fiber.set(me.as_ptr());
        control.set_phase(Phase::Started);
        let counters = &self.remote().counters;
        bump(&counters.started);
        self.set_running(Some(coroutine));
        body(control);
        // It has suspended any number of times by now, but never left this
        // thread, so `self` is still our worker.
        self.set_running(None);
        bump(&counters.finished);
        // SAFETY: it ran, and we hold the runtime's reference.
        if let Some(last_acts) = unsafe { finish(coroutine) } {
            self.do_here(coroutine, last_acts);
        }
    }

    /// A coroutine's last acts are user code that may wait, for which the coroutine
    /// must be one that runs.
    #[inline]
    fn do_here(&self, coroutine: NonNull<Control>, last_acts: LastActs) {
        // SAFETY: `last_acts` hold a reference.
        let control = unsafe { coroutine.as_ref() };
        // What it was asked to end by has nothing left to end.
        control.due.set(false);
        control.pending.set(false);
        let finished = &self.remote().counters.finished;
        finished.store(finished.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        control.set_phase(Phase::Started);
        // It has returned: what is left is not cut short.
        control.due.set(false);
        control.shields.set(1);
        self.set_running(Some(coroutine));
        let last_reference = last_acts.perform();
        self.set_running(None);
        control.set_phase(Phase::Finished);
        bump(finished);
        drop(last_reference);
    }

    /// Lets other workers know how many stacks are idle here.
    #[inline]
    pub(crate) fn show_stacks(&self) {
        let idle = self.fibers.len() as u64;
        self.remote().counters.stacks.store(idle, Ordering::Relaxed);
    }

    #[cold]
    fn could_not_start(&self, coroutine: NonNull<Control>, size: u32, why: io::Error) {
        // Another worker may have a stack to spare. If it has used it up when
        // the coroutine arrives it does the same, or says no.
        let has_stack = |r: &&Remote| r.counters.stacks.load(Ordering::Relaxed) > 0;
        // SAFETY: taken from its queue, so alive and ours.
        let is_local = unsafe { coroutine.as_ref() }.local.get();
        if size == 0
            && !is_local
            && !self.is_stopping()
            && let Some(other) = self.shared.remotes.iter().find(has_stack)
            && other.index != self.remote().index
        {
            return self.hand_over(coroutine, other.index);
        }
        // So that sleeping workers give up the stacks that they have cached.
        self.shared.wake_all();
        self.refuse(coroutine, why);
    }
}

/// Ends a coroutine that never ran.
///
/// # Safety
///
/// The caller took it from its queue.
pub(crate) unsafe fn abandon(coroutine: NonNull<Control>, why: JoinError) {
    // SAFETY: queued, so alive and ours.
    unsafe {
        coroutine.as_ref().abandon(why);
        if let Some(last_acts) = finish(coroutine) {
            drop(last_acts.perform());
        }
    }
}

/// What an ended coroutine leaves to do for whoever ended it.
struct LastActs {
    /// The runtime's.
    coroutine: Ref,
    /// There are callbacks.
    watched: bool,
    /// Nobody will take the outcome.
    unclaimed: bool,
}

impl LastActs {
    #[inline]
    fn perform(self) -> Ref {
        if self.watched {
            let state = self.coroutine.ended_as();
            self.coroutine.exits.call_all(|callback| {
                let _cut_short = call(&self.coroutine, callback, state);
            });
        }
        if self.unclaimed {
            // SAFETY: `finish` has found that it is for whoever ended the coroutine.
            unsafe { discard_detached(&self.coroutine) };
        }
        self.coroutine
    }
}

/// Calls one back, and reports its panic. Gives the payload back that cuts it short
/// where the calling coroutine is to be unwound.
pub(crate) fn call(
    control: &Control,
    callback: Callback,
    state: JoinState,
) -> Option<Box<dyn Any + Send>> {
    let payload = catch_unwind(AssertUnwindSafe(|| callback(state))).err()?;
    if payload.is::<Unwinding>() {
        return Some(payload);
    }
    let whose = format!("a callback for the end of {}", who(control));
    report(&whose, JoinError::Panicked(payload));
    None
}

/// The outcome is stored: hands it over and gives up the runtime's reference,
/// unless there is something left to do that needs it.
///
/// # Safety
///
/// Once for each coroutine, by whoever ran or abandoned it.
#[inline]
unsafe fn finish(coroutine: NonNull<Control>) -> Option<LastActs> {
    // SAFETY: the runtime's reference keeps it alive.
    let control = unsafe { coroutine.as_ref() };
    control.set_phase(Phase::Finished);
    let (watched, unclaimed) = match control.life.finish_and_release() {
        Finish::Released => return None,
        Finish::Last { watched } => (watched, true),
        Finish::Kept { joiner, watched } => (watched, joiner && !wake_joiner(control)),
    };
    let left = LastActs {
        // SAFETY: the runtime's reference, which it still has unless it was told
        // that it has released it.
        coroutine: unsafe { Ref::from_raw(coroutine) },
        watched,
        unclaimed,
    };
    (watched || unclaimed).then_some(left)
}

/// For the finisher that was told of a joiner. False: the handle is gone.
#[inline]
fn wake_joiner(control: &Control) -> bool {
    // SAFETY: the joiner wrote the cell before it set JOINING and will not touch
    // it again; the caller's reference keeps the block here while we read.
    match control.joiner.with_mut(|cell| unsafe { (*cell).take() }) {
        Some(Waiter::Coroutine(joiner)) => wait::unpark(joiner),
        Some(Waiter::Thread(thread)) => thread.unpark(),
        Some(Waiter::OfSeveral(ticket)) => ticket.hand_in(),
        None => return false,
    }
    true
}

/// Drops an outcome that nobody will take, and reports a failure.
///
/// # Safety
///
/// The outcome is the caller's.
pub(crate) unsafe fn discard_detached(control: &Control) {
    // SAFETY: the caller's promise.
    if let Some(failure) = unsafe { control.discard_outcome() } {
        report(&format!("{} and joined by nobody", who(control)), failure);
    }
}

/// Tells of a failure that no join will see, through the ordinary panic hook:
/// a panic of our own that says whose failure it was and is caught at once.
#[cold]
fn report(whose: &str, failure: JoinError) {
    let what = match &failure {
        JoinError::NotStarted(e) => format!("could not start: {e}"),
        other => match other
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| other.downcast_ref::<String>().map(String::as_str))
        {
            Some(text) => format!("panicked: {text}"),
            None => String::from("panicked"),
        },
    };
    // A payload may panic as it is dropped; what that leaves is let go undropped,
    // unless it is our own.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(failure))) {
        std::mem::forget(JoinError::from_payload(payload));
    }
    let _ = catch_unwind(AssertUnwindSafe(|| {
        panic!("{whose}, {what}");
    }));
}

fn who(control: &Control) -> String {
    let name = match control.name() {
        Some(name) => format!("coroutine {} '{name}'", control.id()),
        None => format!("coroutine {}", control.id()),
    };
    let site = control.site().map(ToString::to_string).unwrap_or_default();
    format!("{name}, spawned at {site}")
}
