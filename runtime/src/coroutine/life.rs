//! The end of a coroutine: who still holds its block, whether it is done, and
//! whether somebody waits for that. All in one word, so that ending a
//! coroutine that nobody waits for costs one exchange, or none at all.
//!
//! | bits          | meaning                                                  |
//! |---------------|----------------------------------------------------------|
//! | DONE          | the result is written; set once, by the finisher         |
//! | JOINING       | the waiter cell is filled; set and cleared by the joiner |
//! | WATCHED       | there are callbacks for its end; set by the first        |
//! | the rest      | references to the block: the runtime's one and the handles' |
//!
//! # The waiter cell
//!
//! Next to a `Life` lies a plain cell in which a joiner writes whom to wake.
//! There is one joiner at a time (joining takes the handle), and the cell
//! belongs to:
//!
//! - the joiner, until its [`set_joining`](Life::set_joining) returns `true`,
//!   and again once its [`clear_joining`](Life::clear_joining) returns `true`;
//! - the finisher, if it was told that there is a joiner.
//!
//! Both sides change one word, so one of them is second and knows it: either
//! the joiner hears that the coroutine is DONE, or the finisher hears of the
//! joiner. The joiner may return before it is woken, since it only waits for
//! DONE. What the cell names must therefore stay fit to be woken until the
//! finisher has done so, and the block must stay too: the finisher keeps its
//! own reference until then.
//!
//! # Callbacks
//!
//! DONE and WATCHED are never cleared. Whoever sets the second of them calls what
//! is in the list of [`exits`](super::exits): the finisher, which keeps its own
//! reference for it, or who came with the first callback too late.

use crate::facade::{AtomicU32, Ordering, fence};

const DONE: u32 = 1;
const JOINING: u32 = 2;
const WATCHED: u32 = 4;
const ONE: u32 = 8;

/// More references than this are a leak. Far enough from the word's end that
/// no number of threads gets there between counting up and noticing.
const MOST: u32 = u32::MAX / ONE / 2;

/// References, DONE, JOINING and WATCHED.
pub(crate) struct Life {
    word: AtomicU32,
}

/// What [`Life::finish_and_release`] leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Nothing. Others hold the block, the caller must not touch it any more.
    Released,
    /// Nobody else holds the block: the caller calls the callbacks if it is
    /// `watched`, and frees it.
    Last { watched: bool },
    /// The caller still holds its reference: it takes the waiter of a `joiner` out
    /// of the cell and wakes it, calls the callbacks if it is `watched`, and then
    /// [`Life::release`].
    Kept { joiner: bool, watched: bool },
}

impl Life {
    /// Not done, nobody waits, `refs` references.
    pub(crate) fn new(refs: u32) -> Self {
        Self {
            word: AtomicU32::new(refs * ONE),
        }
    }

    /// Back to [`Life::new`]. Only for whoever has the block to itself.
    #[inline]
    pub(crate) fn reset(&self, refs: u32) {
        // Ordering: Relaxed, as nobody else may look.
        self.word.store(refs * ONE, Ordering::Relaxed);
    }

    /// One more reference, for a caller that has one.
    ///
    /// # Panics
    ///
    /// If there are a quarter of a billion: they must have been leaked, and one
    /// too many would free the block under those that are left.
    #[inline]
    pub(crate) fn retain(&self) {
        // Ordering: Relaxed, as the caller's own reference keeps the block.
        let before = self.word.fetch_add(ONE, Ordering::Relaxed);
        if before / ONE > MOST {
            self.too_many();
        }
    }

    /// One reference less. `true`: it was the last, free the block; all that
    /// others did while they held theirs is visible. `false`: the caller must
    /// not touch the block any more.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        // Ordering: Acquire pairs with the Release of those who let go before.
        // If ours is the only reference nobody can make another, so there is
        // no need to write the count down.
        if self.word.load(Ordering::Acquire) / ONE == 1 {
            return true;
        }
        // Ordering: Release for whoever will be the last.
        if self.word.fetch_sub(ONE, Ordering::Release) / ONE != 1 {
            return false;
        }
        // Ordering: and Acquire if that turns out to be us.
        fence(Ordering::Acquire);
        true
    }

    /// Whether the coroutine is done. If so, its result is visible.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // Ordering: Acquire pairs with the Release that set DONE.
        self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// For the joiner, after it has filled the waiter cell. `true`: the
    /// finisher will wake it. `false`: the coroutine is done, its result
    /// visible, and the cell remains the joiner's.
    #[inline]
    pub(crate) fn set_joining(&self) -> bool {
        // If it is done the bit stays behind, but nobody looks at it any more.
        // Ordering: Release hands the cell to the finisher, Acquire is for the
        // result.
        self.word.fetch_or(JOINING, Ordering::AcqRel) & DONE == 0
    }

    /// For a joiner that gives up waiting. `true`: the cell is the joiner's
    /// again, nobody will read it. `false`: too late, the coroutine is done and
    /// its result visible; the finisher has the cell and wakes, or has woken,
    /// whom it names.
    #[inline]
    pub(crate) fn clear_joining(&self) -> bool {
        // Ordering: Acquire for the result. No Release, as a finisher that sees
        // the bit cleared does not look at the cell.
        self.word.fetch_and(!JOINING, Ordering::Acquire) & DONE == 0
    }

    /// For whoever has added a callback, after that. `true`: the coroutine is done,
    /// its result visible, and this is the first callback: call it.
    pub(crate) fn set_watched(&self) -> bool {
        // Ordering: Release shows the finisher the list, Acquire is for the
        // result.
        let before = self.word.fetch_or(WATCHED, Ordering::AcqRel);
        before & (DONE | WATCHED) == DONE
    }

    /// For the finisher, after it has written the result: sets DONE, and gives
    /// up its reference unless a joiner waits or there are callbacks. That takes one exchange, or none
    /// if nobody else holds the block.
    #[inline]
    pub(crate) fn finish_and_release(&self) -> Finish {
        // Ordering: Acquire as in `release`, if ours is the only reference.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (joiner, watched) = (word & JOINING != 0, word & WATCHED != 0);
            if word / ONE == 1 {
                return Finish::Last { watched };
            }
            let next = if word & (JOINING | WATCHED) == 0 {
                (word | DONE) - ONE
            } else {
                word | DONE
            };
            // Ordering: Release publishes the result and lets go of the block,
            // Acquire is for the cell, or for freeing the block.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) if !joiner && !watched => return Finish::Released,
                Ok(_) => return Finish::Kept { joiner, watched },
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn too_many(&self) -> ! {
        // Ordering: Relaxed, it undoes an increment that nobody relied on.
        self.word.fetch_sub(ONE, Ordering::Relaxed);
        panic!("a coroutine has more than {MOST} handles: are they being leaked?");
    }
}
