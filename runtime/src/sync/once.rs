//! [`Once`].

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use super::lock::{Lock, Locked};
use super::party::{Ended, Party};
use super::queue::{Entry, Queue};
use crate::scheduler::wait::{Wait, here};

/// Nobody has called, or whoever did was cancelled.
const INCOMPLETE: u8 = 0;
/// A call panicked.
const POISONED: u8 = 1;
/// Somebody calls.
const RUNNING: u8 = 2;
const COMPLETE: u8 = 3;

/// The one way in which a wait is ended: look again.
const CHANGED: usize = 0;

/// Something that is done once, whoever comes first. Shaped as [`std::sync::Once`], poisoning included. Unlike with
/// std's, the closure may suspend: a coroutine that has to wait for it suspends too, a plain thread blocks.
///
/// # Cancellation
///
/// Waiting for another's call is a suspension: a coroutine that is cancelled there unwinds. One that is cancelled, or
/// shut down, *in* its closure does not poison: it is as if it had not called, and one of those that wait, or the next
/// to come, calls its own closure.
///
/// # Recursion
///
/// A closure that calls the same `Once` waits for itself, for ever.
pub struct Once {
    /// Written under the lock.
    state: AtomicU8,
    waiters: Lock<Queue>,
}

/// What [`Once::call_once_force`] tells its closure. Shaped as [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether an earlier call panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    /// One that has not been called.
    #[inline]
    #[must_use]
    pub const fn new() -> Once {
        Once {
            state: AtomicU8::new(INCOMPLETE),
            waiters: Lock::new(Queue::new()),
        }
    }

    /// Calls `f`, unless somebody has done so; waits for one who is just doing it. After this it is done, and what
    /// was done is seen.
    ///
    /// # Panics
    ///
    /// If an earlier call panicked, or `f` does.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            self.call(false, |_| {
                f();
                true
            });
        }
    }

    /// The same, but calls `f` also if an earlier call panicked, and tells it so.
    ///
    /// # Panics
    ///
    /// If `f` does.
    #[inline]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            self.call(true, |state| {
                f(state);
                true
            });
        }
    }

    /// Whether a call has returned.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Ordering: Acquire, for what the call did.
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until somebody's call has returned.
    ///
    /// # Panics
    ///
    /// If a call panicked.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_for_a_call(false);
    }

    /// Waits until somebody's call has returned, though others may have panicked.
    pub fn wait_force(&self) {
        self.wait_for_a_call(true);
    }

    #[track_caller]
    fn wait_for_a_call(&self, ignore_poison: bool) {
        while !self.is_completed() {
            let waiters = self.waiters.lock();
            match self.state.load(Ordering::Relaxed) {
                COMPLETE => return,
                POISONED if !ignore_poison => {
                    drop(waiters);
                    poisoned();
                }
                _ => self.wait_for_a_change(waiters),
            }
        }
    }

    /// Calls `f` unless somebody has done so with success, which `f` says.
    #[cold]
    #[track_caller]
    pub(super) fn call(&self, ignore_poison: bool, f: impl FnOnce(&OnceState) -> bool) {
        loop {
            let waiters = self.waiters.lock();
            let state = self.state.load(Ordering::Relaxed);
            match state {
                COMPLETE => return,
                RUNNING => self.wait_for_a_change(waiters),
                POISONED if !ignore_poison => {
                    drop(waiters);
                    poisoned();
                }
                _ => {
                    self.state.store(RUNNING, Ordering::Relaxed);
                    drop(waiters);
                    let mut call = Call {
                        once: self,
                        before: state,
                        unwinding: is_unwinding(),
                        succeeded: None,
                    };
                    call.succeeded = Some(f(&OnceState {
                        poisoned: state == POISONED,
                    }));
                    return;
                }
            }
        }
    }

    /// Waits until the state has changed, or for no reason.
    fn wait_for_a_change(&self, mut waiters: Locked<'_, Queue>) {
        let party = Party::new();
        let entry = Entry::new(&party, 0, std::ptr::null_mut());
        party.open();
        // SAFETY: it is new, and removed below unless it was popped; nothing in
        // between unwinds. All calls are under the lock.
        unsafe { waiters.push_back(&entry) };
        drop(waiters);
        let ended = party.wait(Wait::Notified, None, false);
        if let Ended::By(_) = ended {
            return;
        }
        self.waiters.lock().remove(&entry);
        if ended == Ended::Cancelled {
            party.unwind();
        }
    }
}

/// Whether the caller is a coroutine that a cancellation or a shutdown unwinds.
fn is_unwinding() -> bool {
    match here() {
        Some(here) => here.is_unwinding(),
        None => crate::time::thread::is_unwinding(),
    }
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("Once instance has previously been poisoned")
}

/// A call of somebody's closure. Dropped when it has come to its end.
struct Call<'a> {
    once: &'a Once,
    /// The state before it.
    before: u8,
    /// Whether it began in a destructor that a cancellation or a shutdown runs.
    unwinding: bool,
    /// None if it unwinds.
    succeeded: Option<bool>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let state = match self.succeeded {
            Some(true) => COMPLETE,
            Some(false) => self.before,
            None if is_unwinding() && !self.unwinding => self.before,
            None => POISONED,
        };
        let mut waiters = self.once.waiters.lock();
        // Ordering: Release, for those who find it done without the lock.
        self.once.state.store(state, Ordering::Release);
        let batch = waiters.pop_all();
        drop(waiters);
        batch.wake(CHANGED);
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}
