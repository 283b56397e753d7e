//! [`Semaphore`].

use std::fmt;
use std::mem;
use std::time::{Duration, Instant};

use super::raw_semaphore::{MAX, RawSemaphore};

/// A number of permits, which are taken and given back: how many may do something at once.
///
/// ```
/// use filature::sync::Semaphore;
///
/// static AT_ONCE: Semaphore = Semaphore::new(2);
///
/// let _one = AT_ONCE.acquire();
/// let two = AT_ONCE.try_acquire().unwrap();
/// assert!(AT_ONCE.try_acquire().is_none());
/// drop(two);
/// assert_eq!(AT_ONCE.available_permits(), 1);
/// ```
///
/// A coroutine that waits for permits suspends, a plain thread blocks. First come, first served: nobody takes permits
/// past one who waits, be it for many. What was done before permits are given back is seen by those who take them.
///
/// # Cancellation
///
/// Waiting for permits is a suspension: a coroutine that is cancelled there unwinds without any, and who waits behind
/// it has its turn.
pub struct Semaphore {
    raw: RawSemaphore,
}

/// Permits of a [`Semaphore`], given back when this is dropped. Anybody may do that: it is `Send`.
#[must_use = "if unused the permits are given back at once"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl Semaphore {
    /// The most permits that a semaphore can have, and that can be asked for at once.
    pub const MAX_PERMITS: usize = MAX;

    /// One with so many permits.
    ///
    /// # Panics
    ///
    /// If they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub const fn new(permits: usize) -> Semaphore {
        assert!(permits <= MAX, "more than Semaphore::MAX_PERMITS permits");
        Semaphore {
            raw: RawSemaphore::new(permits),
        }
    }

    /// Waits for a permit.
    #[inline]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Waits for so many permits, and takes all of them together.
    ///
    /// # Panics
    ///
    /// If they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[inline]
    pub fn acquire_many(&self, permits: usize) -> SemaphorePermit<'_> {
        self.raw.acquire(possible(permits), None);
        self.permit(permits)
    }

    /// [`acquire`](Self::acquire), for `timeout` at the most. `None` if there was no permit in time.
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, timeout)
    }

    /// [`acquire_many`](Self::acquire_many), for `timeout` at the most. `None` if there were not as many in time.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        let deadline = Instant::now().checked_add(timeout);
        self.raw
            .acquire(possible(permits), deadline)
            .then(|| self.permit(permits))
    }

    /// Takes a permit if there is one and nobody waits.
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if they are there and nobody waits.
    #[inline]
    pub fn try_acquire_many(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        self.raw.try_acquire(permits).then(|| self.permit(permits))
    }

    /// Adds permits: new ones, or those of a [forgotten](SemaphorePermit::forget) guard.
    ///
    /// # Panics
    ///
    /// If there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS) to take.
    pub fn add_permits(&self, permits: usize) {
        assert!(
            self.raw.release(permits),
            "more than Semaphore::MAX_PERMITS permits"
        );
    }

    /// How many permits are there to take. Others may take them, or add to them, at any time.
    pub fn available_permits(&self) -> usize {
        self.raw.available()
    }

    /// For who has taken them.
    #[inline]
    fn permit(&self, permits: usize) -> SemaphorePermit<'_> {
        SemaphorePermit {
            semaphore: self,
            permits,
        }
    }
}

#[inline]
fn possible(permits: usize) -> usize {
    assert!(permits <= MAX, "more than Semaphore::MAX_PERMITS permits");
    permits
}

impl SemaphorePermit<'_> {
    /// How many permits these are.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Does not give them back. [`Semaphore::add_permits`] can do so later.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        // If too many were added meanwhile there is no room for all of them.
        self.semaphore.raw.give_back(self.permits);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}
