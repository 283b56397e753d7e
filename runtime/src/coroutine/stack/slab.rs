//! Slabs, the large mappings that stacks are slots of, and the free slots of one
//! size.

use crate::coroutine::guard::page_size;
use std::io;
use std::ptr::{self, NonNull};

/// Slots in the first slab of a size. Each further slab has twice as many, so
/// that a small program reserves little and a million stacks take few mappings.
const FIRST_SLAB_SLOTS: usize = 16;

/// Slots in the largest slab.
const MAX_SLAB_SLOTS: usize = 4096;

/// Bytes in the largest slab, unless a single slot has more.
const MAX_SLAB_BYTES: usize = 1 << 30;

/// All slots of one size.
#[derive(Default)]
pub(super) struct Class {
    slabs: Vec<Slab>,
    /// Slots of the last slab that have been handed out before.
    carved: usize,
    /// Slots with a guard that are not handed out, the last returned at the end.
    free: Vec<NonNull<u8>>,
    /// Slots whose guard could not be installed; tried again before new ones.
    unguarded: Vec<NonNull<u8>>,
    pub(super) in_use: usize,
}

// SAFETY: the pointers are to slots that belong to the class alone; whoever has
// the class may hand them out, on any thread.
unsafe impl Send for Class {}

/// A slot taken out of its class.
pub(super) enum Slot {
    Guarded(NonNull<u8>),
    Unguarded(NonNull<u8>),
}

impl Class {
    pub(super) fn take(&mut self, size: usize) -> io::Result<Slot> {
        let slot = if let Some(slot) = self.free.pop() {
            Slot::Guarded(slot)
        } else if let Some(slot) = self.unguarded.pop() {
            Slot::Unguarded(slot)
        } else {
            Slot::Unguarded(self.carve(size)?)
        };
        self.in_use += 1;
        Ok(slot)
    }

    /// Takes a slot back that got no guard, for one that was returned meanwhile.
    pub(super) fn exchange(&mut self, unguarded: NonNull<u8>) -> Option<NonNull<u8>> {
        self.unguarded.push(unguarded);
        let slot = self.free.pop();
        if slot.is_none() {
            self.in_use -= 1;
        }
        slot
    }

    /// Takes a slot back whose contents are given up.
    pub(super) fn put(&mut self, slot: NonNull<u8>) {
        self.in_use -= 1;
        self.free.push(slot);
    }

    /// A slot that was never handed out, from a new slab if need be.
    fn carve(&mut self, size: usize) -> io::Result<NonNull<u8>> {
        if self
            .slabs
            .last()
            .is_none_or(|slab| slab.slots == self.carved)
        {
            let slab = self.map_slab(size)?;
            self.slabs.push(slab);
            self.carved = 0;
        }
        let slab = self.slabs.last().expect("a slab was just pushed");
        // SAFETY: `carved` is less than the slab's slots, so the slot lies within its mapping.
        let slot = unsafe { slab.start.add(self.carved * size) };
        self.carved += 1;
        Ok(slot)
    }

    fn map_slab(&self, size: usize) -> io::Result<Slab> {
        let doublings = self.slabs.len().min(MAX_SLAB_SLOTS.ilog2() as usize);
        let mut slots = (FIRST_SLAB_SLOTS << doublings)
            .min(MAX_SLAB_SLOTS)
            .min(MAX_SLAB_BYTES / size)
            .max(1);
        loop {
            match Slab::map(size, slots) {
                Ok(slab) => return Ok(slab),
                // A limit on address space or strict overcommit may have room for fewer.
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => return Err(out_of_memory(size, self.in_use, error)),
            }
        }
    }
}

/// One mapping, cut into slots.
struct Slab {
    start: NonNull<u8>,
    bytes: usize,
    slots: usize,
}

impl Slab {
    fn map(size: usize, slots: usize) -> io::Result<Self> {
        let bytes = size * slots;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // One touched page must not become 2 MiB. A kernel without huge pages refuses the advice,
        // and does not need it.
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
        Ok(Self {
            start: NonNull::new(start.cast()).expect("mmap does not return null"),
            bytes,
            slots,
        })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: a slab goes with its pool, which every stack cut from it keeps alive: there is none.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Explains `cause`, unless it is something else that explains itself.
#[cold]
pub(super) fn out_of_memory(slot_size: usize, in_use: usize, cause: io::Error) -> io::Error {
    // EAGAIN: the limit on locked memory, of a program that locks all it maps.
    if !matches!(cause.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN)) {
        return cause;
    }
    let size = slot_size - page_size();
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "no memory for another stack of {size} bytes, {in_use} of that size being in use: \
             {cause}. Have fewer coroutines at a time or give them smaller stacks, or raise what \
             limits the process: `ulimit -v`, `ulimit -l` (if it locks its memory), vm.max_map_count, vm.overcommit_memory=2, \
             the memory itself"
        ),
    )
}
