//! What a parked coroutine takes.

use crate::child::Reading;
use crate::sys::{self, Memory};

/// Memory before any coroutine was started.
pub struct Before(Memory);

impl Before {
    /// To be called when the runtime is up and everything else that the bench needs has been touched.
    pub fn any() -> Self {
        Before(sys::memory())
    }

    /// Bytes resident for each of so many coroutines, and bytes of page tables beside them.
    pub fn each_of(&self, coroutines: usize) -> Reading {
        let now = sys::memory();
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / coroutines as f64;
        Reading::of(each(now.resident, self.0.resident))
            .with("vm_pte", each(now.page_tables, self.0.page_tables))
    }
}
