use std::ptr::NonNull;
use std::thread;

use crate::items::{Item, assert_each_taken_once, items, take};
use crate::scheduler::inbox::Inbox;
use crate::scheduler::list::List;

fn list_of(items: &[Item]) -> List<Item> {
    let mut list = List::new();
    for item in items {
        list.push_back(NonNull::from(item));
    }
    list
}

fn ids(mut list: List<Item>) -> Vec<usize> {
    let len = list.len();
    let ids: Vec<_> = std::iter::from_fn(|| list.pop_front()).map(take).collect();
    assert_eq!(ids.len(), len);
    assert!(list.is_empty());
    ids
}

#[test]
fn a_list_is_first_in_first_out() {
    let items = items(3);
    let mut list = list_of(&items);
    assert_eq!(list.len(), 3);
    assert_eq!(list.pop_front().map(take), Some(0));
    list.push_back(NonNull::from(&items[0]));
    assert_eq!(ids(list), [1, 2, 0]);
}

#[test]
fn lists_can_be_appended_empty_or_not() {
    let items = items(4);
    let (mut left, mut right) = (list_of(&[]), list_of(&items[..2]));
    left.append(&mut right);
    assert!(right.is_empty());
    left.append(&mut right);
    right = list_of(&items[2..]);
    left.append(&mut right);
    assert_eq!(right.len(), 0);
    assert_eq!(ids(left), [0, 1, 2, 3]);
}

#[test]
fn an_emptied_list_can_be_used_again() {
    let items = items(2);
    let mut list = list_of(&items[..1]);
    list.pop_front();
    list.push_back(NonNull::from(&items[1]));
    assert_eq!(ids(list), [1]);
}

#[test]
fn an_inbox_gives_out_in_the_order_of_pushing() {
    let items = items(3);
    let inbox = Inbox::new();
    assert!(inbox.push(NonNull::from(&items[0])), "it was empty");
    assert!(!inbox.push(NonNull::from(&items[1])));
    assert_eq!(ids(inbox.drain()), [0, 1]);
    assert!(inbox.is_empty());
    assert!(inbox.push(NonNull::from(&items[2])), "it was empty again");
    assert_eq!(ids(inbox.drain()), [2]);
    assert!(inbox.drain().is_empty());
}

#[test]
fn four_senders_ring_once_for_each_time_the_inbox_was_empty() {
    const EACH: usize = crate::times(50_000);
    let items = items(4 * EACH);
    let inbox = Inbox::new();
    let worker = thread::current();
    let mut last = [None; 4];
    let mut count = 0;
    thread::scope(|scope| {
        for items in items.chunks(EACH) {
            let (inbox, worker) = (&inbox, &worker);
            scope.spawn(move || {
                for item in items {
                    if inbox.push(NonNull::from(item)) {
                        worker.unpark();
                    }
                }
            });
        }
        while count < items.len() {
            if inbox.is_empty() {
                thread::park();
            }
            for id in ids(inbox.drain()) {
                let sender = &mut last[id / EACH];
                assert!(*sender < Some(id), "one sender's order");
                *sender = Some(id);
                count += 1;
            }
        }
    });
    assert_each_taken_once(&items);
}
