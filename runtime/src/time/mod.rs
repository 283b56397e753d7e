//! Time: calls that are cut short, and waits for a moment.
//!
//! [`frame`] is the heart of it: a deadline around a call, and how it ends the
//! waits inside. [`deadline`] is what users see of that, and [`thread`] how a
//! plain thread keeps to it. [`interval`] and [`later`] only wait.

mod deadline;
pub(crate) mod frame;
mod interval;
mod later;
pub(crate) mod thread;

pub use deadline::{Deadline, Elapsed, timeout, timeout_at, with_deadline};
pub use interval::{Interval, interval};
pub(crate) use later::sleep;
pub use later::{sleep_until, spawn_after};
