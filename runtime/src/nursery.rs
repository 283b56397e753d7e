//! Coroutines that may borrow, because whoever started them waits for them: what
//! [`scope`](crate::scope) and [`task_group`](crate::task_group) have in common.
//!
//! ```text
//!   Nursery::run                              a child
//!   f: spawns children        ------------>   begin: lists itself, unless cancelled
//!   catches what f throws                     its closure
//!   [cancels those listed]                    drops all that it has borrowed
//!   waits until none is left  <------------   leaves the list, counts itself out
//!   goes on, or on unwinding                  (its block and its outcome remain,
//!                                              and borrow nothing)
//! ```
//!
//! The wait is never cut short: a coroutine that is told to unwind there cancels its
//! children, waits on, and unwinds then. It never waits while it unwinds, since
//! what its closure throws is caught first. That a child counts itself out is its
//! last act, whether it ran or was dropped unrun, and does not hang on its handle.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::abort;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::coroutine::control::Ref;
use crate::coroutine::outcome::Unwinding;
use crate::facade::Ordering;
use crate::runtime::default_runtime;
use crate::scheduler::cancel;
use crate::scheduler::shared::Shared;
use crate::scheduler::wait::{self, here};
use crate::spawn::{Builder, JoinHandle};
use crate::sync::countdown::Countdown;

/// Where children are spawned and waited for.
pub(crate) struct Nursery {
    group: Arc<Group>,
    /// None: the process-wide runtime, which the first spawn starts.
    runtime: Option<Arc<Shared>>,
}

/// What children and parent share. The last child to end may be the last to use it.
struct Group {
    children: Countdown,
    list: Mutex<List>,
}

/// The children that have started and not ended.
#[derive(Default)]
struct List {
    started: Vec<Option<Ref>>,
    /// Places in it that are free.
    free: Vec<usize>,
    /// Who starts now is cancelled at once.
    cancelled: bool,
}

/// What a panic of the parent's closure does to the children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnPanic {
    WaitForThem,
    CancelThem,
}

/// What [`Nursery::run`] comes back with once no child is left.
pub(crate) struct Ran<R> {
    pub(crate) value: R,
    /// The caller was told to unwind while it waited, and is still to do so.
    pub(crate) told: bool,
}

impl Nursery {
    /// On the current runtime, or on a plain thread on the process-wide one.
    pub(crate) fn new() -> Nursery {
        // SAFETY: a worker's pointer is only set while it lives, on its thread.
        let worker = unsafe { wait::worker().as_ref() };
        Nursery::with(worker.map(|worker| worker.shared.clone()))
    }

    pub(crate) fn on(runtime: &Arc<Shared>) -> Nursery {
        Nursery::with(Some(runtime.clone()))
    }

    fn with(runtime: Option<Arc<Shared>>) -> Nursery {
        Nursery {
            group: Arc::new(Group {
                children: Countdown::new(),
                list: Mutex::default(),
            }),
            runtime,
        }
    }

    /// Spawns a child.
    ///
    /// # Safety
    ///
    /// What `f` borrows lasts until [`Nursery::run`] has returned or unwound, and
    /// this is called within its closure or one of the children.
    #[track_caller]
    pub(crate) unsafe fn spawn<F>(&self, builder: Builder, f: F) -> io::Result<JoinHandle<()>>
    where
        F: FnOnce() + Send,
    {
        let shared = match &self.runtime {
            Some(shared) => shared,
            None => default_runtime()?.shared(),
        };
        self.group.children.up();
        let child = Child {
            f,
            place: Place {
                group: self.group.clone(),
                number: None,
            },
        };
        // SAFETY: when the closure has run or was dropped nothing is left of `f`;
        // `run` waits for that, since dropping `place` comes after it.
        unsafe { builder.spawn_unchecked_on(shared, move || child.run()) }
    }

    /// Calls `f`, and returns or unwinds when no child is left. If `f` is unwound by
    /// a cancellation or a shutdown, the children are cancelled.
    pub(crate) fn run<R>(&self, on_panic: OnPanic, f: impl FnOnce() -> R) -> Ran<R> {
        let guard = AbortOnUnwind;
        // What `f` leaves half changed is seen only by who catches its panic.
        let result = catch_unwind(AssertUnwindSafe(f));
        if let Err(payload) = &result
            && (on_panic == OnPanic::CancelThem || payload.is::<Unwinding>())
        {
            self.cancel();
        }
        let told = self.wait();
        std::mem::forget(guard);
        match result {
            Ok(value) => Ran { value, told },
            // What it was told stays pending.
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Until no child is left. Returns whether the caller was told meanwhile that it
    /// is to be unwound; then the children were cancelled.
    fn wait(&self) -> bool {
        let wait = |masked| match here() {
            None => self.group.children.wait(masked),
            Some(here) => {
                // As in `JoinHandle::wait`.
                let joining = &here.worker().remote().counters.joining;
                joining.store(joining.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                let none_is_left = self.group.children.wait(masked);
                joining.store(joining.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
                none_is_left
            }
        };
        if wait(false) {
            return false;
        }
        self.cancel();
        wait(true);
        true
    }

    /// Cancels all children but the caller: those that have started, and those that
    /// start from now on before they do.
    pub(crate) fn cancel(&self) {
        if cfg!(panic = "abort") {
            return;
        }
        let mut list = self.group.list();
        if std::mem::replace(&mut list.cancelled, true) {
            return;
        }
        let started: Vec<Ref> = list.started.iter().flatten().cloned().collect();
        drop(list);
        let caller = here().map(|here| here.coroutine());
        for child in started {
            if caller != Some(child.as_ptr()) {
                cancel::request(&child);
            }
        }
    }

    /// Whether the children were cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.group.list().cancelled
    }
}

/// Unwinds the caller, who was [`told`](Ran::told) to while it waited.
#[cold]
pub(crate) fn unwind_told() {
    match here() {
        Some(here) => here.unwind(),
        None => crate::time::thread::unwind_if_due(),
    }
}

impl Group {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child's closure, and then its place.
struct Child<F> {
    // Dropped in this order if it never runs.
    f: F,
    place: Place,
}

impl<F: FnOnce()> Child<F> {
    fn run(self) {
        let mut place = self.place;
        // Dropped before the place, if `begin` unwinds.
        let f = self.f;
        place.begin();
        f();
    }
}

/// A child is counted for as long as it has this.
struct Place {
    group: Arc<Group>,
    /// In the list, once it has started.
    number: Option<usize>,
}

impl Place {
    /// Lists the current coroutine, or unwinds it if it is cancelled already.
    fn begin(&mut self) {
        let here = here().expect("a child is a coroutine");
        let child = here.reference();
        let mut list = self.group.list();
        if list.cancelled {
            drop(list);
            drop(child);
            here.unwind();
        }
        self.number = Some(match list.free.pop() {
            Some(number) => {
                list.started[number] = Some(child);
                number
            }
            None => {
                list.started.push(Some(child));
                list.started.len() - 1
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut list = self.group.list();
            let child = list.started[number].take();
            list.free.push(number);
            drop(list);
            drop(child);
        }
        // The parent may go on from here; the group is still ours.
        self.group.children.down();
    }
}

/// Children may borrow from the frames above: none of those may go while one is left.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        abort();
    }
}
