//! Stackful coroutines on every core: code reads as if it blocked.
//!
//! ```
//! use filature::go;
//!
//! let total: u64 = filature::run(|| {
//!     let squares: Vec<_> = (1..=10u64).map(|n| go!(move || n * n)).collect();
//!     squares.into_iter().map(|h| h.join().unwrap()).sum()
//! });
//! assert_eq!(total, 385);
//! ```
//!
//! [`go!`] and [`spawn`] start a coroutine, [`JoinHandle::join`] waits for it,
//! [`run`] is the way in from `main`. [`scope`], [`task_group`], [`join!`] and
//! [`race!`] start coroutines that borrow. [`Runtime`] is for programs that want
//! their own workers, [`dump()`] shows what runs. Sockets are in the crate
//! `filature-net`, built on the [`poller`] module. What is promised, and where
//! the promise ends, is on the page [`soundness`].

#[macro_use]
mod spawn;
#[macro_use]
mod join;
mod cancel;
pub mod channel;
mod config;
mod coroutine;
mod current;
mod dump;
mod facade;
mod nursery;
pub mod poller;
mod prefetch;
mod runtime;
mod scheduler;
mod scope;
pub mod sync;
mod task_group;
mod thread;
mod time;

pub use cancel::{CancelError, Cancelled, catch_cancel, shield};
pub use config::RuntimeBuilder;
pub use coroutine::exits::JoinState;
pub use coroutine::guard::{Guard, ParseGuardError};
pub use coroutine::outcome::JoinError;
pub use current::{
    Coroutine, current, is_coroutine, park, park_timeout, sleep, stack_bounds, worker_index,
    yield_now,
};
pub use dump::{CoroutineInfo, Dump, RuntimeInfo, State, Stats, WorkerStats, dump, stats};
pub use join::{IterFinished, JoinAll, Joined, iter_finished, join_all, race};
pub use poller::Io;
pub use runtime::{Runtime, run};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use spawn::{Builder, JoinHandle, spawn, spawn_local, try_spawn};
pub use task_group::{TaskError, TaskErrors, TaskGroup, task_group};
pub use time::{
    Deadline, Elapsed, Interval, interval, sleep_until, spawn_after, timeout, timeout_at,
    with_deadline,
};

#[doc(hidden)]
pub mod macros {
    pub use crate::join::{joined, race_by};
}

#[doc = include_str!("../docs/soundness.md")]
pub mod soundness {}
