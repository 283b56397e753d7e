//! Whether a lock's holder panicked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};
use std::thread;

use crate::scheduler::wait::here;
use crate::time;

/// Set when a guard is dropped by a panic that began while it was held. A
/// cancellation, a timeout or a shutdown unwinds as well, but what it leaves
/// behind is meant to be left behind, so it does not poison.
///
/// The count of panics is the thread's: a neighbour of the same worker that waits
/// in a destructor while it panics makes the thread count as panicking, and a guard
/// that was taken before that and is dropped meanwhile poisons its lock; one that
/// is taken meanwhile does not, though its holder panics.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

/// Whether the thread was panicking as the lock was taken.
#[derive(Debug)]
pub(crate) struct Before(bool);

impl Flag {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    #[inline]
    pub(crate) fn before() -> Before {
        Before(thread::panicking())
    }

    #[inline]
    pub(crate) fn done(&self, before: &Before) {
        if !before.0 && thread::panicking() {
            self.panicked();
        }
    }

    #[cold]
    fn panicked(&self) {
        let cut_short = match here() {
            Some(here) => here.is_unwinding(),
            None => time::thread::is_unwinding(),
        };
        if !cut_short {
            // Ordering: Relaxed, the lock orders it.
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What taking a lock gives.
#[inline]
pub(crate) fn result<T>(poisoned: bool, value: T) -> LockResult<T> {
    if poisoned {
        Err(PoisonError::new(value))
    } else {
        Ok(value)
    }
}
