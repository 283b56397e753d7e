//! The runtime's files of the same names, compiled over its own facade.

#[path = "../../../runtime/src/scheduler/deque.rs"]
pub(crate) mod deque;
#[path = "../../../runtime/src/scheduler/inbox.rs"]
pub(crate) mod inbox;
#[path = "../../../runtime/src/scheduler/injector.rs"]
pub(crate) mod injector;
#[path = "../../../runtime/src/scheduler/list.rs"]
pub(crate) mod list;
#[path = "../../../runtime/src/scheduler/run_queue.rs"]
pub(crate) mod run_queue;
