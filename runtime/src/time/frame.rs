//! A deadline around a call: a record in the frame of whoever makes it.
//!
//! ```text
//!   coroutine's stack                     worker
//!   ┌──────────────┐
//!   │ timeout: Frame├─ one timer ───────► heap
//!   │   f          │ outer
//!   │ timeout: Frame├─ one timer ───────► heap
//!   │   f          │
//!   │     a wait   │
//!   └──────────────┘
//! ```
//!
//! The frames of a coroutine are a list, innermost first, whose head lies with
//! its stack: the closures in which they are entered nest, so the list is left
//! in the reverse order. Waits inside cost nothing more; the timer is in the heap
//! of the home for as long as the frame is there.
//!
//! Where a frame stands:
//!
//! | state | what it means | next |
//! |---|---|---|
//! | Running | its time has not come | Expired, by its timer, or at once if it is entered or moved too late |
//! | Expired | it is a reason to unwind, unless a shield inside holds it back | Delivered, at the next suspension |
//! | Delivered | its unwinding has begun, once | |
//!
//! A frame that is moved goes back to Running, from every state. All of it
//! happens on one thread, the coroutine's home, between two coroutines or in
//! the coroutine itself.
//!
//! There may be several reasons to unwind at once. `Here::unwind` takes the
//! weightiest: a shutdown, a request to cancel, or the outermost frame that has
//! expired, since that one would have to be unwound to in any case. The payload
//! names the reason, and a frame by a number that is never used again. So each
//! frame stops its own unwinding and lets everything else pass.
//!
//! A frame reads the clock once, as it is entered. The worker's own clock would not
//! do: it shows the last tick, which is long ago if the coroutine has computed
//! since, and the call would have less time than it was given.
//!
//! A plain thread has such a list too, but no timers: its waits look at the list
//! for how long they may last (`thread.rs`).

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Once;
use std::time::Instant;

use super::deadline::Elapsed;
use super::thread;
use crate::coroutine::outcome::{Unwinding, Why};
use crate::scheduler::timers::{Target, Timer};
use crate::scheduler::wait::{self, Here, here};
use crate::scheduler::worker::next_id;

/// Whether anything can be cut short in this program.
const UNWINDS: bool = cfg!(panic = "unwind");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    Expired,
    Delivered,
}

pub(crate) struct Frame {
    owner: Owner,
    /// None: never.
    when: Cell<Option<Instant>>,
    state: Cell<State>,
    /// The shields that were up as it was entered: those inside hold it back.
    shields: u8,
    outer: Cell<Option<NonNull<Frame>>>,
    /// Its number in the payload, once it is delivered.
    id: Cell<u64>,
}

enum Owner {
    Coroutine(Here, Timer),
    Thread,
}

/// The frames that a coroutine or a thread is in.
pub(crate) struct Frames {
    innermost: Cell<Option<NonNull<Frame>>>,
}

impl Frames {
    pub(crate) const fn new() -> Frames {
        Frames {
            innermost: Cell::new(None),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.innermost.get().is_none()
    }

    /// All of them, innermost first.
    fn iter(&self) -> impl Iterator<Item = &Frame> {
        // SAFETY: what is in the list has been entered and not left, so it is
        // there. Whoever holds on to what this gives does not leave one.
        let there = |frame: NonNull<Frame>| unsafe { frame.as_ref() };
        std::iter::successors(self.innermost.get().map(there), move |frame| {
            frame.outer.get().map(there)
        })
    }

    /// Those that nothing holds back where `shields` are up.
    fn open(&self, shields: u8) -> impl Iterator<Item = &Frame> {
        self.iter()
            .take_while(move |frame| frame.shields == shields)
    }

    /// The outermost that has expired and that nothing holds back.
    pub(crate) fn due(&self, shields: u8) -> Option<&Frame> {
        self.open(shields)
            .filter(|frame| frame.state.get() == State::Expired)
            .last()
    }

    /// The earliest deadline of those that nothing holds back.
    pub(super) fn earliest(&self, shields: u8) -> Option<Instant> {
        self.open(shields)
            .filter(|frame| frame.state.get() != State::Delivered)
            .filter_map(|frame| frame.when.get())
            .min()
    }

    /// Whether the one of that number is among them.
    pub(super) fn has(&self, id: u64) -> bool {
        self.iter().any(|frame| frame.id.get() == id)
    }

    /// For a thread, which has no timers: marks those whose time has come.
    pub(super) fn expire(&self, now: Instant) {
        for frame in self.iter() {
            let is_late = || frame.when.get().is_some_and(|when| when <= now);
            if frame.state.get() == State::Running && is_late() {
                frame.state.set(State::Expired);
            }
        }
    }
}

impl Frame {
    /// Calls `f`, and stops the unwinding that the deadline has begun if it
    /// arrives here.
    #[inline]
    pub(super) fn call<T>(
        when: Option<Instant>,
        now: Instant,
        f: impl FnOnce(&Frame) -> T,
    ) -> Result<T, Elapsed> {
        let (owner, shields) = match here() {
            Some(here) => (
                Owner::Coroutine(here, Timer::new()),
                here.control().shields.get(),
            ),
            None => (Owner::Thread, thread::shields()),
        };
        let frame = Frame {
            owner,
            when: Cell::new(when),
            state: Cell::new(State::Running),
            shields,
            outer: Cell::new(None),
            id: Cell::new(0),
        };
        // SAFETY: it stays where it is and is left below; nothing in between
        // unwinds.
        unsafe { frame.enter(now) };
        // What `f` has half changed, the caller sees: as with an early return.
        let result = catch_unwind(AssertUnwindSafe(|| f(&frame)));
        frame.leave();
        match result {
            Ok(value) => Ok(value),
            Err(payload) => frame.caught(payload),
        }
    }

    #[cold]
    fn caught<T>(&self, payload: Box<dyn Any + Send>) -> Result<T, Elapsed> {
        let why = payload.downcast_ref().map(Unwinding::why);
        // No frame has the number zero.
        if why == Some(Why::Elapsed(self.id.get())) {
            return Err(Elapsed);
        }
        resume_unwind(payload)
    }

    /// # Safety
    ///
    /// The frame neither moves nor goes away before [`Frame::leave`].
    #[inline]
    unsafe fn enter(&self, now: Instant) {
        if !UNWINDS {
            return without_effect();
        }
        let this = NonNull::from(self);
        match &self.owner {
            Owner::Coroutine(here, _) => {
                self.outer.set(here.frames().innermost.replace(Some(this)));
                self.start(now);
            }
            Owner::Thread => thread::frames(|frames| {
                self.outer.set(frames.innermost.replace(Some(this)));
            }),
        }
    }

    #[inline]
    fn leave(&self) {
        if !UNWINDS {
            return;
        }
        match &self.owner {
            Owner::Coroutine(here, timer) => {
                here.worker().timers.remove(timer);
                here.frames().innermost.set(self.outer.get());
                if here.control().due.get() {
                    here.settle();
                }
            }
            Owner::Thread => thread::frames(|frames| frames.innermost.set(self.outer.get())),
        }
    }

    /// Has the timer run, for a coroutine, from a state in which it does not.
    #[inline]
    fn start(&self, now: Instant) {
        if let Owner::Coroutine(here, timer) = &self.owner
            && let Some(when) = self.when.get()
        {
            if when <= now {
                return self.expire();
            }
            let worker = here.worker();
            let target = Target::Frame(NonNull::from(self));
            // SAFETY: `enter`'s caller: the frame stays until `leave`, which
            // takes the timer back. It does not run.
            unsafe { worker.timers.insert(timer, worker.shared.at(when), target) };
        }
    }

    /// The time has come: a coroutine's next suspension, or the one that it is
    /// in, is to unwind it, unless a shield inside holds that back.
    #[cold]
    pub(crate) fn expire(&self) {
        self.state.set(State::Expired);
        if let Owner::Coroutine(here, _) = &self.owner
            && self.shields == here.control().shields.get()
        {
            here.control().due.set(true);
            if here.worker().running() != Some(here.coroutine()) {
                wait::interrupt(here.coroutine());
            }
        }
    }

    pub(super) fn when(&self) -> Option<Instant> {
        self.when.get()
    }

    /// Moves the deadline. What has not been delivered is taken back.
    pub(super) fn reset(&self, when: Option<Instant>) {
        self.when.set(when);
        self.state.set(State::Running);
        if let Owner::Coroutine(here, timer) = &self.owner
            && UNWINDS
        {
            here.worker().timers.remove(timer);
            here.settle();
            self.start(Instant::now());
        }
    }

    /// Its unwinding begins: gives the number that the payload is to bear.
    pub(crate) fn deliver(&self) -> u64 {
        self.state.set(State::Delivered);
        if self.id.get() == 0 {
            self.id.set(next_id());
        }
        self.id.get()
    }
}

/// Says so once: a program that counts on its timeouts should hear of it.
#[cold]
fn without_effect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::warn!(
            "timeouts have no effect in a program that is compiled with panic = \"abort\", \
             since what they cut short has to be unwound"
        );
    });
}
