//! The park token: no wake-up is lost, none enqueues a coroutine twice.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::subject::Token;
use crate::bell::Bell;
use crate::explore::{WAITS, explore};
use crate::facade::UnsafeCell;

/// A coroutine, its home's run queue (a counter), and the home's bell.
struct Coroutine {
    token: Token,
    enqueued: AtomicUsize,
    home: Bell,
    /// What it waits for, one for each unparker.
    conditions: [AtomicBool; 2],
    /// Written by the coroutine alone whenever it is about to park, read by
    /// whoever enqueues it: loom fails the model unless these are ordered, as
    /// the accesses to the coroutine's link must be.
    link: UnsafeCell<usize>,
}

// SAFETY: of its fields only the cell is not shareable by itself, and loom
// verifies that its accesses are ordered.
unsafe impl Send for Coroutine {}
// SAFETY: as above.
unsafe impl Sync for Coroutine {}

impl Coroutine {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            token: Token::new(),
            enqueued: AtomicUsize::new(0),
            home: Bell::new(),
            conditions: [AtomicBool::new(false), AtomicBool::new(false)],
            link: UnsafeCell::new(0),
        })
    }

    /// Parks once, as the coroutine: switches away and is resumed by its home.
    fn park(&self) {
        // SAFETY: loom panics before this if another access is not ordered.
        self.link.with_mut(|link| unsafe { *link += 1 });
        if self.token.prepare_park() {
            // If nobody enqueues it this is a deadlock, which loom reports.
            self.home.wait();
            assert_eq!(self.enqueued.swap(0, Ordering::Acquire), 1);
        }
    }

    /// Waits inside the library, as the coroutine.
    fn wait_for(&self, condition: usize) {
        while !self.conditions[condition].load(Ordering::Relaxed) {
            self.park();
        }
    }

    /// Enqueues it if `unparked`, as the unparker.
    fn enqueue_if(&self, unparked: bool) {
        if unparked {
            // SAFETY: loom panics before this if another access is not ordered.
            self.link.with_mut(|link| unsafe { *link += 1 });
            assert_eq!(self.enqueued.fetch_add(1, Ordering::Release), 0, "twice");
            self.home.ring();
        }
    }

    fn unpark(&self) {
        self.enqueue_if(self.token.unpark());
    }

    fn fulfil(&self, condition: usize) {
        self.conditions[condition].store(true, Ordering::Relaxed);
        self.unpark();
    }
}

pub(crate) fn a_wakeup_sent_before_parking_is_not_lost() {
    explore(WAITS, |turn| {
        let coroutine = Coroutine::new();
        let unparker = thread::spawn({
            let coroutine = coroutine.clone();
            move || coroutine.unpark()
        });
        turn.await_it();
        coroutine.park();
        unparker.join().unwrap();
        assert!(!coroutine.token.is_parked());
    });
}

pub(crate) fn each_of_two_unparks_is_seen() {
    explore(WAITS, |turn| {
        let coroutine = Coroutine::new();
        for condition in [0, 1] {
            let coroutine = coroutine.clone();
            thread::spawn(move || coroutine.fulfil(condition));
        }
        turn.await_it();
        coroutine.wait_for(0);
        coroutine.wait_for(1);
    });
}

pub(crate) fn two_unparks_of_a_parked_coroutine_enqueue_it_once() {
    explore(WAITS, |turn| {
        let coroutine = Coroutine::new();
        assert!(coroutine.token.prepare_park());
        let unparkers = [(), ()].map(|()| {
            let coroutine = coroutine.clone();
            thread::spawn(move || {
                let first = coroutine.token.unpark();
                coroutine.enqueue_if(first);
                first
            })
        });
        turn.await_it();
        let firsts = unparkers.map(|unparker| unparker.join().unwrap());
        assert_eq!(firsts.into_iter().filter(|&first| first).count(), 1);
        // The other one is remembered.
        assert!(!coroutine.token.prepare_park());
        assert!(coroutine.token.prepare_park());
    });
}

pub(crate) fn an_internal_wait_leaves_the_permit() {
    explore(WAITS, |turn| {
        let coroutine = Coroutine::new();
        thread::spawn({
            let coroutine = coroutine.clone();
            move || coroutine.fulfil(0)
        });
        thread::spawn({
            let coroutine = coroutine.clone();
            move || coroutine.enqueue_if(coroutine.token.unpark_with_permit())
        });
        turn.await_it();
        coroutine.wait_for(0);
        // The user's own park.
        while !coroutine.token.take_permit() {
            coroutine.park();
        }
        assert!(!coroutine.token.take_permit());
    });
}

pub(crate) fn what_was_done_before_an_unpark_with_permit_is_seen_after_the_permit_is_taken() {
    explore(WAITS, |turn| {
        let coroutine = Coroutine::new();
        for condition in [0, 1] {
            let coroutine = coroutine.clone();
            thread::spawn(move || {
                coroutine.conditions[condition].store(true, Ordering::Relaxed);
                coroutine.enqueue_if(coroutine.token.unpark_with_permit());
            });
        }
        turn.await_it();
        let fulfilled = |condition: &AtomicBool| condition.load(Ordering::Relaxed);
        while !coroutine.conditions.iter().all(fulfilled) {
            if coroutine.token.take_permit() {
                assert!(coroutine.conditions.iter().any(fulfilled));
            } else {
                coroutine.park();
            }
        }
    });
}
