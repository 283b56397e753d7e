//! The runtime's facade, made of loom's types.

use core::ops::Deref;

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use loom::sync::{Arc, Mutex};

/// Stands in for crossbeam's: cache lines do not matter to a model.
pub(crate) struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A function that is `const` in the runtime.
macro_rules! const_fn {
    ($visibility:vis fn $($rest:tt)*) => {
        $visibility fn $($rest)*
    };
}
pub(crate) use const_fn;
