//! One io_uring operation, from submission to completion.
//!
//! A coroutine that waits hands the kernel a buffer that it only borrows: the
//! user's own `&mut [u8]`. That is sound because of one rule:
//!
//! > **Between submission and the final completion the call neither returns nor
//! > unwinds.** A deadline or a cancellation asks the kernel to call the
//! > operation off, and goes on waiting until the kernel has answered.
//!
//! The record of the operation lives in the waiting frame, and its address is
//! what the kernel hands back. States of a record:
//!
//! ```text
//!   submitted ──completion──────────────────────────────► done
//!       │                                                  ▲
//!       └─deadline, cancellation─► being called off ───────┘
//!                                  both the operation's and the
//!                                  cancel's completions are awaited
//! ```
//!
//! Who may do what: the frame fills in the record, submits, and reads it; the
//! poller, on the same thread, writes the result, once, and reports the key at
//! once, so that a key is never reported for a frame that has gone on. The
//! kernel never follows the address.
//!
//! An operation that completes although it was being called off gives what it
//! has: data is never lost. The cancellation then stays pending for the next
//! suspension.
//!
//! Why the cancel's own completion is awaited too: it names the operation by
//! address, and it may come too early, while the kernel has the operation
//! between two states and finds nothing. Then it is sent again.

use std::cell::Cell;
use std::process::abort;
use std::time::Instant;

use io_uring::squeue;

use super::{Key, Ring, Source};
use crate::prefetch::prefetch;
use crate::scheduler::wait::{Here, Wait, Woken};

/// No result yet. The kernel's are counts and small negative numbers.
const PENDING: i32 = i32::MIN;

/// What `Ring::run` answers when the deadline passed first.
pub(super) const TIMED_OUT: i32 = -libc::ETIME;

/// What `Ring::run` answers when somebody else ended the operation, or when
/// there was no room for it.
pub(super) const NOT_DONE: i32 = -libc::ECANCELED;

/// How often a cancel that found nothing is sent again.
const CANCELS: usize = 16;

/// Bytes from a record on that are read when the calls above it return.
const FRAMES: usize = 320;

/// The record of an operation. Aligned so that the low bits of its address can
/// tell its completion from that of its cancel.
#[repr(align(8))]
pub(super) struct Op {
    key: Key,
    result: Cell<i32>,
    cancel: Cell<i32>,
    /// Only its address, for the caches.
    source: *const Source,
}

impl Op {
    /// Has the caches fetch what the coroutine will need when it goes on, but for
    /// what every switch to one needs: the rest of its frames, and the source,
    /// which most operate on again.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self.key.pointer().as_ptr());
        let record: *const Self = self;
        for line in (64..=FRAMES).step_by(64) {
            prefetch(record.wrapping_byte_add(line));
        }
        for line in (0..size_of::<Source>()).step_by(64) {
            prefetch(self.source.wrapping_byte_add(line));
        }
        prefetch(self.source.wrapping_byte_add(size_of::<Source>() - 1));
    }

    #[inline]
    pub(super) fn complete(&self, result: i32) -> Key {
        self.result.set(result);
        self.key
    }

    pub(super) fn complete_cancel(&self, result: i32) -> Key {
        self.cancel.set(result);
        self.key
    }
}

/// Keeps a frame that the kernel has the address of from being unwound.
struct InFlight;

impl Drop for InFlight {
    fn drop(&mut self) {
        eprintln!("filature: an IO operation was unwound while the kernel held its buffer");
        abort();
    }
}

impl Ring {
    /// Submits what `entry` describes, an operation on `source`, and suspends the
    /// caller until it is over.
    /// Returns the kernel's result: a count, a negative error number, or
    /// [`TIMED_OUT`]. [`NOT_DONE`] may also mean that it was never submitted and
    /// that others have run meanwhile: the caller looks again whether the source
    /// was closed. Unwinds if the coroutine is to end and the operation did not
    /// happen.
    ///
    /// # Safety
    ///
    /// Whatever memory `entry` points to must stay valid, and belong to the
    /// operation alone, until this returns or unwinds.
    // Always: every call frame above the stack switch costs a mispredicted
    // return.
    #[inline(always)]
    pub(super) unsafe fn run(
        &self,
        here: &Here,
        source: &Source,
        why: Wait,
        deadline: Option<Instant>,
        entry: squeue::Entry,
    ) -> i32 {
        // Or a coroutine whose operations all complete at once would never end.
        if here.is_cancelled() {
            here.unwind();
        }
        let op = Op {
            key: here.key(),
            result: Cell::new(PENDING),
            cancel: Cell::new(0),
            source,
        };
        let address = (&raw const op).expose_provenance() as u64;
        // SAFETY: the entry's memory lives until this function is left, and if
        // it was submitted it is not left before the completion was seen: `op`
        // is in this frame, and `guard` turns unwinding into an abort.
        if unsafe { !self.submit(here, entry.user_data(address)) } {
            return NOT_DONE;
        }
        let guard = InFlight;
        loop {
            let woken = here.park(why, deadline);
            let result = op.result.get();
            if result != PENDING {
                std::mem::forget(guard);
                if matches!(woken, Woken::Cancelled) && here.is_last_chance() {
                    here.unwind();
                }
                return result;
            }
            if !matches!(woken, Woken::Unparked) {
                let mut told = matches!(woken, Woken::Cancelled);
                let result = self.call_off(here, why, &op, &mut told);
                std::mem::forget(guard);
                // A worker thread of the kernel that was interrupted in the
                // middle of a blocking call says so in its own way.
                let done = result != NOT_DONE && result != -libc::EINTR;
                if told && (!done || here.is_last_chance()) {
                    here.unwind();
                }
                return if done { result } else { TIMED_OUT };
            }
        }
    }

    /// Asks the kernel to end the operation and waits until it has. Notes whether
    /// the coroutine was told to unwind meanwhile.
    #[cold]
    fn call_off(&self, here: &Here, why: Wait, op: &Op, told: &mut bool) -> i32 {
        let mut wait = || *told |= here.park_masked(why) == Woken::Cancelled;
        for _ in 0..CANCELS {
            op.cancel.set(PENDING);
            self.cancel(op);
            while op.cancel.get() == PENDING {
                wait();
            }
            if op.result.get() != PENDING || op.cancel.get() != -libc::ENOENT {
                break;
            }
        }
        while op.result.get() == PENDING {
            wait();
        }
        op.result.get()
    }
}
