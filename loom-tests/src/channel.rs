//! The runtime's files of the same names, compiled over this crate's facade.

#[path = "../../runtime/src/channel/arm.rs"]
pub(crate) mod arm;
#[path = "../../runtime/src/channel/backlog.rs"]
pub(crate) mod backlog;
#[path = "../../runtime/src/channel/chan.rs"]
pub(crate) mod chan;
#[path = "../../runtime/src/channel/place.rs"]
pub(crate) mod place;
#[path = "../../runtime/src/channel/select.rs"]
pub(crate) mod select;

/// Stands in for the runtime's: a model tries what it tries in one order.
pub(crate) mod random {
    pub(crate) fn below(_n: usize) -> usize {
        0
    }
}
