//! One coroutine: its control block, its stack, the switch, its states. This
//! room knows nothing of workers.
//!
//! Read [`control`] first (what a coroutine is between its spawn and its
//! end), then [`fiber`] (how one runs), [`token`] (park and unpark), [`life`]
//! (finishing and joining), [`exits`] (what is called then). [`slab`] is where control blocks live, [`stack`]
//! and [`guard`] where stacks come from, [`overflow`] what happens at the end
//! of one, [`outcome`] what a join returns.

pub(crate) mod claim;
pub(crate) mod control;
pub(crate) mod exits;
pub(crate) mod fiber;
pub(crate) mod guard;
pub(crate) mod life;
pub(crate) mod outcome;
pub(crate) mod overflow;
pub(crate) mod slab;
pub(crate) mod stack;
pub(crate) mod token;
