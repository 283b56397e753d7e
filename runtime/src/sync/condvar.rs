//! [`Condvar`].

use std::fmt;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use super::raw_condvar::RawCondvar;

/// Waits until somebody who changed what a [`Mutex`](super::Mutex) holds says so. Shaped as [`std::sync::Condvar`].
///
/// ```
/// use filature::sync::{Condvar, Mutex};
///
/// let (queue, more) = (Mutex::new(Vec::new()), Condvar::new());
/// # let (queue, more) = (&queue, &more);
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         queue.lock().unwrap().push(1);
///         more.notify_one();
///     });
///     let mut queue = more.wait_while(queue.lock().unwrap(), |queue| queue.is_empty()).unwrap();
///     assert_eq!(queue.pop(), Some(1));
/// });
/// ```
///
/// A coroutine that waits suspends, a plain thread blocks. Waits are ended in the order in which they began. As with
/// std's, a wait may also end for no reason; unlike std's on some systems, one condition variable may go with several
/// mutexes.
///
/// # Cancellation
///
/// Waiting is a suspension. A coroutine that is cancelled there unwinds *without* the lock: the guard went into the
/// wait, which let go of it, and does not take the lock again, so what unwinds may lock the mutex as if it had never
/// held it. The mutex is not poisoned by that.
///
/// No notification goes to one that is unwound: either it was notified first, and then the wait returns and the next
/// suspension unwinds it, or the notification goes to the next waiter. Once notified, the wait for the lock is not cut
/// short. If a predicate unwinds that was given to a `wait_while`, the lock was held, and is let go of as the guard is
/// dropped.
pub struct Condvar {
    raw: RawCondvar,
}

/// Whether a wait ended because its time was up. Shaped as [`std::sync::WaitTimeoutResult`].
#[derive(Debug, PartialEq, Eq, Copy, Clone)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did. If it was notified in the same moment, it did not.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// One for which nobody waits.
    #[must_use]
    #[inline]
    pub const fn new() -> Condvar {
        Condvar {
            raw: RawCondvar::new(),
        }
    }

    /// Lets go of the lock, waits for a notification, and takes the lock again. A notification that comes after the
    /// lock was let go of is not missed.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned as the lock is taken again; the error has the guard as well.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, None).0
    }

    /// [`wait`](Self::wait)s as long as `condition` is true of the value.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait`](Self::wait)s, for `timeout` at the most; to take the lock again may take longer.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (guard, notified) = self.wait_until(guard, Instant::now().checked_add(timeout));
        let result = WaitTimeoutResult(!notified);
        match guard {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(PoisonError::new((error.into_inner(), result))),
        }
    }

    /// [`wait`](Self::wait)s as long as `condition` is true of the value, for `timeout` in all.
    ///
    /// The time was up if, and only if, the condition is still true.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        // None is further away than the clock can tell.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            match self.wait_until(guard, deadline) {
                (Ok(again), _) => guard = again,
                (Err(error), notified) => {
                    let result = WaitTimeoutResult(!notified);
                    return Err(PoisonError::new((error.into_inner(), result)));
                }
            }
        }
    }

    /// Ends the wait that began first, if anybody waits.
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Ends all waits that have begun.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    /// False if the deadline passed before a notification came.
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (LockResult<MutexGuard<'a, T>>, bool) {
        let mutex = guard.mutex;
        let notified = self.raw.wait(|| drop(guard), deadline);
        (mutex.lock_masked(), notified)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}
