use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::items::{assert_each_taken_once, items, take};
use crate::scheduler::injector::Injector;
use crate::scheduler::list::List;

#[test]
fn a_batch_is_the_oldest_and_no_more_than_asked_for() {
    let items = items(4);
    let injector = Injector::new();
    for item in &items {
        injector.push(NonNull::from(item));
    }
    assert_eq!(injector.len(), 4);
    assert!(injector.pop_batch(0).is_empty());
    let mut batch = injector.pop_batch(2);
    assert_eq!(batch.len(), 2);
    assert_eq!(batch.pop_front().map(take), Some(0));
    assert_eq!(batch.pop_front().map(take), Some(1));
    assert_eq!(injector.pop().map(take), Some(2));
    assert_eq!(injector.pop_batch(9).len(), 1);
    assert_eq!(injector.pop(), None);
    assert!(injector.is_empty());
}

#[test]
fn pushers_and_workers_share_out_all() {
    const COUNT: usize = crate::times(100_000);
    let items = items(COUNT);
    let injector = Injector::new();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (i, items) in items.chunks(COUNT / 2).enumerate() {
            let (injector, taken) = (&injector, &taken);
            scope.spawn(move || {
                for few in items.chunks(5) {
                    let mut list = List::new();
                    for item in few {
                        list.push_back(NonNull::from(item));
                    }
                    injector.append(list);
                }
            });
            scope.spawn(move || {
                while taken.load(Ordering::Relaxed) < COUNT {
                    let mut batch = injector.pop_batch(3 + i);
                    while let Some(item) = batch.pop_front() {
                        take(item);
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    if injector.is_empty() {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_each_taken_once(&items);
    assert!(injector.is_empty());
}
