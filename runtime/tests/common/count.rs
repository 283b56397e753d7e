//! Counting and waiting, from coroutines and threads alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A number that everybody who has a clone counts up.
#[derive(Clone, Default, Debug)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub fn new() -> Counter {
        Counter::default()
    }

    pub fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A value whose drop counts.
    pub fn on_drop(&self) -> CountsDrop {
        CountsDrop(self.clone())
    }

    /// Until it has got that far. A coroutine lets others run meanwhile.
    pub fn wait_for(&self, count: usize) {
        while self.get() < count {
            filature::yield_now();
        }
    }
}

#[derive(Debug)]
pub struct CountsDrop(Counter);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}

/// Something that has happened or not.
#[derive(Clone, Default, Debug)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Opens the gate when it is dropped.
    pub fn opener(&self) -> Opener {
        Opener(self.clone())
    }

    /// Until it is open. A coroutine lets others run meanwhile.
    pub fn wait(&self) {
        while !self.is_open() {
            filature::yield_now();
        }
    }

    /// Until it is open, without ever suspending: what a coroutine does that
    /// computes. (Other threads get the core.)
    pub fn wait_busily(&self) {
        while !self.is_open() {
            std::thread::yield_now();
        }
    }
}

pub struct Opener(Gate);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}
