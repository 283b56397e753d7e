//! A select: it does one thing of several, and two that meet agree.

use std::sync::Arc;

use loom::thread;

use super::subject::{How, select};
use crate::channel::arm::{Arm, Recv, Send};
use crate::channel::chan::{Chan, Until};
use crate::explore::{Leftover, WAITS, explore};

type Channel = Leftover<Arc<Chan<usize>>>;

fn channel(capacity: usize) -> Channel {
    Leftover::new(Arc::new(Chan::new(Some(capacity))))
}

/// As the models look at the first arm first, they say what that is.
const ACT: How = How {
    biased: true,
    watch: false,
};
const WATCH: How = How {
    biased: true,
    watch: true,
};

/// Receives from one of two.
fn receive(a: &Chan<usize>, b: &Chan<usize>) -> Option<usize> {
    let (a, b) = (Recv::new(a), Recv::new(b));
    let arms: [&dyn Arm; 2] = [&a, &b];
    match select(&arms, &mut [0; 2], ACT, Until::Never)? {
        0 => a.take(),
        _ => b.take(),
    }
}

/// Sends to one, or receives from the other: `None` if it has sent.
fn send_or_receive(to: &Chan<usize>, from: &Chan<usize>, message: usize) -> Option<usize> {
    let (to, from) = (Send::new(to), Recv::new(from));
    let arms: [&dyn Arm; 2] = [&to, &from];
    match select(&arms, &mut [0; 2], ACT, Until::Never) {
        Some(0) => {
            assert!(to.take().send(message).is_ok());
            None
        }
        _ => Some(from.take().unwrap()),
    }
}

pub(crate) fn one_of_two_messages_is_received_and_the_other_stays() {
    explore(WAITS, |turn| {
        let (a, b) = (channel(1), channel(1));
        let selects = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || receive(&a, &b).unwrap()
        });
        let sends = thread::spawn({
            let a = a.clone();
            move || assert!(a.send(1, Until::Never).is_ok())
        });
        turn.await_it();
        assert!(b.send(2, Until::Never).is_ok());
        sends.join().unwrap();
        let got = selects.join().unwrap();
        let left = [&a, &b].map(|chan| chan.recv(Until::Now).unwrap_or(0));
        assert_eq!(got + left[0] + left[1], 3);
    });
}

pub(crate) fn two_selects_that_want_each_other_meet_once() {
    explore(WAITS, |turn| {
        let (a, b) = (channel(0), channel(0));
        let other = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || send_or_receive(&b, &a, 1)
        });
        turn.await_it();
        let mine = send_or_receive(&a, &b, 2);
        let met = (mine, other.join().unwrap());
        assert!(matches!(met, (None, Some(2)) | (Some(1), None)), "{met:?}");
    });
}

pub(crate) fn a_select_withdraws_from_where_it_was_not_chosen() {
    explore(WAITS, |turn| {
        let (a, b) = (channel(0), channel(0));
        let selects = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || receive(&a, &b).unwrap()
        });
        let senders = [(&a, 1), (&b, 2)].map(|(chan, message)| {
            let chan = Arc::clone(chan);
            thread::spawn(move || chan.send(message, Until::Never).is_ok())
        });
        turn.await_it();
        let left = match selects.join().unwrap() {
            1 => b.recv(Until::Never).unwrap_or(0) == 2,
            _ => a.recv(Until::Never).unwrap_or(0) == 1,
        };
        assert!(left);
        for sender in senders {
            assert!(sender.join().unwrap());
        }
    });
}

pub(crate) fn a_select_that_was_met_in_vain_waits_on() {
    explore(WAITS, |turn| {
        let (a, b) = (channel(0), channel(0));
        let selects = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || receive(&a, &b).unwrap()
        });
        turn.await_it();
        let arm = Send::new(&a);
        if select(&[&arm as &dyn Arm], &mut [0], ACT, Until::Now).is_some() {
            // It fails to make the message.
            drop(arm.take());
        }
        assert!(b.send(5, Until::Never).is_ok());
        assert_eq!(selects.join().unwrap(), 5);
    });
}

pub(crate) fn a_receiver_waits_for_the_message_of_a_select() {
    explore(WAITS, |turn| {
        let (a, b) = (channel(0), channel(0));
        let selects = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || send_or_receive(&a, &b, 7)
        });
        turn.await_it();
        assert_eq!(a.recv(Until::Never).unwrap_or(0), 7);
        assert_eq!(selects.join().unwrap(), None);
    });
}

pub(crate) fn all_that_watch_are_told() {
    explore(WAITS, |turn| {
        let chan = channel(1);
        let watchers = [(); 2].map(|()| {
            let chan = chan.clone();
            thread::spawn(move || {
                let arm = Recv::new(&chan);
                select(&[&arm as &dyn Arm], &mut [0], WATCH, Until::Never)
            })
        });
        turn.await_it();
        assert!(chan.send(1, Until::Never).is_ok());
        for watcher in watchers {
            assert_eq!(watcher.join().unwrap(), Some(0));
        }
        assert!(chan.recv(Until::Now).is_ok());
    });
}
