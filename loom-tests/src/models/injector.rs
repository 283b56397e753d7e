//! The injector: everything pushed comes out, and its length does not lie to a
//! worker that is about to sleep.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

use super::subject::Injector;
use crate::explore::{QUEUES, explore};
use crate::node::{Node, nodes, take};
use crate::scheduler::list::List;

fn take_all(mut list: List<Node>) -> usize {
    let len = list.len();
    let mut last = None;
    for _ in 0..len {
        let id = take(list.pop_front().expect("as many as its length says"));
        assert!(last.is_none_or(|last| last < id), "oldest first");
        last = Some(id);
    }
    assert!(list.is_empty());
    len
}

pub(crate) fn a_pusher_and_two_workers_share_out_all() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<4>();
        let injector = Arc::new(Injector::new());
        let pusher = thread::spawn({
            let (nodes, injector) = (nodes.clone(), injector.clone());
            move || {
                injector.push(nodes[0].send());
                let mut list = List::new();
                for node in &nodes[1..] {
                    list.push_back(node.send());
                }
                injector.append(list);
            }
        });
        let worker = thread::spawn({
            let (nodes, injector) = (nodes.clone(), injector.clone());
            move || {
                let count = take_all(injector.pop_batch(2));
                drop(nodes);
                count
            }
        });
        turn.await_it();
        let mut count = injector.pop().map(take).into_iter().count();
        pusher.join().unwrap();
        count += worker.join().unwrap();
        assert_eq!(injector.len(), 4 - count);
        assert_eq!(count + take_all(injector.pop_batch(4)), 4);
        assert!(injector.is_empty());
    });
}

pub(crate) fn the_length_is_true_once_all_is_quiet() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<2>();
        let injector = Arc::new(Injector::new());
        injector.push(nodes[0].send());
        let pusher = thread::spawn({
            let (nodes, injector) = (nodes.clone(), injector.clone());
            move || injector.push(nodes[1].send())
        });
        turn.await_it();
        injector.pop().map(take).expect("one was there");
        pusher.join().unwrap();
        assert_eq!(injector.len(), 1);
        injector.pop().map(take).expect("one was left");
    });
}

pub(crate) fn a_pusher_and_a_worker_going_to_sleep_cannot_both_miss_the_other() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<1>();
        let injector = Arc::new(Injector::new());
        let asleep = Arc::new(AtomicBool::new(false));
        let pusher = thread::spawn({
            let (nodes, injector, asleep) = (nodes.clone(), injector.clone(), asleep.clone());
            move || {
                injector.push(nodes[0].send());
                fence(Ordering::SeqCst);
                asleep.load(Ordering::Relaxed)
            }
        });
        turn.await_it();
        asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let saw_work = !injector.is_empty();
        assert!(pusher.join().unwrap() || saw_work);
    });
}
