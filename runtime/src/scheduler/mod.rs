//! N workers, and how coroutines get to them.
//!
//! The policy on one page is [`worker`]: what runs next. Then [`start`] (an
//! unstarted coroutine gets a stack, a finished one wakes its joiner),
//! [`search`] (what a worker does that has nothing to do: steal, spin, sleep)
//! over [`idle`] (its handshake), [`wait`] (the two verbs that everything users
//! call is built on: park the current coroutine, unpark that one).
//! [`remote`] is what other threads see of a worker, [`shared`] what the
//! workers of one runtime share. The queues are [`run_queue`],
//! [`deque`] (unstarted), [`inbox`] (wake-ups from other threads) and
//! [`injector`] (spawns from outside); [`timers`] is each worker's own.
//! [`cancel`] has a coroutine end early, over [`requests`].
//!
//! `README.md` in this folder tells the protocols and why nothing is lost.

pub(crate) mod cancel;
pub(crate) mod deque;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod injector;
pub(crate) mod list;
pub(crate) mod remote;
pub(crate) mod requests;
pub(crate) mod run_queue;
pub(crate) mod search;
pub(crate) mod shared;
pub(crate) mod start;
pub(crate) mod timers;
pub(crate) mod wait;
pub(crate) mod worker;
