//! A count that coroutines and plain threads can wait for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use filature::Coroutine;

/// Counts events; waits suspend a coroutine and block a plain thread. Clones count together.
#[derive(Clone, Default)]
pub struct Counter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    count: usize,
    parked: Vec<Coroutine>,
}

impl Counter {
    pub fn add(&self) {
        let mut state = self.state();
        state.count += 1;
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        self.0.changed.notify_all();
        for coroutine in parked {
            coroutine.unpark();
        }
    }

    pub fn get(&self) -> usize {
        self.state().count
    }

    /// Returns once there have been `count` events or more.
    pub fn wait_for(&self, count: usize) {
        if !filature::is_coroutine() {
            let state = self.state();
            let enough = self.0.changed.wait_while(state, |s| s.count < count);
            drop(enough.unwrap());
            return;
        }
        loop {
            let mut state = self.state();
            if state.count >= count {
                return;
            }
            // Registered anew each time round: `add` empties the list.
            state.parked.push(filature::current());
            drop(state);
            filature::park();
        }
    }

    /// Adds one when dropped, by whatever way its scope ends.
    pub fn add_on_drop(&self) -> AddOnDrop {
        AddOnDrop(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

pub struct AddOnDrop(Counter);

impl Drop for AddOnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}
