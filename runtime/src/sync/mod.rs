//! Locks for coroutines and plain threads alike, shaped as [`std::sync`]'s.

pub(crate) mod lock;
mod mutex;
pub(crate) mod party;
mod poison;
pub(crate) mod queue;
mod raw_mutex;

pub use mutex::{Mutex, MutexGuard};
