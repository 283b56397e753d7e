//! The runtime's files of the same names, compiled over this crate's facade.

#[path = "../../runtime/src/scheduler/deque.rs"]
pub(crate) mod deque;
#[path = "../../runtime/src/scheduler/idle.rs"]
pub(crate) mod idle;
#[path = "../../runtime/src/scheduler/inbox.rs"]
pub(crate) mod inbox;
#[path = "../../runtime/src/scheduler/injector.rs"]
pub(crate) mod injector;
#[path = "../../runtime/src/scheduler/list.rs"]
pub(crate) mod list;
#[path = "../../runtime/src/scheduler/requests.rs"]
pub(crate) mod requests;

/// Stands in for the runtime's: what waits say of themselves.
pub(crate) mod wait {
    #[derive(Clone, Copy)]
    pub(crate) enum Wait {
        Joining,
        Locking,
        Notified,
        Acquiring,
        Sending,
        Receiving,
        Selecting,
    }
}
