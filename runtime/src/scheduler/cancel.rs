//! Asking a coroutine to end.
//!
//! A request is *delivered* at the coroutine's next suspension, by unwinding.
//! Whether one is `due` is a plain cell of the home's thread, which every
//! suspension looks at and only that thread writes. How requests get there from
//! elsewhere: [`requests`](super::requests).

use std::ptr::NonNull;

use crate::coroutine::control::{Control, Phase, Ref};
use crate::facade::{Ordering, fence};
use crate::runtime::runtimes;
use crate::scheduler::remote::Remote;
use crate::scheduler::wait;
use crate::scheduler::worker::Worker;

/// A request that was made elsewhere.
pub(crate) struct Letter {
    to: Ref,
    number: u16,
}

/// How often a coroutine was asked to end: ever, modulo 2^16, and less what was
/// taken back. In one word.
#[derive(Clone, Copy)]
pub(crate) struct Asked(u32);

impl Asked {
    #[inline]
    pub(crate) fn of(coroutine: &Control) -> Self {
        Self(coroutine.asked.load(Ordering::Relaxed))
    }

    /// The number of the last request.
    pub(crate) fn number(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// How many there are, 65,535 at most.
    #[inline]
    pub(crate) fn count(self) -> u16 {
        self.0 as u16
    }

    /// Counts one more.
    fn again(coroutine: &Control) -> Self {
        Self::change(coroutine, |now| {
            (now.number().wrapping_add(1), now.count().saturating_add(1))
        })
    }

    /// Takes one back.
    pub(crate) fn less(coroutine: &Control) -> Self {
        Self::change(coroutine, |now| {
            (now.number(), now.count().saturating_sub(1))
        })
    }

    fn change(coroutine: &Control, change: impl Fn(Self) -> (u16, u16)) -> Self {
        let mut now = Self::of(coroutine);
        loop {
            let (number, count) = change(now);
            let next = u32::from(number) << 16 | u32::from(count);
            // Ordering: Relaxed. What the word tells travels with the letters.
            match coroutine.asked.compare_exchange_weak(
                now.0,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Self(next),
                Err(word) => now = Self(word),
            }
        }
    }
}

/// Null for one that has not started.
fn home_of(coroutine: &Control) -> *const Remote {
    coroutine.home.load(Ordering::Relaxed).cast()
}

/// Asks a coroutine to end, from any thread.
pub(crate) fn request(coroutine: &Ref) {
    let number = Asked::again(coroutine).number();
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    if let Some(worker) = unsafe { wait::worker().as_ref() }
        && std::ptr::eq(home_of(coroutine), worker.remote())
    {
        return worker.cancel(coroutine, number);
    }
    let runtime = coroutine.runtime.load(Ordering::Relaxed);
    let Some(shared) = runtimes().into_iter().find(|shared| shared.id == runtime) else {
        // Its runtime is gone, and so is the coroutine.
        return;
    };
    shared.cancels.push(Letter {
        to: coroutine.clone(),
        number,
    });
    // Ordering: the waker's half of the handshake in `idle`, for `must_stay_up`
    // looks at the version.
    fence(Ordering::SeqCst);
    let home = home_of(coroutine);
    // Only compared: it is one of that runtime's, or none.
    if let Some(home) = shared
        .remotes
        .iter()
        .find(|remote| std::ptr::eq(*remote, home))
        && shared.idle.wake(home.index)
    {
        home.wake();
    }
}

impl Worker {
    /// Whether requests have come since the last look.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        self.shared.cancels.version() != self.requests_seen.get()
    }

    #[cold]
    pub(crate) fn take_requests(&self) {
        self.requests_seen.set(self.shared.cancels.version());
        let me: *const Remote = self.remote();
        let letters = self.shared.cancels.take(
            |letter| home_of(&letter.to) == me,
            |letter| letter.to.life.is_done(),
        );
        for letter in letters {
            self.cancel(&letter.to, letter.number);
        }
    }

    /// Marks a coroutine of this worker's, and has it look.
    fn cancel(&self, coroutine: &Ref, number: u16) {
        if coroutine.phase() != Phase::Started || coroutine.life.is_done() {
            return;
        }
        let dealt_with = number.wrapping_sub(coroutine.delivered.get()).cast_signed() <= 0;
        if dealt_with || Asked::of(coroutine).count() == 0 {
            return;
        }
        coroutine.pending.set(true);
        if coroutine.shields.get() == 0 {
            coroutine.due.set(true);
            wait::interrupt(coroutine.as_ptr());
        }
    }

    /// Wakes those that are due and could not be unwound, as another's panic was
    /// under way. Between two coroutines.
    pub(crate) fn retry_due(&self) {
        let home: *const Remote = self.remote();
        crate::coroutine::slab::for_each(|control| {
            if control.phase() == Phase::Started
                && std::ptr::eq(home_of(control), home)
                && control.due.get()
            {
                control.calm.set(true);
                wait::interrupt(NonNull::from(control));
            }
        });
    }
}
