//! The countdown: who waits goes on when all are over, and not before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::subject::Countdown;
use crate::explore::{Leftover, WAITS, explore};

pub(crate) fn who_waits_goes_on_when_both_are_over() {
    explore(WAITS, |turn| {
        let countdown = Leftover::new(Arc::new(Countdown::new()));
        // Not loom's: it only counts.
        let over = Arc::new(AtomicUsize::new(0));
        let children = [(); 2].map(|()| {
            countdown.up();
            let (countdown, over) = (countdown.clone(), over.clone());
            thread::spawn(move || {
                over.fetch_add(1, Ordering::Relaxed);
                countdown.down();
            })
        });
        turn.await_it();
        assert!(countdown.wait(true));
        assert_eq!(over.load(Ordering::Relaxed), 2);
        for child in children {
            child.join().unwrap();
        }
    });
}
