//! Where control blocks live: chunks that are never given back, a list of the
//! free ones, and a cache of free ones for each worker.
//!
//! Type-stable memory is what lets a dump walk every coroutine of the process
//! without a lock on the path of a spawn, and what makes `unpark` on a handle
//! of a finished coroutine harmless.
//!
//! The price is 256 bytes for each coroutine of the busiest moment there ever
//! was, those that have ended but are still referred to included, in chunks of
//! 64 KiB; and eight bytes in a list while a block is free. It could be brought
//! down: what a stale wake-up or a dump looks at in a free block might as well
//! be zeros, so whole pages of free blocks could be given back to the system and
//! stay mapped. But free blocks lie in no order, sixteen make a page, and the
//! stack of a coroutine that has started takes a page by itself at least, which
//! does go back.

use std::alloc::{Layout, alloc};
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

use crate::coroutine::control::Control;

/// Blocks a chunk: 64 KiB at 256 bytes each. Untuned.
const CHUNK: usize = 256;
/// How many blocks move at once between a worker's cache and the common list.
const BATCH: usize = 128;

struct Common {
    chunks: Vec<NonNull<Control>>,
    free: Vec<NonNull<Control>>,
}

// SAFETY: blocks may be handed to any thread; see `Control`.
unsafe impl Send for Common {}

static COMMON: Mutex<Common> = Mutex::new(Common {
    chunks: Vec::new(),
    free: Vec::new(),
});

fn common() -> MutexGuard<'static, Common> {
    COMMON.lock().unwrap_or_else(|e| e.into_inner())
}

impl Common {
    fn take(&mut self) -> io::Result<NonNull<Control>> {
        if let Some(block) = self.free.pop() {
            return Ok(block);
        }
        self.chunks.try_reserve(1).map_err(|_| out_of_memory())?;
        self.free.try_reserve(CHUNK).map_err(|_| out_of_memory())?;
        let layout = Layout::array::<Control>(CHUNK).expect("a chunk's size is a constant");
        // SAFETY: the layout is not empty.
        let chunk =
            NonNull::new(unsafe { alloc(layout) }.cast::<Control>()).ok_or_else(out_of_memory)?;
        for i in 0..CHUNK {
            // SAFETY: inside the chunk just allocated, which nobody else has.
            unsafe { Control::vacant(chunk.add(i)) };
        }
        self.chunks.push(chunk);
        // SAFETY: as above.
        self.free
            .extend((0..CHUNK).rev().map(|i| unsafe { chunk.add(i) }));
        Ok(self.free.pop().expect("a chunk was just added"))
    }
}

#[cold]
fn out_of_memory() -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        "no memory for the control block of another coroutine; wait for some to finish",
    )
}

thread_local! {
    /// The cache of the worker that this thread is, if it is one.
    static LOCAL: Cell<*const Cache> = const { Cell::new(std::ptr::null()) };
}

/// A block for a thread that is no worker.
pub(crate) fn take() -> io::Result<NonNull<Control>> {
    common().take()
}

/// Frees a block from any thread.
///
/// # Safety
///
/// The last reference to the block is gone.
#[inline]
pub(crate) unsafe fn release(block: NonNull<Control>) {
    // SAFETY: blocks stay mapped; nobody else refers to this one.
    unsafe { block.as_ref() }.retire();
    let local = LOCAL.get();
    if local.is_null() {
        common().free.push(block);
    } else {
        // SAFETY: `Cache::adopt` set it and `Cache::drop` takes it back, both
        // on this thread.
        unsafe { &*local }.give(block);
    }
}

/// Calls `f` on every block of the process, free ones included.
pub(crate) fn for_each(mut f: impl FnMut(&Control)) {
    let chunks = common().chunks.clone();
    for chunk in chunks {
        for i in 0..CHUNK {
            // SAFETY: chunks are never given back, and every block in them was
            // initialised before the chunk was listed.
            f(unsafe { chunk.add(i).as_ref() });
        }
    }
}

/// A worker's free blocks, the most recently used first.
pub(crate) struct Cache {
    free: UnsafeCell<Vec<NonNull<Control>>>,
}

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache {
            free: UnsafeCell::new(Vec::with_capacity(4 * BATCH)),
        }
    }

    #[inline]
    pub(crate) fn take(&self) -> io::Result<NonNull<Control>> {
        // SAFETY: a cache is its worker's alone (`Cache` is not `Sync`) and no
        // call below re-enters it.
        let free = unsafe { &mut *self.free.get() };
        match free.pop() {
            Some(block) => Ok(block),
            None => Self::refill(free),
        }
    }

    #[cold]
    fn refill(free: &mut Vec<NonNull<Control>>) -> io::Result<NonNull<Control>> {
        let mut common = common();
        let first = common.take()?;
        let rest = common.free.len().saturating_sub(BATCH);
        free.extend(common.free.drain(rest..));
        Ok(first)
    }

    /// Makes this the cache that [`release`] uses on the current thread.
    ///
    /// # Safety
    ///
    /// The cache stays where it is until it is dropped, on this thread.
    pub(crate) unsafe fn adopt(&self) {
        LOCAL.set(self);
    }

    #[inline]
    fn give(&self, block: NonNull<Control>) {
        // SAFETY: as in `take`.
        let free = unsafe { &mut *self.free.get() };
        if free.len() == free.capacity() {
            Self::spill(free);
        }
        free.push(block);
    }

    #[cold]
    fn spill(free: &mut Vec<NonNull<Control>>) {
        let half = free.len() / 2;
        common().free.extend(free.drain(half..));
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        LOCAL.set(std::ptr::null());
        common().free.append(self.free.get_mut());
    }
}
