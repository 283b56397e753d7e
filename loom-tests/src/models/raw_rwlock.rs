//! The lock for readers and writers: a writer is alone, and nobody waits beside a
//! lock that would admit it.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::RawRwLock;
use crate::bell::Bell;
use crate::explore::{Leftover, WAITS, explore};
use crate::facade::UnsafeCell;
use crate::sync::party::Waiter;

struct Guarded {
    lock: RawRwLock,
    /// Read and written by holders only: loom fails the model if a writer is not
    /// alone, or if what one did is not seen by the next.
    value: UnsafeCell<usize>,
    reads: Bell,
}

// SAFETY: loom verifies that the accesses to the cell are ordered.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Leftover<Arc<Self>> {
        Leftover::new(Arc::new(Self {
            lock: RawRwLock::new(),
            value: UnsafeCell::new(0),
            reads: Bell::new(),
        }))
    }

    fn add(&self) {
        assert!(self.lock.write(None));
        self.add_and_unlock();
    }

    fn add_and_unlock(&self) {
        // SAFETY: loom panics before this if another access is not ordered.
        self.value.with_mut(|value| unsafe { *value += 1 });
        // SAFETY: it is held by the caller.
        unsafe { self.lock.unlock_write() };
    }

    /// Tries to write, with a deadline that `time_out` makes pass.
    fn add_in_time(&self) -> usize {
        if self.lock.write(Some(Instant::now())) {
            self.add_and_unlock();
            1
        } else {
            0
        }
    }

    fn read(&self) -> usize {
        assert!(self.lock.read(None));
        self.read_and_unlock()
    }

    fn read_and_unlock(&self) -> usize {
        // SAFETY: as in `add_and_unlock`.
        let value = self.value.with(|value| unsafe { *value });
        // SAFETY: it is held by the caller.
        unsafe { self.lock.unlock_read() };
        value
    }

    fn end(&self, value: usize) {
        assert!(self.lock.try_write(), "nobody holds it any more");
        // SAFETY: as in `add_and_unlock`.
        assert_eq!(self.value.with(|value| unsafe { *value }), value);
    }
}

pub(crate) fn writers_exclude_each_other() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        let others = [(); 2].map(|()| {
            let guarded = guarded.clone();
            thread::spawn(move || guarded.add())
        });
        turn.await_it();
        guarded.add();
        for other in others {
            other.join().unwrap();
        }
        guarded.end(3);
    });
}

pub(crate) fn a_writer_excludes_readers() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        let others = [(); 2].map(|()| {
            let guarded = guarded.clone();
            thread::spawn(move || assert!(guarded.read() <= 1))
        });
        turn.await_it();
        guarded.add();
        for other in others {
            other.join().unwrap();
        }
        guarded.end(1);
    });
}

pub(crate) fn readers_and_writers_take_turns() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.write(None));
        let writer = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.add()
        });
        let reader = thread::spawn({
            let guarded = guarded.clone();
            move || assert!(guarded.read() >= 1)
        });
        turn.await_it();
        guarded.add_and_unlock();
        guarded.read();
        guarded.add();
        writer.join().unwrap();
        reader.join().unwrap();
        guarded.end(3);
    });
}

pub(crate) fn a_writer_that_gives_up_does_not_hold_up_readers() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.read(None));
        let waiter = Leftover::new(Arc::new(Mutex::new(None::<Arc<Waiter>>)));
        let hasty = thread::spawn({
            let (guarded, waiter) = (guarded.clone(), waiter.clone());
            move || {
                *waiter.lock().unwrap() = Some(Waiter::current());
                guarded.add_in_time()
            }
        });
        let reader = thread::spawn({
            let guarded = guarded.clone();
            move || {
                assert!(guarded.lock.read(None));
                guarded.reads.ring();
                guarded.read_and_unlock();
            }
        });
        turn.await_it();
        // It waits already, or does not wait yet and is not timed out.
        let waiter = waiter.lock().unwrap().clone();
        if waiter.is_some_and(|waiter| waiter.time_out()) {
            guarded.reads.wait();
        }
        guarded.read_and_unlock();
        reader.join().unwrap();
        let added = hasty.join().unwrap();
        guarded.end(added);
    });
}

pub(crate) fn a_writer_that_goes_on_as_a_reader_lets_readers_in() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.write(None));
        let writer = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.add()
        });
        let reader = thread::spawn({
            let guarded = guarded.clone();
            move || {
                assert!(guarded.lock.read(None));
                guarded.reads.ring();
                guarded.read_and_unlock();
            }
        });
        turn.await_it();
        // SAFETY: loom panics before this if another access is not ordered.
        guarded.value.with_mut(|value| unsafe { *value += 1 });
        // SAFETY: it is held by the caller.
        unsafe { guarded.lock.downgrade() };
        assert_eq!(guarded.read_and_unlock(), 1);
        reader.join().unwrap();
        writer.join().unwrap();
        guarded.end(2);
    });
}

pub(crate) fn readers_that_wait_come_in_with_one_that_wrote() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.write(None));
        let reader = thread::spawn({
            let guarded = guarded.clone();
            move || {
                assert!(guarded.lock.read(None));
                guarded.reads.ring();
                guarded.read_and_unlock();
            }
        });
        turn.await_it();
        // SAFETY: it is held by the caller.
        unsafe { guarded.lock.downgrade() };
        guarded.reads.wait();
        guarded.read_and_unlock();
        reader.join().unwrap();
        guarded.end(0);
    });
}

pub(crate) fn two_readers_make_way_for_a_writer() {
    explore(WAITS, |turn| {
        let guarded = Guarded::new();
        assert!(guarded.lock.read(None));
        assert!(guarded.lock.read(None));
        let writer = thread::spawn({
            let guarded = guarded.clone();
            move || guarded.add()
        });
        let reader = thread::spawn({
            let guarded = guarded.clone();
            move || assert_eq!(guarded.read_and_unlock(), 0)
        });
        turn.await_it();
        assert_eq!(guarded.read_and_unlock(), 0);
        reader.join().unwrap();
        writer.join().unwrap();
        guarded.end(1);
    });
}
