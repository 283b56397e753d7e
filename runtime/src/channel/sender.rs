//! [`Sender`].

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::arm;
use crate::channel::chan::{Chan, Unsent, Until};
use crate::channel::errors::{SendError, SendTimeoutError, TrySendError};
use crate::scheduler::wait::give_way;

/// The sending side of a channel. Clones send to the same one; once all of them are dropped, receivers find the channel
/// disconnected.
///
/// The calls that may wait are suspensions of a coroutine, and block a plain thread. A coroutine that is cancelled while
/// it waits drops the message as it unwinds, unless a receiver has it already: then the call returns, and the
/// cancellation is left to the next suspension.
///
/// What is sent to another thread must be [`Send`]:
///
/// ```compile_fail,E0277
/// let (s, r) = filature::channel::unbounded::<std::rc::Rc<u32>>();
/// filature::go!(move || r.recv());
/// ```
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

// As for crossbeam-channel's: no user code runs in the middle of a change.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Sends if that can be done at once. If the channel has no capacity, a receiver must be waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the message.
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        match self.chan.send(msg, Until::Now) {
            Ok(()) => Ok(()),
            Err(Unsent::Late(msg)) => {
                give_way();
                Err(TrySendError::Full(msg))
            }
            Err(Unsent::Gone(msg)) => Err(TrySendError::Disconnected(msg)),
        }
    }

    /// Waits until there is room in the channel, or a receiver, and sends.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, once there is no receiver any more.
    #[inline]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        match self.chan.send(msg, Until::Never) {
            Ok(()) => {
                give_way();
                Ok(())
            }
            Err(Unsent::Late(msg) | Unsent::Gone(msg)) => Err(SendError(msg)),
        }
    }

    /// [`send`](Self::send), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message.
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, Until::after(timeout))
    }

    /// [`send`](Self::send), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message.
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, Until::At(deadline))
    }

    fn send_until(&self, msg: T, until: Until) -> Result<(), SendTimeoutError<T>> {
        match self.chan.send(msg, until) {
            Ok(()) => {
                give_way();
                Ok(())
            }
            Err(Unsent::Late(msg)) => Err(SendTimeoutError::Timeout(msg)),
            Err(Unsent::Gone(msg)) => Err(SendTimeoutError::Disconnected(msg)),
        }
    }

    /// Whether no message is in the channel. Always so if it has no capacity.
    pub fn is_empty(&self) -> bool {
        self.chan.len() == 0
    }

    /// Whether there is no room in the channel. Always so if it has no capacity.
    pub fn is_full(&self) -> bool {
        self.chan.is_full()
    }

    /// How many messages are in the channel.
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// How many there may be; `None` for no limit.
    pub fn capacity(&self) -> Option<usize> {
        self.chan.capacity()
    }

    /// Whether both send to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }

    pub(super) fn arm(&self) -> arm::Send<'_, T> {
        arm::Send::new(&self.chan)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let chan = Arc::clone(&self.chan);
        chan.add_sender();
        Self { chan }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
