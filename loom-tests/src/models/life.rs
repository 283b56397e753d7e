//! The end of a coroutine: the joiner is told, the block freed once and last.

use std::sync::Arc;

use loom::thread;

use super::subject::{Finish, Life};
use crate::bell::Bell;
use crate::explore::{WAITS, explore};
use crate::facade::UnsafeCell;

/// A coroutine's block, which is never really freed: freeing it is a write to
/// `alive`, which loom finds out if it is not ordered after every use.
struct Block {
    life: Life,
    result: UnsafeCell<u32>,
    waiter: UnsafeCell<Option<Arc<Bell>>>,
    alive: UnsafeCell<bool>,
}

// SAFETY: of its fields only the cells are not shareable by themselves, and
// loom verifies that their accesses are ordered.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn new(refs: u32) -> Arc<Self> {
        Arc::new(Self {
            life: Life::new(refs),
            result: UnsafeCell::new(0),
            waiter: UnsafeCell::new(None),
            alive: UnsafeCell::new(true),
        })
    }

    fn in_use(&self) {
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(self.alive.with(|alive| unsafe { *alive }), "used when freed");
    }

    fn free(&self) {
        self.in_use();
        // SAFETY: loom panics before this if another access is not ordered.
        self.alive.with_mut(|alive| unsafe { *alive = false });
        // SAFETY: as above.
        self.waiter.with_mut(|waiter| unsafe { *waiter = None });
    }

    fn release(&self) {
        self.in_use();
        if self.life.release() {
            self.free();
        }
    }

    fn wake_waiter(&self) {
        self.in_use();
        // SAFETY: loom panics before this if another access is not ordered.
        let waiter = self.waiter.with_mut(|waiter| unsafe { (*waiter).take() });
        waiter.expect("the joiner filled its cell").ring();
    }

    fn write_result(&self) {
        // SAFETY: loom panics before this if another access is not ordered.
        self.result.with_mut(|result| unsafe { *result = 7 });
    }

    fn read_result(&self) {
        self.in_use();
        // SAFETY: loom panics before this if another access is not ordered.
        assert_eq!(self.result.with(|result| unsafe { *result }), 7);
    }

    /// The whole end of a coroutine.
    fn end(&self) {
        self.write_result();
        match self.life.finish_and_release() {
            Finish::Released => {}
            Finish::Last { .. } => self.free(),
            Finish::Kept { joiner, .. } => {
                if joiner {
                    self.wake_waiter();
                }
                self.release();
            }
        }
    }

    fn register(&self, bell: &Arc<Bell>) -> bool {
        // SAFETY: loom panics before this if another access is not ordered.
        self.waiter.with_mut(|waiter| unsafe { *waiter = Some(bell.clone()) });
        self.life.set_joining()
    }
}

fn ended_by(block: &Arc<Block>) -> thread::JoinHandle<()> {
    let block = block.clone();
    thread::spawn(move || block.end())
}

pub(crate) fn a_joiner_is_woken_or_hears_that_it_is_done() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let bell = Arc::new(Bell::new());
        let finisher = ended_by(&block);
        turn.await_it();
        // It looks at `is_done` before it waits, so it may go on, and free the
        // block, while the finisher still has the waiter in its hands.
        if !block.life.is_done() && block.register(&bell) && !block.life.is_done() {
            bell.wait();
            assert!(block.life.is_done());
        }
        block.read_result();
        block.release();
        finisher.join().unwrap();
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(!block.alive.with(|alive| unsafe { *alive }), "freed");
    });
}

pub(crate) fn a_joiner_that_withdraws_has_its_cell_back_or_is_woken() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let bell = Arc::new(Bell::new());
        let finisher = ended_by(&block);
        turn.await_it();
        if block.register(&bell) {
            if block.life.clear_joining() {
                block.waiter.with_mut(|waiter| {
                    // SAFETY: loom panics before this if another access is not
                    // ordered.
                    assert!(unsafe { (*waiter).take() }.is_some());
                });
            } else {
                block.read_result();
                bell.wait();
            }
        } else {
            block.read_result();
        }
        block.release();
        finisher.join().unwrap();
    });
}

pub(crate) fn a_joiner_that_withdrew_can_register_again() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let finisher = ended_by(&block);
        turn.await_it();
        let early = Arc::new(Bell::new());
        if block.register(&early) && block.life.clear_joining() {
            let bell = Arc::new(Bell::new());
            if block.register(&bell) {
                bell.wait();
            }
        }
        assert!(block.life.is_done());
        block.read_result();
        block.release();
        finisher.join().unwrap();
    });
}

pub(crate) fn a_handle_dropped_while_its_coroutine_ends_frees_the_block_once() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let finisher = ended_by(&block);
        turn.await_it();
        block.release();
        finisher.join().unwrap();
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(!block.alive.with(|alive| unsafe { *alive }), "freed");
    });
}

pub(crate) fn the_last_of_three_frees_the_block_after_the_others() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let finisher = ended_by(&block);
        block.life.retain();
        let other = thread::spawn({
            let block = block.clone();
            move || {
                if block.life.is_done() {
                    block.read_result();
                }
                block.release();
            }
        });
        turn.await_it();
        block.release();
        finisher.join().unwrap();
        other.join().unwrap();
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(!block.alive.with(|alive| unsafe { *alive }), "freed");
    });
}

pub(crate) fn a_joiner_that_does_not_look_first_is_woken_or_hears_that_it_is_done() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let bell = Arc::new(Bell::new());
        let finisher = ended_by(&block);
        turn.await_it();
        if block.register(&bell) {
            bell.wait();
        }
        block.read_result();
        block.release();
        finisher.join().unwrap();
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(!block.alive.with(|alive| unsafe { *alive }), "freed");
    });
}

/// Here the waiter's cell stands for the list of callbacks: filled before the bit is
/// set, and emptied by whoever is to call.
pub(crate) fn a_callback_is_the_finishers_or_whose_it_is() {
    explore(WAITS, |turn| {
        let block = Block::new(2);
        let bell = Arc::new(Bell::new());
        let finisher = thread::spawn({
            let block = block.clone();
            move || {
                block.write_result();
                match block.life.finish_and_release() {
                    Finish::Released => {}
                    Finish::Last { .. } => unreachable!("the handle is dropped after this"),
                    Finish::Kept { watched, .. } => {
                        assert!(watched);
                        block.wake_waiter();
                        block.release();
                    }
                }
            }
        });
        turn.await_it();
        // SAFETY: loom panics before this if another access is not ordered.
        block.waiter.with_mut(|waiter| unsafe { *waiter = Some(bell.clone()) });
        if block.life.set_watched() {
            block.read_result();
            block.wake_waiter();
        }
        bell.wait();
        assert!(block.life.is_done());
        block.read_result();
        block.release();
        finisher.join().unwrap();
        // SAFETY: loom panics before this if another access is not ordered.
        assert!(!block.alive.with(|alive| unsafe { *alive }), "freed");
    });
}
