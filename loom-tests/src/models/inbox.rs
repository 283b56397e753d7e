//! The inbox: everything sent arrives, in order, and somebody rings the bell.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

use super::subject::Inbox;
use crate::bell::Bell;
use crate::explore::{QUEUES, explore};
use crate::node::{Node, nodes, take};

fn drain(inbox: &Inbox<Node>) -> Vec<usize> {
    let mut list = inbox.drain();
    let len = list.len();
    let ids: Vec<_> = std::iter::from_fn(|| list.pop_front()).map(take).collect();
    assert_eq!(ids.len(), len);
    ids
}

pub(crate) fn nothing_sent_by_two_threads_is_lost() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<3>();
        let inbox = Arc::new(Inbox::new());
        let senders = [0..2, 2..3].map(|ids| {
            let (nodes, inbox) = (nodes.clone(), inbox.clone());
            thread::spawn(move || {
                for id in ids {
                    inbox.push(nodes[id].send());
                }
            })
        });
        turn.await_it();
        let mut ids = drain(&inbox);
        ids.append(&mut drain(&inbox));
        for sender in senders {
            sender.join().unwrap();
        }
        ids.append(&mut drain(&inbox));
        assert!(inbox.is_empty());

        let place = |id| ids.iter().position(|&other| other == id);
        assert!(place(0) < place(1), "one sender's order");
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2]);
    });
}

pub(crate) fn a_worker_that_is_woken_by_the_first_to_push_sees_all() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<3>();
        let inbox = Arc::new(Inbox::new());
        let bell = Arc::new(Bell::new());
        for ids in [0..2, 2..3] {
            let (nodes, inbox, bell) = (nodes.clone(), inbox.clone(), bell.clone());
            thread::spawn(move || {
                for id in ids {
                    if inbox.push(nodes[id].send()) {
                        bell.ring();
                    }
                }
            });
        }
        turn.await_it();
        let mut count = 0;
        while count < 3 {
            // A bell that nobody rings is a deadlock, which loom reports.
            bell.wait();
            count += drain(&inbox).len();
        }
    });
}

pub(crate) fn a_sender_and_a_worker_going_to_sleep_cannot_both_miss_the_other() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<1>();
        let inbox = Arc::new(Inbox::new());
        let asleep = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let (nodes, inbox, asleep) = (nodes.clone(), inbox.clone(), asleep.clone());
            move || {
                assert!(inbox.push(nodes[0].send()));
                fence(Ordering::SeqCst);
                asleep.load(Ordering::Relaxed)
            }
        });
        turn.await_it();
        asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let saw_mail = !inbox.is_empty();
        assert!(sender.join().unwrap() || saw_mail);
    });
}

pub(crate) fn a_coroutine_can_be_sent_again_as_soon_as_it_was_taken_out() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<2>();
        let inbox = Arc::new(Inbox::new());
        inbox.push(nodes[0].send());
        let sender = thread::spawn({
            let (nodes, inbox) = (nodes.clone(), inbox.clone());
            move || {
                inbox.push(nodes[1].send());
            }
        });
        turn.await_it();
        let mut ids = drain(&inbox);
        inbox.push(nodes[0].send_again());
        sender.join().unwrap();
        ids.append(&mut drain(&inbox));
        ids.sort_unstable();
        assert_eq!(ids, [0, 0, 1]);
    });
}
