//! The unstarted coroutines of one worker: a bounded ring of pointers.
//!
//! The owner pushes and pops the **newest** end, so that a fork-join tree is
//! walked depth first over warm memory; thieves take **half of the oldest**,
//! which are the largest subtrees. The idea is Chase and Lev's; the packing of
//! the owner's pops beside the thieves' claims in one word, which turns every
//! removal into one compare-exchange, follows the LIFO worker of st3 by Serge
//! Barral.
//!
//! # State
//!
//! Positions count up for ever, modulo 2^32; position `p` lives in slot
//! `p % N`. With `top = pushes - pops`:
//!
//! ```text
//!      freed        claimed               top             freed + N
//!        |             |                   |                  |
//!  ......|  being      |  the items, the   |  free            |
//!        |  copied out |  oldest first     |                  |
//!        |  by a thief |                   |                  |
//! ```
//!
//! | word      | holds             | written by                             |
//! |-----------|-------------------|----------------------------------------|
//! | `claims`  | (pops, claimed)   | the owner (pops), thieves (claimed), by compare-exchange |
//! | `pushes`  | number of pushes  | the owner                              |
//! | `freed`   | end of copied-out | the one thief that is copying          |
//!
//! `freed <= claimed <= top <= freed + N` always holds. A thief claims only
//! while `freed == claimed`, so at most one copies at a time, and a second one
//! is told [`Steal::Busy`] instead of waiting. The owner never waits either: a
//! thief that stalls in the middle of a copy only makes the ring look full.
//!
//! # Why nothing is lost or taken twice
//!
//! Whoever removes an item does it by changing `claims` with a compare-exchange
//! from the value on which it decided. That value cannot have come back in
//! between (ABA): `pops` only grows, and so does `claimed`. Both wrap, so a
//! thief would have to be stalled between its load and its compare-exchange
//! for an exact multiple of 2^32 pops, minutes of nothing but pushing and
//! popping, with no steal meanwhile.
//!
//! A thief that saw `claims` and then `pushes` may have seen more pushes than
//! belong to those claims, never fewer. If its compare-exchange succeeds there
//! was no pop since, so all that it saw pushed is still there.

use core::array;
use core::cell::Cell;
use core::ptr::{self, NonNull};

use crate::facade::{Arc, AtomicU32, AtomicU64, CachePadded, Ordering, UnsafeCell};

/// Makes an empty deque: the owner's end and one thief's end.
///
/// The deque only carries pointers. It owns nothing of what they point to, so
/// whoever drops the last end has to have drained it before.
pub(crate) fn deque<T, const N: usize>() -> (Owner<T, N>, Stealer<T, N>) {
    const {
        // Positions wrap modulo 2^32, which the slots' index must divide; the
        // half of 2^32 left over keeps differences of positions unambiguous.
        assert!(N.is_power_of_two() && N <= 1 << 31);
    }
    // Starting just below 2^32 takes every program, and every test, over the
    // wrap within its first few items.
    let start = (N as u32 / 2).wrapping_neg();
    let ring = Arc::new(Ring {
        claims: CachePadded::new(AtomicU64::new(pack(start, start))),
        pushes: CachePadded::new(AtomicU32::new(start.wrapping_add(start))),
        freed: CachePadded::new(AtomicU32::new(start)),
        slots: array::from_fn(|_| UnsafeCell::new(ptr::null_mut())),
    });
    let stealer = Stealer { ring: ring.clone() };
    let owner = Owner {
        ring,
        pushes: Cell::new(start.wrapping_add(start)),
        pops: Cell::new(start),
        freed: Cell::new(start),
    };
    (owner, stealer)
}

/// The owner's end: pushes and pops. It may move to another thread but not be
/// shared between threads, which its `Cell`s see to.
pub(crate) struct Owner<T, const N: usize> {
    ring: Arc<Ring<T, N>>,
    /// The owner's own copies of the words that nobody else writes.
    pushes: Cell<u32>,
    pops: Cell<u32>,
    /// `freed` as last seen: a lower bound, looked up again only when the ring
    /// seems full, so that a push does not touch the thieves' cache line.
    freed: Cell<u32>,
}

/// A thief's end: steals and looks.
pub(crate) struct Stealer<T, const N: usize> {
    ring: Arc<Ring<T, N>>,
}

impl<T, const N: usize> Clone for Stealer<T, N> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
        }
    }
}

/// What came of an attempt to steal.
pub(crate) enum Steal<T> {
    /// There was nothing.
    Empty,
    /// There was something, but another thief or the owner was at it.
    Busy,
    /// `first`, the oldest, is the thief's to run; `more` others, all newer,
    /// now lie in the thief's own deque.
    Stolen { first: NonNull<T>, more: usize },
}

struct Ring<T, const N: usize> {
    claims: CachePadded<AtomicU64>,
    pushes: CachePadded<AtomicU32>,
    freed: CachePadded<AtomicU32>,
    slots: [UnsafeCell<*mut T>; N],
}

// SAFETY: the words are atomics. A slot is written by the owner alone, and only
// while no claim covers it; it is read by the owner, or by the one thread whose
// claim covers it. Claims and `freed` order these accesses, which the loom
// models verify as the slots are the facade's cells. The pointers themselves are
// passed on and never followed.
unsafe impl<T, const N: usize> Sync for Ring<T, N> {}
// SAFETY: as above; nothing in it is tied to a thread.
unsafe impl<T, const N: usize> Send for Ring<T, N> {}

/// Positions `from .. from + count`, which only the claimer may read until it
/// hands them back with [`Ring::free`].
struct Claim {
    from: u32,
    count: u32,
}

enum Claimed {
    Empty,
    Busy,
    Some(Claim),
}

#[inline]
fn pack(pops: u32, claimed: u32) -> u64 {
    u64::from(pops) << 32 | u64::from(claimed)
}

#[inline]
fn unpack(claims: u64) -> (u32, u32) {
    ((claims >> 32) as u32, claims as u32)
}

impl<T, const N: usize> Ring<T, N> {
    const CAPACITY: u32 = N as u32;

    #[inline]
    fn slot(&self, position: u32) -> &UnsafeCell<*mut T> {
        &self.slots[position as usize & (N - 1)]
    }

    /// `claims`, and the length that goes with it: never less than what was
    /// there when `claims` was read, more if there were pushes since.
    fn look(&self) -> (u64, u32) {
        // Ordering: Acquire pairs with the Release of the pop or claim that
        // wrote this value, so that the load of `pushes` below is not older
        // than the pushes it counted on: `top` cannot seem to lie below
        // `claimed`.
        let claims = self.claims.load(Ordering::Acquire);
        // Ordering: Acquire pairs with the Release of `push`: the slots of all
        // pushes counted here are visible.
        let pushes = self.pushes.load(Ordering::Acquire);
        let (pops, claimed) = unpack(claims);
        (claims, pushes.wrapping_sub(pops).wrapping_sub(claimed))
    }

    /// Claims the older half, rounded up, but at most `limit`.
    fn claim(&self, limit: u32) -> Claimed {
        let (claims, len) = self.look();
        if len == 0 {
            return Claimed::Empty;
        }
        let (pops, from) = unpack(claims);
        // Ordering: Acquire pairs with the previous thief's Release, and our
        // own Release in `free` passes it on: an owner that sees our `freed`
        // also comes after that thief's reads.
        if self.freed.load(Ordering::Acquire) != from {
            return Claimed::Busy;
        }
        // A length beyond N belongs to outdated claims: the exchange will fail.
        let count = len.div_ceil(2).min(limit).min(Self::CAPACITY);
        let claimed = pack(pops, from.wrapping_add(count));
        // Ordering: Release hands our view of `pushes` to the next thief, see
        // `look`. Nothing to acquire: the value is the one that was loaded.
        match self
            .claims
            .compare_exchange(claims, claimed, Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => Claimed::Some(Claim { from, count }),
            Err(_) => Claimed::Busy,
        }
    }

    /// The pointers of a claim, the oldest first.
    fn read<'a>(&'a self, claim: &Claim) -> impl Iterator<Item = *mut T> + use<'a, T, N> {
        let from = claim.from;
        (0..claim.count).map(move |i| {
            let slot = self.slot(from.wrapping_add(i));
            // SAFETY: `look` acquired the pushes of the claimed slots, and the
            // owner writes them again only after it acquired our `free`.
            slot.with(|slot| unsafe { *slot })
        })
    }

    /// Hands the slots of a claim back to the owner.
    fn free(&self, claim: Claim) {
        // A plain store will do: nobody else may claim until it is seen.
        // Ordering: Release, so that the owner's next write to these slots
        // comes after our reads.
        self.freed
            .store(claim.from.wrapping_add(claim.count), Ordering::Release);
    }

    fn len(&self) -> usize {
        // Claims outdated by pops since can make it seem longer than the ring.
        self.look().1.min(Self::CAPACITY) as usize
    }
}

impl<T, const N: usize> Owner<T, N> {
    /// Adds the newest item, or gives it back if the ring is full.
    #[inline]
    pub(crate) fn push(&self, item: NonNull<T>) -> Result<(), NonNull<T>> {
        let top = self.top();
        if top.wrapping_sub(self.freed.get()) >= Ring::<T, N>::CAPACITY && self.room() == 0 {
            return Err(item);
        }
        // SAFETY: there is room at `top`.
        unsafe { self.write(top, item.as_ptr()) };
        self.publish(1);
        Ok(())
    }

    /// Removes the newest item.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<T>> {
        let pops = self.pops.get();
        let top = self.top();
        // Ordering: Relaxed. `pops` is our own, and of `claimed` only the
        // value that the exchange confirms counts.
        let mut claims = self.ring.claims.load(Ordering::Relaxed);
        loop {
            let (_, claimed) = unpack(claims);
            if claimed == top {
                return None;
            }
            // Ordering: Release, so that a thief that sees this pop also sees
            // the pushes before it, see `Ring::look`.
            match self.ring.claims.compare_exchange_weak(
                claims,
                pack(pops.wrapping_add(1), claimed),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => claims = now,
            }
        }
        self.pops.set(pops.wrapping_add(1));
        let slot = self.ring.slot(top.wrapping_sub(1));
        // SAFETY: only the owner, we, writes slots.
        NonNull::new(slot.with(|slot| unsafe { *slot }))
    }

    /// Removes the oldest item, as a thief would. `None` also if a thief is
    /// copying right now.
    #[inline]
    pub(crate) fn pop_oldest(&self) -> Option<NonNull<T>> {
        let Claimed::Some(claim) = self.ring.claim(1) else {
            return None;
        };
        let item = self.ring.read(&claim).next();
        self.ring.free(claim);
        item.and_then(NonNull::new)
    }

    /// Removes the older half and calls `f` with each, the oldest first.
    /// Returns how many: 0 also if a thief is copying right now.
    ///
    /// `f` must not panic: what it had not been given yet would leak.
    pub(crate) fn take_half(&self, f: impl FnMut(NonNull<T>)) -> usize {
        let Claimed::Some(claim) = self.ring.claim(Ring::<T, N>::CAPACITY) else {
            return 0;
        };
        let count = claim.count as usize;
        self.ring.read(&claim).filter_map(NonNull::new).for_each(f);
        self.ring.free(claim);
        count
    }

    /// How many items there are. Thieves may lower it at any time.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Ordering: Relaxed, as nothing is done on the strength of it but to
        // decide on an operation that looks again.
        let (_, claimed) = unpack(self.ring.claims.load(Ordering::Relaxed));
        self.top().wrapping_sub(claimed) as usize
    }

    /// Whether there is nothing. `true` holds until the next push.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The position of the next push.
    #[inline]
    fn top(&self) -> u32 {
        self.pushes.get().wrapping_sub(self.pops.get())
    }

    /// How many pushes would succeed right now.
    fn room(&self) -> u32 {
        // Ordering: Acquire pairs with the thief's Release in `free`: its
        // reads of the slots come before our next writes to them.
        self.freed.set(self.ring.freed.load(Ordering::Acquire));
        Ring::<T, N>::CAPACITY - self.top().wrapping_sub(self.freed.get())
    }

    /// # Safety
    ///
    /// `position` is not below `top` and was below `freed + N` when the owner
    /// last looked at `freed`.
    #[inline]
    unsafe fn write(&self, position: u32, item: *mut T) {
        let slot = self.ring.slot(position);
        // SAFETY: what was `N` positions before is freed, which was acquired
        // together with its last reader's reads; what comes at or after `top`
        // is not published, so nobody else reads it.
        slot.with_mut(|slot| unsafe { *slot = item });
    }

    #[inline]
    fn publish(&self, count: u32) {
        let pushes = self.pushes.get().wrapping_add(count);
        self.pushes.set(pushes);
        // Ordering: Release makes the slots, and what the items point to,
        // visible to the thief that sees these pushes.
        self.ring.pushes.store(pushes, Ordering::Release);
    }
}

impl<T, const N: usize> Stealer<T, N> {
    /// Takes the older half of what is there, but no more than `dest` has room
    /// for beside the one that is returned.
    pub(crate) fn steal_into(&self, dest: &Owner<T, N>) -> Steal<T> {
        let claim = match self.ring.claim(dest.room() + 1) {
            Claimed::Empty => return Steal::Empty,
            Claimed::Busy => return Steal::Busy,
            Claimed::Some(claim) => claim,
        };
        let more = claim.count - 1;
        let mut items = self.ring.read(&claim);
        let first = items.next().and_then(NonNull::new);
        let top = dest.top();
        for (i, item) in (0..more).zip(items) {
            // SAFETY: the claim was limited to the room that `dest` had, which
            // nobody but us, its owner, uses up.
            unsafe { dest.write(top.wrapping_add(i), item) };
        }
        self.ring.free(claim);
        if more > 0 {
            dest.publish(more);
        }
        Steal::Stolen {
            first: first.expect("only pointers that are not null are pushed"),
            more: more as usize,
        }
    }

    /// How many items there were a moment ago.
    ///
    /// After a `fence(SeqCst)` it counts every push whose pusher went through
    /// its own `fence(SeqCst)` earlier: a thief that announces its sleep,
    /// fences and looks, and an owner that pushes, fences and looks for
    /// sleepers, cannot both miss the other.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// A number that changes whenever something was pushed, popped or stolen.
    /// It lets a thief tell a lone item that was just pushed, which its owner
    /// will run at once, from one that was left waiting.
    pub(crate) fn stamp(&self) -> u64 {
        // Ordering: Relaxed. Nothing is read on the strength of a stamp, and one
        // thread never sees a word go back.
        let claims = self.ring.claims.load(Ordering::Relaxed);
        let pushes = self.ring.pushes.load(Ordering::Relaxed);
        let (pops, claimed) = unpack(claims);
        // Both only grow, so their sum stays the same only if both do.
        pack(pushes.wrapping_add(pops), claimed)
    }
}
