//! Which of several to take: random enough to be fair.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// A number below `n`: xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
#[inline]
pub(crate) fn below(n: usize) -> usize {
    STATE.with(|state| {
        let mut x = state.get();
        if x == 0 {
            x = seed(state);
        }
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        ((x >> 32) as usize * n) >> 32
    })
}

/// Each thread's own, and not 0.
#[cold]
fn seed(state: &Cell<u64>) -> u64 {
    (std::ptr::from_ref(state).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}
