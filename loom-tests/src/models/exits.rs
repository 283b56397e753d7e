//! Callbacks at the end of a coroutine: each is called once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::subject::Exits;
use crate::coroutine::life::{Finish, Life};
use crate::explore::{WAITS, explore};

struct Block {
    life: Life,
    exits: Exits,
    /// How often each callback was called. Not loom's: it only counts.
    calls: [AtomicUsize; 2],
}

impl Block {
    /// One reference for each of the others, and the finisher's.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            life: Life::new(4),
            exits: Exits::new(),
            calls: [const { AtomicUsize::new(0) }; 2],
        })
    }

    fn add(self: &Arc<Self>, number: usize) {
        let block = self.clone();
        let callback = Box::new(move |_| {
            block.calls[number].fetch_add(1, Ordering::Relaxed);
        });
        let state = super::subject::JoinState::Done;
        self.exits.add(&self.life, callback, |late| late(state));
    }

    fn end(&self) {
        match self.life.finish_and_release() {
            Finish::Released => {}
            Finish::Last { .. } => unreachable!("nobody lets go"),
            Finish::Kept { watched, .. } => {
                assert!(watched);
                let state = super::subject::JoinState::Done;
                self.exits.call_all(|callback| callback(state));
            }
        }
    }

    fn called(&self, times: [usize; 2]) {
        let calls = [0, 1].map(|number| self.calls[number].load(Ordering::Relaxed));
        assert_eq!(calls, times);
        self.exits.clear();
    }
}

fn ended_by(block: &Arc<Block>) -> thread::JoinHandle<()> {
    let block = block.clone();
    thread::spawn(move || block.end())
}

pub(crate) fn a_callback_is_called_once_around_the_end() {
    explore(WAITS, |turn| {
        let block = Block::new();
        let finisher = ended_by(&block);
        turn.await_it();
        block.add(0);
        finisher.join().unwrap();
        block.called([1, 0]);
    });
}

pub(crate) fn each_of_two_callbacks_is_called_once_around_the_end() {
    explore(WAITS, |turn| {
        let block = Block::new();
        let finisher = ended_by(&block);
        let other = thread::spawn({
            let block = block.clone();
            move || block.add(1)
        });
        turn.await_it();
        block.add(0);
        finisher.join().unwrap();
        other.join().unwrap();
        block.called([1, 1]);
    });
}
