//! How a plain thread keeps to the deadlines that it is in: its waits ask here
//! how long they may last, and when they come back, whether to unwind.

use std::cell::Cell;
use std::time::Instant;

use super::frame::Frames;
use crate::coroutine::outcome::{Unwinding, Why};

thread_local! {
    // Nothing here has a destructor, so it is there to the thread's very end.
    static FRAMES: Frames = const { Frames::new() };
    /// Shields that hold deadlines back.
    static SHIELDS: Cell<u8> = const { Cell::new(0) };
    /// The number of the frame that the thread unwinds for.
    static UNWINDING: Cell<Option<u64>> = const { Cell::new(None) };
}

pub(super) fn frames<R>(f: impl FnOnce(&Frames) -> R) -> R {
    FRAMES.with(f)
}

pub(crate) fn shields() -> u8 {
    SHIELDS.get()
}

pub(crate) fn set_shields(shields: u8) {
    SHIELDS.set(shields);
}

/// How long a wait may last whose own deadline is `own`.
#[inline]
pub(crate) fn limit(own: Option<Instant>) -> Option<Instant> {
    if FRAMES.with(Frames::is_empty) {
        own
    } else {
        limit_inside(own)
    }
}

#[cold]
fn limit_inside(own: Option<Instant>) -> Option<Instant> {
    // A destructor's wait is not cut short: a second unwinding would abort.
    if std::thread::panicking() {
        return own;
    }
    let outer = FRAMES.with(|frames| frames.earliest(shields()));
    match (own, outer) {
        (Some(own), Some(outer)) => Some(own.min(outer)),
        (own, outer) => own.or(outer),
    }
}

/// Whether a deadline has passed that the thread is in, and it may be unwound.
#[inline]
pub(crate) fn is_due() -> bool {
    !FRAMES.with(Frames::is_empty) && is_due_inside()
}

#[cold]
fn is_due_inside() -> bool {
    let now = Instant::now();
    !std::thread::panicking()
        && FRAMES.with(|frames| {
            frames.expire(now);
            frames.due(shields()).is_some()
        })
}

/// Unwinds the thread if it [is due](is_due). Comes where a coroutine would
/// suspend.
#[inline]
pub(crate) fn unwind_if_due() {
    if is_due() {
        unwind();
    }
}

/// Unwinds the thread, which is due.
#[cold]
pub(crate) fn unwind() -> ! {
    let frame = FRAMES.with(|frames| {
        let due = frames.due(shields());
        due.expect("the caller has seen that one is due").deliver()
    });
    UNWINDING.set(Some(frame));
    Unwinding::start(None, Why::Elapsed(frame))
}

/// Whether it is a deadline that the thread unwinds for. Not once the frame has
/// been left, though the payload may have gone elsewhere.
pub(crate) fn is_unwinding() -> bool {
    UNWINDING
        .get()
        .is_some_and(|frame| FRAMES.with(|frames| frames.has(frame)))
}

/// A thread's payload is dropped, on this thread or another.
pub(crate) fn unwound(why: Why) {
    if UNWINDING.get().map(Why::Elapsed) == Some(why) {
        UNWINDING.set(None);
    }
}
