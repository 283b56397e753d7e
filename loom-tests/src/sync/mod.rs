//! The runtime's files of the same names, compiled over this crate's facade; and
//! in place of those that know coroutines and threads, what models need of them.

#[path = "../../../runtime/src/sync/countdown.rs"]
pub(crate) mod countdown;
#[path = "../../../runtime/src/sync/finished.rs"]
pub(crate) mod finished;
pub(crate) mod lock;
pub(crate) mod party;
#[path = "../../../runtime/src/sync/queue.rs"]
pub(crate) mod queue;
#[path = "../../../runtime/src/sync/raw_condvar.rs"]
pub(crate) mod raw_condvar;
#[path = "../../../runtime/src/sync/raw_mutex.rs"]
pub(crate) mod raw_mutex;
#[path = "../../../runtime/src/sync/raw_oneshot.rs"]
pub(crate) mod raw_oneshot;
#[path = "../../../runtime/src/sync/raw_rwlock.rs"]
pub(crate) mod raw_rwlock;
#[path = "../../../runtime/src/sync/raw_semaphore.rs"]
pub(crate) mod raw_semaphore;
