//! The park token: what makes a wake-up that comes too early be remembered,
//! and one that comes twice wake only once.
//!
//! | state (and PERMIT or not) | `prepare_park`, by the coroutine | `unpark`, by anyone |
//! |---------------------------|----------------------------------|---------------------|
//! | nothing                   | to PARKED: switch away           | to TOKEN            |
//! | TOKEN                     | to nothing: do not park          | stays TOKEN         |
//! | PARKED                    | cannot be: it does not run       | to nothing: **enqueue it** |
//!
//! An unpark that ends PARKED clears it itself. So exactly one unparker has
//! to enqueue the coroutine, and resuming it needs no atomics: whatever comes
//! between the enqueueing and the resuming is a TOKEN for its next park.
//!
//! There is no handshake between "PARKED" and "has switched away". A coroutine
//! resumes only on its home thread: an unparker on another thread enqueues it
//! through the home's inbox, and the home looks there after the switch.
//!
//! PERMIT is the user's own `unpark()`, which must survive waits of the library
//! in between. It is set beside the wake-up, and only the user's own `park()`
//! takes it; an internal wait that it wakes sees that its condition does not
//! hold and parks again.

use crate::facade::{AtomicU32, Ordering};

const PARKED: u32 = 1;
const TOKEN: u32 = 2;
const PERMIT: u32 = 4;

/// Whether a coroutine is parked, and what it was told meanwhile.
pub(crate) struct Token {
    state: AtomicU32,
}

impl Token {
    /// Neither parked nor unparked yet.
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
        }
    }

    /// For the coroutine itself, as the last thing before it switches away.
    ///
    /// `true`: it counts as parked now and must switch away; some unparker
    /// will enqueue it. `false`: a wake-up had come already and has been
    /// consumed; all that the unparker did before it is visible.
    #[inline]
    pub(crate) fn prepare_park(&self) -> bool {
        // No load first: the guess is nearly always right.
        let mut state = 0;
        loop {
            let next = if state & TOKEN == 0 {
                state | PARKED
            } else {
                state & !TOKEN
            };
            // Ordering: Acquire for what was done before the unparks whose
            // TOKEN this consumes. Release so that the unparker that ends PARKED
            // comes after all that the coroutine did, its home's last use of
            // the coroutine's link included.
            match self
                .state
                .compare_exchange(state, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return state & TOKEN == 0,
                Err(now) => state = now,
            }
        }
    }

    /// From any thread: wakes the coroutine up.
    ///
    /// `true`: it was parked and no longer is; the caller, and nobody else,
    /// must enqueue it now. `false`: it was not, and its next park will return
    /// at once.
    #[inline]
    pub(crate) fn unpark(&self) -> bool {
        self.wake(0)
    }

    /// The same, and leaves the user's permit: for the public `unpark()`.
    #[inline]
    pub(crate) fn unpark_with_permit(&self) -> bool {
        self.wake(PERMIT)
    }

    /// For the coroutine itself: whether [`Token::take_permit`] will find one.
    #[inline]
    pub(crate) fn has_permit(&self) -> bool {
        // Ordering: Relaxed, it only informs.
        self.state.load(Ordering::Relaxed) & PERMIT != 0
    }

    /// For the coroutine itself, in the public `park()`: whether there was a
    /// permit. It is gone then, and so is a TOKEN, which has nothing left to
    /// say to a coroutine that does not park.
    #[inline]
    pub(crate) fn take_permit(&self) -> bool {
        // Ordering: Relaxed. A permit that is missed here comes with a TOKEN,
        // which the `prepare_park` that follows cannot miss.
        if self.state.load(Ordering::Relaxed) & PERMIT == 0 {
            return false;
        }
        // Ordering: Acquire for what was done before the unparks.
        self.state.fetch_and(!(PERMIT | TOKEN), Ordering::Acquire);
        true
    }

    /// Whether it was parked a moment ago.
    #[inline]
    pub(crate) fn is_parked(&self) -> bool {
        // Ordering: Relaxed, it only informs.
        self.state.load(Ordering::Relaxed) & PARKED != 0
    }

    /// Forgets everything. Only for whoever has the coroutine to itself.
    #[inline]
    pub(crate) fn reset(&self) {
        // Ordering: Relaxed, as nobody else may look.
        self.state.store(0, Ordering::Relaxed);
    }

    #[inline]
    fn wake(&self, permit: u32) -> bool {
        let mut state = PARKED;
        loop {
            let next = permit
                | if state & PARKED == 0 {
                    state | TOKEN
                } else {
                    state & !PARKED
                };
            // The exchange is needed even if TOKEN is set already and nothing
            // changes: the coroutine that consumes it must see what *this*
            // caller did before, or it would look at its condition too early
            // and park for good.
            // Ordering: Release for that. Acquire pairs with `prepare_park`, so
            // that who enqueues the coroutine comes after its last use.
            match self
                .state
                .compare_exchange(state, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return state & PARKED != 0,
                Err(now) => state = now,
            }
        }
    }
}
