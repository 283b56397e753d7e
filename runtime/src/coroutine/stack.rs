//! Where the stacks of coroutines come from.
//!
//! A stack is a slot of a *slab*, one large mapping that is cut into slots of
//! one size:
//!
//! ```text
//! limit                                             limit + guard + size
//!   | guard |  size, grows down  <- - - - - - - - | colour |
//!   | page  |                                     |        |
//!                                                base
//! ```
//!
//! As with threads, *size* is without the guard, which comes on top. Only pages
//! that were touched take memory.
//!
//! *Colour* shifts the base of each slot by a different multiple of three cache
//! lines. Without it the hottest lines of all stacks, those at the top, share
//! an offset within the page and so fight for the same few sets of the first
//! cache. The shift is bounded, because what a parked coroutine has on its
//! stack should fit into the rest of that one page. In the larger caches, whose
//! sets go by more bits of the address, the guard page does the same: since a
//! slot is an odd number of pages for the usual sizes, the tops of neighbours
//! differ in those bits too. Just below the colour lies the stack's fiber.
//!
//! The guard is installed when a slot is handed out for the first time and stays
//! for good: giving pages back leaves it alone. A slot whose guard cannot be
//! installed is never handed out.
//!
//! Slabs are unmapped when the pool goes, and the pool goes after its last
//! stack, since each [`Stack`] holds a count of it. The count is touched once an
//! allocation, which is rare: workers recycle stacks among their own coroutines
//! and come here only when they have too few or too many.

mod slab;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corosensei::stack::StackPointer;

use self::slab::{Class, Slot, out_of_memory};
use super::guard::{Guard, Guards, page_size};

/// The size of a stack, in bytes, unless the program chooses another.
pub(crate) const DEFAULT_STACK_SIZE: usize = 256 * 1024;

/// The least size of a stack, in bytes. A panic takes two pages of it; one that
/// prints a backtrace takes six, and so needs a stack of 32 KiB.
pub(crate) const MIN_STACK_SIZE: usize = 16 * 1024;

/// The greatest size of a stack, in bytes. More is a mistaken unit.
pub(crate) const MAX_STACK_SIZE: usize = 1 << 30;

const COLOURS: usize = 8;

/// Three cache lines; also a multiple of what a stack pointer is aligned to.
const COLOUR_STEP: usize = 192;

/// The stacks of one runtime, shared by its workers.
pub(crate) struct StackPool {
    /// The last allocation failed and nothing came back since. Written under the
    /// lock, so that a failure cannot hide the release that came after it.
    exhausted: AtomicBool,
    /// What the last failure said.
    shortage: Mutex<String>,
    /// By the size of their slots. Dropped before `guards`, see there.
    classes: Mutex<HashMap<usize, Class>>,
    guards: Guards,
}

impl StackPool {
    /// Fails when `guard` is something that this kernel does not have.
    pub(crate) fn new(guard: Guard) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            exhausted: AtomicBool::new(false),
            shortage: Mutex::default(),
            classes: Mutex::default(),
            guards: Guards::new(guard)?,
        }))
    }

    /// A stack of `size` bytes, rounded up to whole pages, and a guard below it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the size is out of bounds; `OutOfMemory` when the
    /// system has no memory or no mappings for it.
    pub(crate) fn allocate(self: &Arc<Self>, size: usize) -> io::Result<Stack> {
        let size = slot_size(size)?;
        let slot = self.allocate_slot(size).inspect_err(|error| {
            *self.shortage() = error.to_string();
        })?;
        Ok(self.stack(slot, size))
    }

    /// Takes many stacks back at a third of the price of dropping each: one lock,
    /// and one system call for each run of neighbours.
    pub(crate) fn release_many(&self, stacks: impl IntoIterator<Item = Stack>) {
        let mut stacks: Vec<_> = stacks.into_iter().collect();
        if stacks.is_empty() {
            // Nothing that could end an exhaustion.
            return;
        }
        assert!(stacks.iter().all(|stack| stack.belongs_to(self)));
        stacks.sort_unstable_by_key(|stack| stack.limit);
        for run in stacks.chunk_by(|lower, upper| lower.end() == upper.limit.addr().get()) {
            let start = run[0].limit;
            let end = run[run.len() - 1].end();
            // SAFETY: the run is whole slots without a gap, all of them the caller's and given up here.
            unsafe { discard(start, end - start.addr().get()) };
        }
        let slots: Vec<_> = stacks.into_iter().map(Stack::into_slot).collect();
        let mut classes = self.classes();
        for (slot, size) in slots {
            classes.entry(size).or_default().put(slot);
        }
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// Whether the last allocation failed and no stack was returned since: a
    /// hint that the next one would fail as well. Another size may still be had,
    /// and so may a stack that somebody keeps for reuse outside the pool.
    pub(crate) fn exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// The error of somebody who would be the next to fail.
    #[cold]
    pub(crate) fn out_of_stacks(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!(
                "no coroutine can start before another ends: {}",
                self.shortage()
            ),
        )
    }

    fn shortage(&self) -> MutexGuard<'_, String> {
        self.shortage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate_slot(&self, size: usize) -> io::Result<NonNull<u8>> {
        let mut classes = self.classes();
        let result = classes.entry(size).or_default().take(size);
        self.exhausted.store(result.is_err(), Ordering::Relaxed);
        drop(classes);
        let slot = match result? {
            Slot::Guarded(slot) => return Ok(slot),
            Slot::Unguarded(slot) => slot,
        };
        // Outside the lock: the kernel has locks enough of its own here.
        // SAFETY: the slot starts with a page of a slab of ours, and it was taken out of the class,
        // so that nobody else has it.
        let Err(error) = (unsafe { self.guards.install(slot) }) else {
            return Ok(slot);
        };
        let mut classes = self.classes();
        let class = classes.entry(size).or_default();
        match class.exchange(slot) {
            Some(slot) => Ok(slot),
            None => {
                self.exhausted.store(true, Ordering::Relaxed);
                Err(out_of_memory(size, class.in_use, error))
            }
        }
    }

    /// Wraps up a slot that was taken out of its class.
    fn stack(self: &Arc<Self>, slot: NonNull<u8>, size: usize) -> Stack {
        // The switch makes pointers into the stack from the integers `base` and `limit`.
        let address = slot.expose_provenance();
        // Every sixteenth goes one further, so that each line of the page meets
        // each page of the larger caches.
        let index = address.get() / size;
        let colour = (index + index / 16) % COLOURS * COLOUR_STEP;
        Stack {
            limit: slot,
            base: address
                .checked_add(size - colour)
                .expect("a slot ends within the address space"),
            pool: Arc::clone(self),
        }
    }

    fn take_back(&self, slot: NonNull<u8>, size: usize) {
        // SAFETY: the stack that owned the slot is being dropped.
        unsafe { discard(slot, size) };
        let mut classes = self.classes();
        classes.entry(size).or_default().put(slot);
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// Nothing that runs under the lock leaves a class half changed when it panics.
    fn classes(&self) -> MutexGuard<'_, HashMap<usize, Class>> {
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the pages of slots back to the system. Guards stay: the kernel keeps
/// both kinds over this advice.
///
/// A failure (memory locked by `mlockall`) costs the memory, not correctness:
/// nobody counts on a stack being zeroed.
///
/// # Safety
///
/// The range is whole slots that belong to the caller, with nothing on them in use.
unsafe fn discard(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the contents are the caller's to lose, by this function's contract.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

/// The size of the slot for a stack of `size` bytes.
fn slot_size(size: usize) -> io::Result<usize> {
    if !(MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a coroutine cannot have a stack of {size} bytes: it takes at least \
                 {MIN_STACK_SIZE} (16 KiB) and at most {MAX_STACK_SIZE} (1 GiB)"
            ),
        ));
    }
    let page = page_size();
    Ok(size.next_multiple_of(page) + page)
}

/// The exclusive right to one slot, guard installed. Dropping it returns the
/// slot to its pool.
pub(crate) struct Stack {
    limit: NonNull<u8>,
    base: StackPointer,
    pool: Arc<StackPool>,
}

// SAFETY: the slot is plain memory that nobody else has, and the pool may be used from every thread.
unsafe impl Send for Stack {}

// SAFETY: through a shared reference a stack tells its addresses and nothing more.
unsafe impl Sync for Stack {}

impl Stack {
    /// The size of the stack in bytes, colour and what was set aside included.
    pub(crate) fn size(&self) -> usize {
        self.slot_size() - page_size()
    }

    /// The size of the slot in bytes, guard page and colour included.
    fn slot_size(&self) -> usize {
        // The colour and what was set aside are less than a page, and a slot is
        // whole pages.
        (self.base.get() - self.limit.addr().get()).next_multiple_of(page_size())
    }

    /// The addresses at which an access means that this stack has overflowed.
    pub(crate) fn guard_range(&self) -> Range<usize> {
        let start = self.limit.addr().get();
        start..start + page_size()
    }

    /// Lowers the base by `bytes`, and returns where they begin: memory that
    /// whoever has the stack may use as long as the stack is there.
    pub(crate) fn set_aside(&mut self, bytes: usize) -> NonNull<u8> {
        let base = self.base.get() - bytes;
        let offset = base - self.limit.addr().get();
        assert!(
            bytes.is_multiple_of(corosensei::stack::STACK_ALIGNMENT)
                && COLOURS * COLOUR_STEP + bytes < page_size(),
        );
        self.base = StackPointer::new(base).expect("a slot does not start at null");
        // SAFETY: still in the last page of the slot.
        unsafe { self.limit.add(offset) }
    }

    fn belongs_to(&self, pool: &StackPool) -> bool {
        ptr::eq(Arc::as_ptr(&self.pool), pool)
    }

    /// The address after the slot, where another may begin.
    fn end(&self) -> usize {
        self.limit.addr().get() + self.slot_size()
    }

    /// Takes the slot out without returning it to the pool.
    fn into_slot(self) -> (NonNull<u8>, usize) {
        let stack = ManuallyDrop::new(self);
        // SAFETY: the pool is read once, from a stack that is not used or dropped after.
        drop(unsafe { ptr::read(&stack.pool) });
        (stack.limit, stack.slot_size())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.pool.take_back(self.limit, self.slot_size());
    }
}

// SAFETY: the slot below `base` is this token's alone until it is dropped; its lowest page, at
// `limit`, is an installed guard (`StackPool::allocate_slot` hands out no other) and at least
// 16 KiB less the colour and what was set aside lie above. Both ends are aligned: slots start
// at a page, and a colour is a multiple of 16.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit.addr()
    }
}

const _: () = assert!(COLOUR_STEP.is_multiple_of(corosensei::stack::STACK_ALIGNMENT));
