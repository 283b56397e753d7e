//! One of each for every worker, so that counting shares no cache line between cores.

use crossbeam_utils::CachePadded;

/// A `T` for each worker of a runtime.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    /// For a runtime of so many workers.
    pub fn new(workers: usize) -> Self {
        let each = (0..workers.max(1)).map(|_| CachePadded::default());
        PerWorker(each.collect())
    }
}

impl<T> PerWorker<T> {
    /// That of the worker the caller runs on. It stays the right one: a coroutine never changes
    /// its worker. A plain thread shares the first.
    pub fn here(&self) -> &T {
        let index = filature::worker_index().unwrap_or(0);
        &self.0[index % self.0.len()]
    }

    /// All, in the order of the workers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }
}
