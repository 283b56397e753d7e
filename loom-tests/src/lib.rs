//! Models of filature's lock-free structures, explored by loom.
//!
//! The runtime's own source files are compiled here over loom's types: they
//! reach atomics, cells and locks only through `crate::facade`, and this crate
//! has its own. No flag is needed, `cargo test` runs the models, and a model
//! that has but one interleaving fails.
//!
//! - `models/` says, for each structure, what must hold in every interleaving.
//! - `build.rs` makes each of these models a test, and makes *mutants* of the
//!   runtime's files: copies in which one thing is broken, each with a test that
//!   a model notices. A model that no mutant can fail proves nothing. Where a
//!   model copies calls from elsewhere in the runtime, there are mutants of the
//!   copy too. `mutants.rs` lists them all.
//! - `tests/stress/` runs the structures on real threads, where the compiler
//!   and the processor have their say too.
//!
//! To add a structure: its file in `scheduler.rs`, `coroutine.rs` or the like, its models
//! in `models/`, its name in `build.rs` and a mutant in `mutants.rs`.

#![cfg(test)]

#[allow(dead_code, unused_imports, reason = "not every model needs all")]
mod facade;

#[allow(dead_code, reason = "the models need not call everything")]
mod channel;
#[allow(dead_code, reason = "the models need not call everything")]
mod coroutine;
#[allow(dead_code, reason = "the models need not call everything")]
mod scheduler;
#[allow(dead_code, reason = "the models need not call everything")]
mod sync;

mod bell;
mod explore;
mod node;

include!(concat!(env!("OUT_DIR"), "/tests.rs"));
