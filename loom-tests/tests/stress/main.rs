//! The structures on real threads, and what a single thread can say of them.
//!
//! loom knows neither the compiler's nor the processor's reorderings and only
//! short runs; here the same files run over the runtime's own facade, for
//! hundreds of thousands of operations.

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "not every test needs all"
)]
#[path = "../../../runtime/src/facade.rs"]
mod facade;

#[allow(dead_code, reason = "the tests need not call everything")]
mod coroutine;
#[allow(dead_code, reason = "the tests need not call everything")]
mod scheduler;

mod deques;
mod injectors;
mod items;
mod lists;
mod lives;
mod run_queues;
mod tokens;

/// How often to do what is usually done `count` times: miri takes a thousand
/// times as long.
const fn times(count: usize) -> usize {
    if cfg!(miri) {
        count.div_ceil(500)
    } else {
        count
    }
}
