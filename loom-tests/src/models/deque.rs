//! The deque: what was pushed comes out once, whoever takes it.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

use super::subject::{Owner, Steal, Stealer, deque};
use crate::explore::{QUEUES, explore};
use crate::node::{Node, nodes, take};

const SIZE: usize = 4;

/// Steals once into a deque of its own and takes all that came of it.
fn steal(stealer: &Stealer<Node, SIZE>) -> usize {
    let (own, _) = deque::<Node, SIZE>();
    let Steal::Stolen { first, more } = stealer.steal_into(&own) else {
        return 0;
    };
    take(first);
    assert_eq!(own.len(), more);
    drain(&own);
    1 + more
}

/// Pops and takes all that is left.
fn drain(owner: &Owner<Node, SIZE>) -> usize {
    let mut count = 0;
    while let Some(node) = owner.pop() {
        take(node);
        count += 1;
    }
    count
}

/// Pushes; if the ring is full, pops first. Returns how many it took.
fn push_or_swap(owner: &Owner<Node, SIZE>, node: &Node) -> usize {
    let Err(node) = owner.push(node.send()) else {
        return 0;
    };
    // A thief may be copying, which leaves the ring full even after a pop.
    let newest = owner.pop().map(take);
    if let Err(node) = owner.push(node) {
        take(node);
        return 1 + usize::from(newest.is_some());
    }
    usize::from(newest.is_some())
}

pub(crate) fn an_owner_and_a_thief_share_out_what_was_pushed() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<3>();
        let (owner, stealer) = deque::<Node, SIZE>();
        let thief = thread::spawn({
            let nodes = nodes.clone();
            move || {
                let count = steal(&stealer) + steal(&stealer);
                drop(nodes);
                count
            }
        });
        turn.await_it();
        owner.push(nodes[0].send()).unwrap();
        owner.push(nodes[1].send()).unwrap();
        let mut count = owner.pop().map(take).into_iter().count();
        owner.push(nodes[2].send()).unwrap();
        count += thief.join().unwrap() + drain(&owner);
        assert_eq!(count, 3);
    });
}

pub(crate) fn two_thieves_share_out_what_was_pushed() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<3>();
        let (owner, stealer) = deque::<Node, SIZE>();
        let thieves = [stealer.clone(), stealer].map(|stealer| {
            let nodes = nodes.clone();
            thread::spawn(move || {
                let count = steal(&stealer);
                drop(nodes);
                count
            })
        });
        turn.await_it();
        for node in &nodes[..] {
            owner.push(node.send()).unwrap();
        }
        let mut count = owner.pop().map(take).into_iter().count();
        for thief in thieves {
            count += thief.join().unwrap();
        }
        assert_eq!(count + drain(&owner), 3);
    });
}

pub(crate) fn a_full_ring_is_not_overwritten_under_a_thief() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<6>();
        let (owner, stealer) = deque::<Node, SIZE>();
        for node in &nodes[..SIZE] {
            owner.push(node.send()).unwrap();
        }
        let thief = thread::spawn({
            let nodes = nodes.clone();
            move || {
                let count = steal(&stealer);
                drop(nodes);
                count
            }
        });
        turn.await_it();
        let mut count = push_or_swap(&owner, &nodes[4]) + push_or_swap(&owner, &nodes[5]);
        count += thief.join().unwrap();
        assert_eq!(count + drain(&owner), 6);
    });
}

pub(crate) fn a_full_ring_is_not_overwritten_under_two_thieves() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<5>();
        let (owner, stealer) = deque::<Node, SIZE>();
        for node in &nodes[..SIZE] {
            owner.push(node.send()).unwrap();
        }
        let thieves = [stealer.clone(), stealer].map(|stealer| {
            let nodes = nodes.clone();
            thread::spawn(move || {
                let count = steal(&stealer);
                drop(nodes);
                count
            })
        });
        turn.await_it();
        let mut count = push_or_swap(&owner, &nodes[4]);
        for thief in thieves {
            count += thief.join().unwrap();
        }
        assert_eq!(count + drain(&owner), 5);
    });
}

pub(crate) fn an_owner_that_takes_its_older_half_and_a_thief_share_out() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<4>();
        let (owner, stealer) = deque::<Node, SIZE>();
        for node in &nodes[..] {
            owner.push(node.send()).unwrap();
        }
        let thief = thread::spawn({
            let nodes = nodes.clone();
            move || {
                let count = steal(&stealer);
                drop(nodes);
                count
            }
        });
        turn.await_it();
        let mut last = None;
        let mut count = owner.take_half(|node| {
            let id = take(node);
            assert!(last.is_none_or(|last| last < id), "oldest first");
            last = Some(id);
        });
        count += owner.pop_oldest().map(take).into_iter().count();
        count += thief.join().unwrap();
        assert_eq!(count + drain(&owner), 4);
    });
}

pub(crate) fn a_thief_finds_something_in_a_deque_that_is_left_alone() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<2>();
        let (owner, stealer) = deque::<Node, SIZE>();
        let pusher = thread::spawn({
            let nodes = nodes.clone();
            move || {
                owner.push(nodes[0].send()).unwrap();
                owner.push(nodes[1].send()).unwrap();
                owner.pop().map(take);
                owner
            }
        });
        turn.await_it();
        let early = steal(&stealer);
        let owner = pusher.join().unwrap();
        assert_eq!(steal(&stealer), 1 - early.min(1));
        assert!(owner.is_empty() && stealer.len() == 0);
    });
}

pub(crate) fn an_owner_and_a_worker_going_to_sleep_cannot_both_miss_the_other() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<1>();
        let asleep = Arc::new(AtomicBool::new(false));
        let (owner, stealer) = deque::<Node, SIZE>();
        let pusher = thread::spawn({
            let (nodes, asleep) = (nodes.clone(), asleep.clone());
            move || {
                owner.push(nodes[0].send()).unwrap();
                fence(Ordering::SeqCst);
                asleep.load(Ordering::Relaxed)
            }
        });
        turn.await_it();
        asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let saw_work = stealer.len() > 0;
        assert!(pusher.join().unwrap() || saw_work);
    });
}

pub(crate) fn a_stamp_that_stays_the_same_means_that_nothing_happened() {
    explore(QUEUES, |turn| {
        let nodes = nodes::<2>();
        let (owner, stealer) = deque::<Node, SIZE>();
        owner.push(nodes[0].send()).unwrap();
        let pusher = thread::spawn({
            let nodes = nodes.clone();
            move || {
                owner.pop().map(take);
                owner.push(nodes[1].send()).unwrap();
                owner
            }
        });
        turn.await_it();
        let before = stealer.stamp();
        let owner = pusher.join().unwrap();
        let after = stealer.stamp();
        let (own, _) = deque::<Node, SIZE>();
        let Steal::Stolen { first, .. } = stealer.steal_into(&own) else {
            panic!("one was left");
        };
        assert_eq!(take(first), 1);
        assert_ne!(stealer.stamp(), after);
        assert_ne!(stealer.stamp(), before);
        drop(owner);
    });
}
