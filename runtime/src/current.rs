//! The current coroutine: who it is, and how it waits.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::CancelError;
use crate::coroutine::control::Ref;
use crate::scheduler::cancel::{self, Asked};
use crate::scheduler::wait::{Wait, Woken, here, unpark_with_permit, worker};
use crate::thread::ThreadHandle;
use crate::time;

/// A coroutine as others see it, shaped as [`std::thread::Thread`]; made by
/// [`current`] and [`JoinHandle::coroutine`](crate::JoinHandle::coroutine).
///
/// A plain thread that calls [`current`] is shown as one too, so that both can
/// unpark each other.
#[derive(Clone)]
pub struct Coroutine(Inner);

#[derive(Clone)]
enum Inner {
    Coroutine(Ref),
    Thread(Arc<ThreadHandle>),
}

// As for `std::thread::Thread`.
impl UnwindSafe for Coroutine {}
impl RefUnwindSafe for Coroutine {}

impl Coroutine {
    #[inline]
    pub(crate) fn from_ref(inner: Ref) -> Coroutine {
        Coroutine(Inner::Coroutine(inner))
    }

    /// The coroutine behind a join handle, which is never a thread.
    #[inline]
    pub(crate) fn inner(&self) -> &Ref {
        match &self.0 {
            Inner::Coroutine(inner) => inner,
            Inner::Thread(_) => unreachable!("a join handle is made from a coroutine"),
        }
    }

    /// Makes its [`park`] return: the one it is in, or else the next. From any
    /// thread; harmless once it has ended.
    ///
    /// What happened before the call is seen after the park.
    #[inline]
    pub fn unpark(&self) {
        match &self.0 {
            Inner::Coroutine(inner) => unpark_with_permit(inner),
            Inner::Thread(thread) => thread.unpark(),
        }
    }

    /// Asks it to end: its next suspension, or the one that it is in, unwinds it, without a word from the panic hook,
    /// and a join gives [`JoinError::Cancelled`](crate::JoinError::Cancelled). It is never interrupted between
    /// suspensions. If it has not started it never runs.
    ///
    /// From any thread; does nothing to one that has ended. However often it is asked before it is unwound, it is
    /// unwound once. IO in flight is called off, and waited for, before the unwinding; what had been received by then
    /// is returned instead, and the unwinding left to the next suspension.
    ///
    /// While some coroutine of the same worker waits in a destructor that an unwinding runs, one that has had a turn
    /// meanwhile cannot be told from one that panics itself, and its own unwinding is put off until that is over. So a
    /// destructor should not wait for one that it has spawned itself and cancelled; and before it waits for the first of
    /// several, it should have asked all of them.
    ///
    /// # Errors
    ///
    /// [`CancelError`], where nothing is cancelled: under `panic = "abort"`, and for a plain thread.
    pub fn cancel(&self) -> Result<(), CancelError> {
        match &self.0 {
            Inner::Thread(_) => Err(CancelError::Thread),
            Inner::Coroutine(_) if cfg!(panic = "abort") => Err(CancelError::PanicAborts),
            Inner::Coroutine(inner) => {
                cancel::request(inner);
                Ok(())
            }
        }
    }

    /// How often it was asked to end, less what [`uncancel`](Self::uncancel) took back.
    pub fn cancelling(&self) -> u32 {
        match &self.0 {
            Inner::Coroutine(inner) => Asked::of(inner).count().into(),
            Inner::Thread(_) => 0,
        }
    }

    /// For who has caught a cancellation and takes it as dealt with: counts one request less, and returns how many are
    /// left. What encloses it can tell by the count whether it was meant as well. Requests that were all taken back before
    /// they arrived are forgotten.
    pub fn uncancel(&self) -> u32 {
        let Inner::Coroutine(inner) = &self.0 else {
            return 0;
        };
        Asked::less(inner).count().into()
    }

    /// Its number, unique in the process.
    pub fn id(&self) -> u64 {
        match &self.0 {
            Inner::Coroutine(inner) => inner.id(),
            Inner::Thread(thread) => thread.id,
        }
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<String> {
        match &self.0 {
            Inner::Coroutine(inner) => inner.name().map(|name| name.to_string()),
            Inner::Thread(thread) => thread.name.clone(),
        }
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The current coroutine, or, on a plain thread, that thread.
pub fn current() -> Coroutine {
    Coroutine(match here() {
        Some(here) => Inner::Coroutine(here.reference()),
        None => Inner::Thread(ThreadHandle::current()),
    })
}

/// Whether the caller runs in a coroutine.
#[inline]
pub fn is_coroutine() -> bool {
    here().is_some()
}

/// The number of the worker that the caller runs on, from 0 in each runtime;
/// `None` on a plain thread.
#[inline]
pub fn worker_index() -> Option<usize> {
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    unsafe { worker().as_ref() }.map(|worker| worker.remote().index)
}

/// The addresses of the current coroutine's stack, lowest first, with its guard
/// page at the low end; `None` on a plain thread.
pub fn stack_bounds() -> Option<std::ops::Range<usize>> {
    let fiber = here()?.control().fiber.get();
    // SAFETY: the coroutine runs on it.
    Some(unsafe { &*fiber }.range.clone())
}

/// Lets other coroutines of this worker run that are ready. On a plain thread
/// it is [`std::thread::yield_now`].
///
/// # Cancellation
///
/// A point at which a shutdown unwinds.
// Always: a call frame above the switch costs a mispredicted return.
#[inline(always)]
pub fn yield_now() {
    match here() {
        Some(here) => here.yield_now(),
        None => yield_thread(),
    }
}

#[cold]
fn yield_thread() {
    std::thread::yield_now();
    time::thread::unwind_if_due();
}

/// Waits until [`Coroutine::unpark`] is called on the current coroutine or
/// thread. If that has happened since the last `park`, does not wait: it returns
/// at once, or, now and then, lets others run first.
///
/// Unlike [`std::thread::park`] it never returns for no reason, and no other
/// call of this crate uses up the permit.
///
/// # Cancellation
///
/// A point at which a shutdown unwinds.
#[inline]
pub fn park() {
    match here() {
        Some(here) => {
            here.make_way();
            while !here.control().token.take_permit() {
                if here.park(Wait::Parked, None) == Woken::Cancelled {
                    here.unwind();
                }
            }
        }
        None => ThreadHandle::current().park(None),
    }
}

/// [`park`], for `timeout` at the most.
pub fn park_timeout(timeout: Duration) {
    let Some(deadline) = Instant::now().checked_add(timeout) else {
        return park();
    };
    match here() {
        Some(here) => {
            here.make_way();
            while !here.control().token.take_permit() {
                match here.park(Wait::Parked, Some(deadline)) {
                    Woken::Unparked => {}
                    // A permit that came with the last moment is left for the
                    // next park.
                    Woken::TimedOut => return,
                    Woken::Cancelled => here.unwind(),
                }
            }
        }
        None => ThreadHandle::current().park(Some(deadline)),
    }
}

/// Waits for `duration` at least. Only the current coroutine, or thread, waits.
///
/// # Cancellation
///
/// A point at which a shutdown unwinds.
pub fn sleep(duration: Duration) {
    time::sleep(Instant::now().checked_add(duration));
}
