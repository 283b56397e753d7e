//! A channel: what is sent is received once, by somebody who waits or comes.

use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::subject::{Chan, Unreceived, Unsent, Until};
use crate::explore::{Leftover, WAITS, explore};
use crate::sync::party::Waiter;

type Channel = Leftover<Arc<Chan<Box<usize>>>>;

fn channel(capacity: usize) -> Channel {
    Leftover::new(Arc::new(Chan::new(Some(capacity))))
}

/// Two senders that wait, and receivers in two threads.
fn two_by_two(capacity: usize) {
    explore(WAITS, move |turn| {
        let chan = channel(capacity);
        let senders = [1, 2].map(|message| {
            let chan = chan.clone();
            thread::spawn(move || chan.send(Box::new(message), Until::Never).is_ok())
        });
        turn.await_it();
        let sum = [(); 2].map(|()| chan.recv(Until::Never).map_or(0, |message| *message));
        assert_eq!(sum[0] + sum[1], 3);
        for sender in senders {
            assert!(sender.join().unwrap());
        }
    });
}

pub(crate) fn all_that_is_sent_to_a_bounded_channel_arrives() {
    two_by_two(1);
}

pub(crate) fn room_that_becomes_free_is_had_by_who_waits() {
    explore(WAITS, |turn| {
        let chan = channel(1);
        assert!(chan.send(Box::new(1), Until::Now).is_ok());
        let sender = thread::spawn({
            let chan = chan.clone();
            move || chan.send(Box::new(2), Until::Never).is_ok()
        });
        turn.await_it();
        assert_eq!(chan.recv(Until::Now).map_or(0, |message| *message), 1);
        assert!(sender.join().unwrap());
        assert_eq!(chan.recv(Until::Now).map_or(0, |message| *message), 2);
    });
}

pub(crate) fn senders_and_receivers_meet() {
    two_by_two(0);
}

pub(crate) fn two_receivers_get_a_message_each() {
    explore(WAITS, |turn| {
        let chan = channel(1);
        let receivers = [(); 2].map(|()| {
            let chan = chan.clone();
            thread::spawn(move || chan.recv(Until::Never).map_or(0, |message| *message))
        });
        turn.await_it();
        assert!(chan.send(Box::new(1), Until::Never).is_ok());
        assert!(chan.send(Box::new(2), Until::Never).is_ok());
        let got = receivers.map(|receiver| receiver.join().unwrap());
        assert_eq!(got[0] + got[1], 3);
    });
}

/// Where somebody leaves word of who it is, before it waits with a deadline.
type Post = Leftover<Arc<Mutex<Option<Arc<Waiter>>>>>;

fn post() -> Post {
    Leftover::new(Arc::new(Mutex::new(None)))
}

/// Its deadline passes, if it waits by now; if not, it never does.
fn time_out(post: &Post) {
    let waiter = post.lock().unwrap().clone();
    if let Some(waiter) = waiter {
        waiter.time_out();
    }
}

pub(crate) fn a_receiver_that_gives_up_leaves_the_message() {
    explore(WAITS, |turn| {
        let (chan, post) = (channel(0), post());
        let hasty = thread::spawn({
            let (chan, post) = (chan.clone(), Arc::clone(&post));
            move || {
                *post.lock().unwrap() = Some(Waiter::current());
                match chan.recv(Until::At(Instant::now())) {
                    Ok(message) => Some(*message),
                    Err(Unreceived::Late) => None,
                    Err(Unreceived::Gone) => unreachable!("there is a sender"),
                }
            }
        });
        let sender = thread::spawn({
            let chan = chan.clone();
            move || chan.send(Box::new(1), Until::Never).is_ok()
        });
        turn.await_it();
        time_out(&post);
        let had = hasty.join().unwrap();
        let had = had.or_else(|| chan.recv(Until::Never).ok().map(|message| *message));
        assert_eq!(had, Some(1));
        assert!(sender.join().unwrap());
    });
}

pub(crate) fn a_sender_that_gives_up_keeps_its_message() {
    explore(WAITS, |turn| {
        let (chan, post) = (channel(0), post());
        let hasty = thread::spawn({
            let (chan, post) = (chan.clone(), Arc::clone(&post));
            move || {
                *post.lock().unwrap() = Some(Waiter::current());
                match chan.send(Box::new(1), Until::At(Instant::now())) {
                    Ok(()) => None,
                    Err(Unsent::Late(message)) => Some(*message),
                    Err(Unsent::Gone(_)) => unreachable!("there is a receiver"),
                }
            }
        });
        let receiver = thread::spawn({
            let chan = chan.clone();
            move || chan.recv(Until::Never).map_or(0, |message| *message)
        });
        turn.await_it();
        time_out(&post);
        let kept = hasty.join().unwrap();
        if kept.is_some() {
            assert!(chan.send(Box::new(2), Until::Never).is_ok());
        }
        let expected = kept.map_or(1, |kept| kept + 1);
        assert_eq!(receiver.join().unwrap(), expected);
    });
}

pub(crate) fn the_end_of_one_side_is_told_to_the_other() {
    explore(WAITS, |turn| {
        let chan = channel(0);
        let receiver = thread::spawn({
            let chan = chan.clone();
            move || chan.recv(Until::Never).is_err()
        });
        turn.await_it();
        chan.remove_sender();
        assert!(receiver.join().unwrap());

        let chan = channel(0);
        let sender = thread::spawn({
            let chan = chan.clone();
            move || chan.send(Box::new(1), Until::Never).is_err()
        });
        chan.remove_receiver();
        assert!(sender.join().unwrap());
    });
}
