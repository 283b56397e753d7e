//! Locks and signals for coroutines and plain threads alike, shaped as [`std::sync`]'s.
//!
//! | to                                             | there is                                               |
//! |------------------------------------------------|--------------------------------------------------------|
//! | have a value for oneself                       | [`Mutex`], [`RwLock`], [`ReentrantMutex`]              |
//! | wait until a value has changed                 | [`Condvar`]                                            |
//! | make a value once                              | [`Once`], [`OnceLock`], [`LazyLock`]                   |
//! | let so many in                                 | [`Semaphore`]                                          |
//! | wait for each other, or for the end of work    | [`Barrier`], [`WaitGroup`]                             |
//! | say that something has happened, or hand it on | [`Event`], [`oneshot()`]                               |
//!
//! A coroutine that waits suspends, and its worker goes on with others; a plain thread blocks. Both may use the same
//! one, and so may coroutines of several runtimes. A guard may be held over a suspension, and is not `Send`: it stays with
//! the coroutine that has it, or at least on its thread.
//!
//! Every wait here, unless its documentation says otherwise, is a point at which a coroutine is cancelled. None keeps
//! what it waited for: whoever is unwound has no lock, no permit and no notification. If it had it already, the wait
//! returns with it, and the next suspension unwinds.
//!
//! Behind a lock that somebody lets go of, an event that is set, a value that is handed on, all is seen that was done
//! before.

// To be read in this order: `lock`, `party` and `queue` are what every wait is made of; `raw_mutex` and the other raw
// ones are the protocols, without values and poison, and are what `loom-tests` compiles; the rest are shapes.

mod barrier;
mod condvar;
pub(crate) mod countdown;
mod event;
pub(crate) mod finished;
mod lazy_lock;
pub(crate) mod lock;
mod mutex;
mod once;
mod once_lock;
mod oneshot;
pub(crate) mod party;
mod poison;
pub(crate) mod queue;
mod raw_condvar;
mod raw_mutex;
mod raw_oneshot;
mod raw_rwlock;
mod raw_semaphore;
mod reentrant_mutex;
mod rwlock;
mod semaphore;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use oneshot::{BrokenPromise, OneShot, Promise, SetError, TryWaitError, oneshot};
pub use reentrant_mutex::{ReentrantMutex, ReentrantMutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};
pub use wait_group::WaitGroup;
