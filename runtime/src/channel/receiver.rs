//! [`Receiver`].

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::arm::{self, Arm};
use crate::channel::chan::{Chan, Unreceived, Until};
use crate::channel::clock::{Clock, Never, Ticks};
use crate::channel::errors::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::iter::{IntoIter, Iter, TryIter};
use crate::channel::select::{How, select};
use crate::scheduler::wait::give_way;

/// The receiving side of a channel. Clones receive from the same one, each message is received once; once all of them
/// are dropped, senders find the channel disconnected, and what is in it is dropped.
///
/// The calls that may wait are suspensions of a coroutine, and block a plain thread. A coroutine that is cancelled while
/// it waits has received nothing; if a message has come for it at that moment, the call returns it, and the
/// cancellation is left to the next suspension.
pub struct Receiver<T> {
    source: Source<T>,
}

/// Where messages come from.
enum Source<T> {
    Chan(Arc<Chan<T>>),
    /// Here `T` is `Instant`, which the function knows.
    Clock(Arc<Clock>, fn(Instant) -> T),
    Never,
}

// As for crossbeam-channel's: no user code runs in the middle of a change.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn of_channel(chan: Arc<Chan<T>>) -> Self {
        Self {
            source: Source::Chan(chan),
        }
    }

    pub(super) fn of_nothing() -> Self {
        Self {
            source: Source::Never,
        }
    }

    /// Receives if that can be done at once. If the channel has no capacity, a sender must be waiting; if that is a
    /// select, this waits until it has made its message.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.receive(Until::Now) {
            Ok(msg) => Ok(msg),
            Err(Unreceived::Late) => {
                give_way();
                Err(TryRecvError::Empty)
            }
            Err(Unreceived::Gone) => Err(TryRecvError::Disconnected),
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// [`RecvError`], once the channel is empty and there is no sender any more.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(Until::Never).map_err(|_| RecvError)
    }

    /// [`recv`](Self::recv), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Until::after(timeout))
    }

    /// [`recv`](Self::recv), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Until::At(deadline))
    }

    fn recv_until(&self, until: Until) -> Result<T, RecvTimeoutError> {
        match self.receive(until) {
            Ok(msg) => Ok(msg),
            Err(Unreceived::Late) => Err(RecvTimeoutError::Timeout),
            Err(Unreceived::Gone) => Err(RecvTimeoutError::Disconnected),
        }
    }

    #[inline(always)]
    fn receive(&self, until: Until) -> Result<T, Unreceived> {
        match &self.source {
            Source::Chan(chan) => chan.recv(until),
            _ => self.receive_time(until),
        }
    }

    #[cold]
    fn receive_time(&self, until: Until) -> Result<T, Unreceived> {
        let arm = self.arm();
        let how = How {
            biased: true,
            watch: false,
        };
        select(&[arm.get()], &mut [0], how, until);
        give_way();
        arm.take().map_err(|_| Unreceived::Late)
    }

    /// Whether no message can be received at once. Always so if the channel has no capacity.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room in the channel. Always so if it has no capacity.
    pub fn is_full(&self) -> bool {
        match &self.source {
            Source::Chan(chan) => chan.is_full(),
            Source::Clock(clock, _) => clock.is_due(),
            Source::Never => true,
        }
    }

    /// How many messages are in the channel.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Chan(chan) => chan.len(),
            Source::Clock(clock, _) => usize::from(clock.is_due()),
            Source::Never => 0,
        }
    }

    /// How many there may be; `None` for no limit.
    pub fn capacity(&self) -> Option<usize> {
        match &self.source {
            Source::Chan(chan) => chan.capacity(),
            Source::Clock(..) => Some(1),
            Source::Never => Some(0),
        }
    }

    /// An iterator that waits for each message, and ends when the channel is empty and there is no sender any more.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// An iterator over what can be received at once.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Whether both receive from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.source, &other.source) {
            (Source::Chan(a), Source::Chan(b)) => Arc::ptr_eq(a, b),
            (Source::Clock(a, _), Source::Clock(b, _)) => Arc::ptr_eq(a, b),
            (Source::Never, Source::Never) => true,
            _ => false,
        }
    }

    pub(super) fn arm(&self) -> RecvArm<'_, T> {
        match &self.source {
            Source::Chan(chan) => RecvArm::Chan(arm::Recv::new(chan)),
            Source::Clock(clock, tell) => RecvArm::Clock(Ticks::new(clock, *tell)),
            Source::Never => RecvArm::Never(Never),
        }
    }
}

impl Receiver<Instant> {
    pub(super) fn of_clock(clock: Clock) -> Self {
        Self {
            source: Source::Clock(Arc::new(clock), |instant| instant),
        }
    }
}

/// A receive in a select, whatever it receives from.
pub(super) enum RecvArm<'a, T> {
    Chan(arm::Recv<'a, T>),
    Clock(Ticks<'a, T>),
    Never(Never),
}

impl<'a, T> RecvArm<'a, T> {
    pub(super) fn get(&self) -> &(dyn Arm + 'a) {
        match self {
            RecvArm::Chan(arm) => arm,
            RecvArm::Clock(arm) => arm,
            RecvArm::Never(arm) => arm,
        }
    }

    pub(super) fn boxed(self) -> Box<dyn Arm + 'a> {
        match self {
            RecvArm::Chan(arm) => Box::new(arm),
            RecvArm::Clock(arm) => Box::new(arm),
            RecvArm::Never(arm) => Box::new(arm),
        }
    }

    /// After it has been selected.
    pub(super) fn take(&self) -> Result<T, RecvError> {
        match self {
            RecvArm::Chan(arm) => arm.take(),
            RecvArm::Clock(arm) => arm.take(),
            RecvArm::Never(_) => None,
        }
        .ok_or(RecvError)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Source::Chan(chan) = &self.source {
            chan.remove_receiver();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Chan(chan) => {
                let chan = Arc::clone(chan);
                chan.add_receiver();
                Source::Chan(chan)
            }
            Source::Clock(clock, tell) => Source::Clock(Arc::clone(clock), *tell),
            Source::Never => Source::Never,
        };
        Self { source }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self)
    }
}
