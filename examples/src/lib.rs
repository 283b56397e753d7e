//! What the examples share: command lines, signals, limits, counting and accepting.
//!
//! The examples themselves are in `src/bin`: `echo`, a multicore echo server with a load generator
//! of its own; `upper`, the smallest server worth the name; `skynet`, a million coroutines.

pub mod accept;
pub mod cli;
pub mod format;
pub mod limits;
pub mod per_worker;
pub mod signals;
