//! The runtime's files of the same names, compiled over this crate's facade.

#[path = "../../runtime/src/coroutine/claim.rs"]
pub(crate) mod claim;
#[path = "../../runtime/src/coroutine/exits.rs"]
pub(crate) mod exits;
#[path = "../../runtime/src/coroutine/life.rs"]
pub(crate) mod life;
#[path = "../../runtime/src/coroutine/token.rs"]
pub(crate) mod token;
