//! Buffers from which the kernel picks one whenever an answer has come: a receive is then armed once for a
//! connection's whole life.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The one group of buffers that the client registers.
pub const GROUP: u16 = 0;

/// Buffers shared with the kernel through a ring of descriptors.
pub struct Answers {
    ring: NonNull<BufRingEntry>,
    layout: Layout,
    /// How many buffers there are, a power of two.
    count: u16,
    /// Bytes in each.
    size: usize,
    buffers: Box<[u8]>,
    tail: u16,
}

impl Answers {
    /// So many buffers, at least, of a size, registered with a ring.
    ///
    /// # Safety
    ///
    /// The ring must be gone before the buffers are dropped: until then the kernel may write to them.
    pub unsafe fn register(ring: &IoUring, count: usize, size: usize) -> io::Result<Self> {
        let count = count.next_power_of_two().min(1 << 15);
        let layout = Layout::array::<BufRingEntry>(count)
            .and_then(|layout| layout.align_to(4096))
            .expect("at most half a megabyte");
        // SAFETY: the layout is not of size zero.
        let entries = NonNull::new(unsafe { alloc_zeroed(layout) })
            .unwrap_or_else(|| handle_alloc_error(layout))
            .cast();
        let mut answers = Answers {
            ring: entries,
            layout,
            count: count as u16,
            size,
            buffers: vec![0; count * size].into(),
            tail: 0,
        };
        for buffer in 0..answers.count {
            answers.give_back(buffer);
        }
        // SAFETY: the entries are page-aligned, as many as said, and stay until the ring is gone by this function's
        // own contract.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                answers.count,
                GROUP,
                0,
            )?;
        }
        Ok(answers)
    }

    /// The bytes that the kernel has put into a buffer.
    pub fn received(&self, buffer: u16, bytes: usize) -> &[u8] {
        &self.buffers[buffer as usize * self.size..][..bytes]
    }

    /// Lets the kernel use a buffer again.
    pub fn give_back(&mut self, buffer: u16) {
        let address = self.buffers[buffer as usize * self.size..].as_mut_ptr();
        let slot = self.tail & (self.count - 1);
        // SAFETY: the slot is within the entries, and the kernel reads none from the tail on.
        let entry = unsafe { self.ring.add(slot as usize).as_mut() };
        entry.set_addr(address as u64);
        entry.set_len(self.size as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is a field of the first entry that no other access overlaps while the kernel reads it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()) };
        // Ordering: the kernel must see the entry when it sees the tail.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and by the contract of `register` the kernel is through with it.
        unsafe { dealloc(self.ring.as_ptr().cast(), self.layout) };
    }
}
