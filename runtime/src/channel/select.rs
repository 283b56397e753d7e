//! Waiting for one of several arms.
//!
//! First the arms are looked at one after another: mostly one is ready. If none is,
//! the locks of all are taken, in the order of their addresses, and all are looked
//! at again; and if there is still nothing, an entry is put into each one's queue
//! before any of the locks is released. Go's `select` does it so.
//!
//! | holding all the locks                      | because                              |
//! |--------------------------------------------|--------------------------------------|
//! | nothing can become ready between the look  | a wake-up would be missed, and a     |
//! | at one arm and the look at another         | select with a default would take it  |
//! |                                            | though one arm was ready all along   |
//! | a select looks while its own wait is shut, | two selects that find each other     |
//! | and opens it when it looks no more         | would need both claims at once       |
//!
//! The second is what makes a rendezvous of two selects simple. Whoever looks is not
//! to be found in any queue, so it takes *one* claim, that of the other, who waits.
//! Were the entries put in one after another, with a look in between, then each of
//! two selects could have claimed the other and could not be claimed itself: both
//! would have to let go and begin again, as long as chance has it.
//!
//! Nobody waits for one lock with another held but in their one order, so they
//! cannot deadlock; several arms of one channel share its lock.
//!
//! A wait is ended through one arm, since its claim is taken once. The entries of
//! the others are taken out, each under its lock, before anything else is done.

use core::ops::Deref;
use std::time::Instant;

use crate::channel::arm::{Arm, Found};
use crate::channel::chan::{AGAIN, Until};
use crate::channel::random;
use crate::scheduler::wait::Wait;
use crate::sync::party::{Ended, Party};

/// How to select.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Takes the first that is ready, not any.
    pub(crate) biased: bool,
    /// Does nothing, only finds out what is ready.
    pub(crate) watch: bool,
}

/// Waits until one of the arms is done, or ready, and returns which. `order` is room
/// for a number for each.
pub(crate) fn select<A>(arms: &[A], order: &mut [usize], how: How, until: Until) -> Option<usize>
where
    A: Deref<Target: Arm>,
{
    debug_assert_eq!(arms.len(), order.len());
    if let Some(id) = one_by_one(arms, order, how) {
        return Some(id);
    }
    // Stable, so that those of one channel stay shuffled.
    order.sort_by_key(|id| arms[*id].key());
    let party = (until != Until::Now).then(Party::new);
    let mut late = false;
    loop {
        lock_all(arms, order);
        // SAFETY: the locks were just taken.
        let found = unsafe { look_at_all(arms, how) };
        let waits = party.as_ref().filter(|_| found.is_none() && !late);
        if let Some(party) = waits {
            party.open();
            for id in order.iter().copied() {
                // SAFETY: it leaves below; nothing in between unwinds.
                unsafe { arms[id].enter(party, id, how.watch) };
            }
        }
        // SAFETY: the locks were taken above.
        unsafe { unlock_all(arms, order) };
        if let Some((id, found)) = found {
            if arms[id].finish(found) {
                return Some(id);
            }
            continue;
        }
        let party = waits?;
        if !how.watch {
            arms.iter().for_each(|arm| arm.announce());
        }
        let ended = party.wait(Wait::Selecting, deadline(arms, until), false);
        let through = match ended {
            Ended::By(outcome) => Some(outcome.id()),
            _ => None,
        };
        for (id, arm) in arms.iter().enumerate() {
            if through != Some(id) {
                arm.leave(how.watch);
            }
        }
        match ended {
            Ended::By(outcome) => {
                if !how.watch {
                    arms[outcome.id()].ended(outcome.kind());
                }
                if outcome.kind() != AGAIN {
                    return Some(outcome.id());
                }
            }
            Ended::Cancelled => party.unwind(),
            Ended::TimedOut => {
                late = matches!(until, Until::At(deadline) if Instant::now() >= deadline);
            }
            Ended::Nothing => {}
        }
    }
}

/// Looks at the arms in turn until one is ready: from the first on, or shuffled.
/// Leaves a permutation in `order`.
fn one_by_one<A>(arms: &[A], order: &mut [usize], how: How) -> Option<usize>
where
    A: Deref<Target: Arm>,
{
    for (id, place) in order.iter_mut().enumerate() {
        *place = id;
    }
    for at in 0..order.len() {
        if !how.biased {
            order.swap(at, at + random::below(order.len() - at));
        }
        let id = order[at];
        if arms[id].attempt(how.watch) {
            return Some(id);
        }
    }
    None
}

/// # Safety
///
/// The caller has all the locks.
unsafe fn look_at_all<A>(arms: &[A], how: How) -> Option<(usize, Found)>
where
    A: Deref<Target: Arm>,
{
    let first = match how.biased {
        true => 0,
        false => random::below(arms.len()),
    };
    (first..arms.len()).chain(0..first).find_map(|id| {
        // SAFETY: by the contract.
        match unsafe { arms[id].find(how.watch) } {
            Found::Nothing => None,
            found => Some((id, found)),
        }
    })
}

fn lock_all<A>(arms: &[A], order: &[usize])
where
    A: Deref<Target: Arm>,
{
    let mut last = 0;
    for id in order {
        let key = arms[*id].key();
        if key != last {
            arms[*id].lock();
            last = key;
        }
    }
}

/// # Safety
///
/// They were locked by `lock_all` with the same order.
unsafe fn unlock_all<A>(arms: &[A], order: &[usize])
where
    A: Deref<Target: Arm>,
{
    let mut last = 0;
    for id in order {
        let key = arms[*id].key();
        if key != last {
            // SAFETY: by the contract.
            unsafe { arms[*id].unlock() };
            last = key;
        }
    }
}

/// When to look again at the latest.
fn deadline<A>(arms: &[A], until: Until) -> Option<Instant>
where
    A: Deref<Target: Arm>,
{
    arms.iter()
        .filter_map(|arm| arm.due())
        .chain(until.deadline())
        .min()
}
