//! What became of a coroutine: [`JoinError`] and the payload that unwinds one.

use std::any::Any;
use std::fmt;
use std::io;

use crate::coroutine::control::Ref;
use crate::facade::Ordering;
use crate::scheduler::wait::Here;
use crate::time::thread;

/// Why [`JoinHandle::join`](crate::JoinHandle::join) has no value to return.
#[non_exhaustive]
pub enum JoinError {
    /// The closure panicked; this is the payload of the panic.
    Panicked(Box<dyn Any + Send + 'static>),
    /// The coroutine was unwound before it finished, or dropped before it
    /// started: somebody [cancelled](crate::JoinHandle::cancel) it, or its
    /// runtime was shut down.
    Cancelled,
    /// The coroutine never ran because no stack could be had for it. The
    /// closure has been dropped. The error says which limit was hit.
    NotStarted(io::Error),
}

impl JoinError {
    /// The payload, where the coroutine panicked.
    ///
    /// # Errors
    ///
    /// Gives `self` back for every other reason.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        match self {
            JoinError::Panicked(payload) => Ok(payload),
            other => Err(other),
        }
    }

    /// A reference to the payload of the panic, if there was one and it is a
    /// `T`. The name and shape are those of the `Box<dyn Any>` that
    /// `std::thread::JoinHandle::join` gives.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        match self {
            JoinError::Panicked(payload) => payload.downcast_ref(),
            _ => None,
        }
    }

    /// The payload of the panic as a `T`.
    ///
    /// # Errors
    ///
    /// Gives `self` back if there was no panic, or its payload is not a `T`.
    pub fn downcast<T: Any>(self) -> Result<Box<T>, JoinError> {
        match self {
            JoinError::Panicked(payload) => payload.downcast().map_err(JoinError::Panicked),
            other => Err(other),
        }
    }

    /// Whether the coroutine was unwound, or dropped before it started.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JoinError::Cancelled)
    }

    /// Whether the coroutine panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panicked(_))
    }

    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> JoinError {
        if payload.is::<Unwinding>() {
            JoinError::Cancelled
        } else {
            JoinError::Panicked(payload)
        }
    }

    /// The text of a panic raised with a string, as the panic hook prints it.
    fn message(&self) -> Option<&str> {
        self.downcast_ref::<&'static str>()
            .copied()
            .or_else(|| self.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => match self.message() {
                Some(text) => write!(f, "the coroutine panicked: {text}"),
                None => f.write_str("the coroutine panicked with a payload that is not a string"),
            },
            JoinError::Cancelled => {
                f.write_str("the coroutine was cancelled, or its runtime was shut down")
            }
            JoinError::NotStarted(e) => write!(f, "the coroutine could not start: {e}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => match self.message() {
                Some(text) => f.debug_tuple("Panicked").field(&text).finish(),
                None => f.write_str("Panicked(..)"),
            },
            JoinError::Cancelled => f.write_str("Cancelled"),
            JoinError::NotStarted(e) => f.debug_tuple("NotStarted").field(e).finish(),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JoinError::NotStarted(e) => Some(e),
            _ => None,
        }
    }
}

/// The payload that unwinds a coroutine, or a thread that is in a timeout. While
/// it travels the coroutine's `unwinding` flag is up, so that destructors on its
/// way may suspend. If user code catches it and drops it, the flag goes down and
/// the next suspension unwinds again, if there is a reason left.
pub(crate) struct Unwinding {
    /// None: a plain thread.
    coroutine: Option<Ref>,
    why: Why,
}

/// What unwinds a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    Cancelled,
    Shutdown,
    /// The deadline of the frame of that number has passed.
    Elapsed(u64),
}

impl Unwinding {
    /// Raises the flag of the running coroutine and starts to unwind it. Does
    /// not call the panic hook.
    pub(crate) fn start(coroutine: Option<Ref>, why: Why) -> ! {
        if let Some(coroutine) = &coroutine {
            coroutine.unwinding.store(true, Ordering::Relaxed);
        }
        std::panic::resume_unwind(Box::new(Unwinding { coroutine, why }))
    }

    pub(crate) fn why(&self) -> Why {
        self.why
    }

    pub(crate) fn is_of(&self, here: &Here) -> bool {
        let coroutine = self.coroutine.as_ref();
        coroutine.is_some_and(|coroutine| coroutine.as_ptr() == here.coroutine())
    }
}

impl Drop for Unwinding {
    fn drop(&mut self) {
        match &self.coroutine {
            Some(coroutine) => coroutine.unwinding.store(false, Ordering::Relaxed),
            None => thread::unwound(self.why),
        }
    }
}
