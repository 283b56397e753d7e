//! Cancellation: asking a coroutine to end, and being asked.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::coroutine::outcome::{Unwinding, Why};
use crate::scheduler::wait::{Here, here};
use crate::time::thread;

/// What [`catch_cancel`] returns where a cancellation was caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coroutine was asked to end")
    }
}

impl std::error::Error for Cancelled {}

/// Why a request to cancel was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CancelError {
    /// The program is compiled with `panic = "abort"`: a coroutine is cancelled by unwinding it, which would end the
    /// process.
    PanicAborts,
    /// It is a plain thread.
    Thread,
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CancelError::PanicAborts => {
                "a coroutine cannot be cancelled in a program that is compiled with panic = \"abort\""
            }
            CancelError::Thread => "a plain thread cannot be cancelled",
        })
    }
}

impl std::error::Error for CancelError {}

/// Calls `f`, and stops a cancellation of the current coroutine that unwinds out of it: what comes after may suspend,
/// and the coroutine may go on and return a value. Panics pass through, and so does the unwinding of a shutdown or of a
/// [`timeout`](crate::timeout).
///
/// ```
/// use filature::{catch_cancel, sleep, spawn_local, yield_now, Cancelled};
/// # use std::time::Duration;
/// # filature::run(|| {
/// let worker = spawn_local(|| match catch_cancel(|| sleep(Duration::from_secs(3600))) {
///     Ok(()) => "slept",
///     Err(Cancelled) => {
///         yield_now(); // waiting is allowed here
///         "cleaned up"
///     }
/// });
/// yield_now(); // on this worker it runs now; one that has not started would never run
/// worker.cancel().unwrap();
/// assert_eq!(worker.join().unwrap(), "cleaned up");
/// # });
/// ```
///
/// On a plain thread nothing is ever caught.
///
/// # Errors
///
/// [`Cancelled`], if `f` was cut short.
pub fn catch_cancel<T>(f: impl FnOnce() -> T) -> Result<T, Cancelled> {
    // As a scope that is left early: what `f` has half changed, the caller sees.
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Ok(value),
        Err(payload) if is_our_cancellation(&*payload) => {
            drop(payload);
            Err(Cancelled)
        }
        Err(payload) => resume_unwind(payload),
    }
}

/// Another coroutine's may come by as a payload that user code passes on.
fn is_our_cancellation(payload: &(dyn Any + Send)) -> bool {
    let unwinding = payload.downcast_ref::<Unwinding>();
    unwinding.is_some_and(|unwinding| {
        unwinding.why() == Why::Cancelled && here().is_some_and(|here| unwinding.is_of(&here))
    })
}

/// Calls `f`, in which no cancellation of the current coroutine is delivered, nor any [`timeout`](crate::timeout) that
/// encloses it. What came meanwhile is delivered at the next suspension after it. A timeout inside `f` cuts short what it
/// encloses. Does not hold back a shutdown.
///
/// For steps that must not be left half done, and are known to end soon. On a plain thread it holds back timeouts.
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let _shield = Shield::raise();
    f()
}

/// None: of a plain thread.
struct Shield(Option<Here>);

impl Shield {
    fn raise() -> Shield {
        let here = here();
        let shields = match &here {
            Some(here) => here.control().shields.get(),
            None => thread::shields(),
        };
        let shields = shields.checked_add(1).expect("255 shields in one another");
        match &here {
            Some(here) => {
                here.control().shields.set(shields);
                here.control().due.set(false);
            }
            None => thread::set_shields(shields),
        }
        Shield(here)
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        match &self.0 {
            Some(here) => {
                let control = here.control();
                control.shields.set(control.shields.get() - 1);
                here.settle();
            }
            None => thread::set_shields(thread::shields() - 1),
        }
    }
}
