//! The list of those that have ended: each is seen once, and nobody waits for one that
//! is in it.

use std::time::Instant;

use loom::sync::Arc;
use loom::thread;

use super::subject::{Finished, Next, Ticket};
use crate::explore::{Leftover, WAITS, explore};
use crate::sync::party::Waiter;

fn ends(finished: &Arc<Finished>, number: usize) -> thread::JoinHandle<()> {
    let ticket = Ticket::new(finished, number);
    thread::spawn(move || ticket.hand_in())
}

pub(crate) fn each_of_two_is_seen_once() {
    explore(WAITS, |turn| {
        let finished = Leftover::new(Arc::new(Finished::new(2)));
        let coroutines = [0, 1].map(|number| ends(&finished, number));
        turn.await_it();
        let mut seen = [finished.next(None), finished.next(None)];
        seen.sort_by_key(|next| matches!(next, Next::Number(1)));
        assert_eq!(seen, [Next::Number(0), Next::Number(1)]);
        for coroutine in coroutines {
            coroutine.join().unwrap();
        }
    });
}

pub(crate) fn one_that_gives_up_leaves_the_next_to_the_next_wait() {
    explore(WAITS, |turn| {
        let finished = Leftover::new(Arc::new(Finished::new(1)));
        let coroutine = ends(&finished, 0);
        let deadline = thread::spawn({
            let waiter = Waiter::current();
            move || waiter.time_out()
        });
        turn.await_it();
        if finished.next(Some(Instant::now())) == Next::TimedOut {
            assert_eq!(finished.next(None), Next::Number(0));
        }
        deadline.join().unwrap();
        coroutine.join().unwrap();
    });
}
