//! The one door through which the modelled files reach atomics, cells and
//! locks. `loom-tests` compiles the same files over a `facade` that re-exports
//! loom's; nothing modelled may import these things from anywhere else.

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::sync::{Arc, Mutex};

/// `UnsafeCell` in loom's shape: access through closures, so that a model can
/// see when two accesses overlap.
#[derive(Debug, Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Makes a function `const`, which loom's types do not allow.
macro_rules! const_fn {
    ($visibility:vis fn $($rest:tt)*) => {
        $visibility const fn $($rest)*
    };
}
pub(crate) use const_fn;
