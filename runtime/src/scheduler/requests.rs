//! Requests to end coroutines, on their way to the workers that the coroutines
//! are at home on.
//!
//! Whether a coroutine is to end is a plain cell of its home's thread, so that
//! looking costs nothing. A request from elsewhere is a letter to the home:
//!
//! ```text
//!   the canceller                        a worker
//!   1. counts the request                a. stores itself as home, as it starts a coroutine
//!   2. list it, version += 1             b. reads its count: above 0, it never runs
//!   3. fence(SeqCst)                     ...
//!   4. reads its home, wakes that one    c. between two rounds: a new version? takes
//!                                           from the list what is at home here
//!                                        d. before it sleeps: fence(SeqCst), c again
//! ```
//!
//! If 4 finds no home, or one that is up, then in the order of the fences 3 comes
//! before d, and d sees the new version. What c finds that has not started stays
//! in the list, for the worker that will start it: either b sees the count, or
//! that worker has not seen this version as home of it, and looks again.

use crate::facade::{AtomicU64, Mutex, Ordering};

/// The letters of one runtime.
pub(crate) struct Requests<T> {
    version: AtomicU64,
    list: Mutex<Vec<T>>,
}

impl<T> Requests<T> {
    pub(crate) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            list: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn push(&self, letter: T) {
        self.locked(|list| list.push(letter));
        // Ordering: Relaxed. A worker that sees the version finds the letter by
        // the lock; that it sees it in time is the fences' affair. After the
        // list: a version that was seen is not looked at again.
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes with every request.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        // Ordering: Relaxed, see `push`.
        self.version.load(Ordering::Relaxed)
    }

    /// Takes out what is `mine`, and forgets what is `over`.
    pub(crate) fn take(&self, mine: impl Fn(&T) -> bool, over: impl Fn(&T) -> bool) -> Vec<T> {
        let (found, forgotten) = self.locked(|list| {
            let (found, rest): (Vec<T>, Vec<T>) = list.drain(..).partition(mine);
            let (forgotten, rest): (Vec<T>, Vec<T>) = rest.into_iter().partition(over);
            *list = rest;
            (found, forgotten)
        });
        drop(forgotten);
        found
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Vec<T>) -> R) -> R {
        // Nothing panics while it holds the lock but for want of memory.
        f(&mut self.list.lock().unwrap_or_else(|e| e.into_inner()))
    }
}
