use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::items::{Item, assert_each_taken_once, items, take};
use crate::scheduler::deque::{Owner, Steal, deque};

fn push_all<const N: usize>(owner: &Owner<Item, N>, items: &[Item]) {
    for item in items {
        owner.push(NonNull::from(item)).expect("there is room");
    }
}

fn pop_all<const N: usize>(owner: &Owner<Item, N>) -> Vec<usize> {
    std::iter::from_fn(|| owner.pop()).map(take).collect()
}

#[test]
fn the_newest_comes_out_first() {
    let items = items(3);
    let (owner, _) = deque::<_, 4>();
    push_all(&owner, &items);
    assert_eq!(owner.len(), 3);
    assert_eq!(pop_all(&owner), [2, 1, 0]);
    assert!(owner.is_empty());
}

#[test]
fn the_oldest_can_be_asked_for() {
    let items = items(3);
    let (owner, _) = deque::<_, 4>();
    push_all(&owner, &items);
    assert_eq!(owner.pop_oldest().map(take), Some(0));
    assert_eq!(pop_all(&owner), [2, 1]);
    assert_eq!(owner.pop_oldest(), None);
}

#[test]
fn a_full_deque_gives_back_what_is_pushed() {
    let items = items(5);
    let (owner, _) = deque::<_, 4>();
    push_all(&owner, &items[..4]);
    let last = NonNull::from(&items[4]);
    assert_eq!(owner.push(last), Err(last));
    assert_eq!(owner.pop().map(take), Some(3));
    assert_eq!(owner.push(last), Ok(()));
    assert_eq!(pop_all(&owner), [4, 2, 1, 0]);
}

#[test]
fn the_older_half_can_be_taken_out_rounded_up() {
    let items = items(5);
    let (owner, _) = deque::<_, 8>();
    push_all(&owner, &items);
    let mut half = Vec::new();
    assert_eq!(owner.take_half(|item| half.push(take(item))), 3);
    assert_eq!(half, [0, 1, 2]);
    assert_eq!(pop_all(&owner), [4, 3]);
    assert_eq!(owner.take_half(|_| unreachable!()), 0);
}

#[test]
fn a_thief_runs_the_oldest_and_keeps_the_rest_of_the_older_half() {
    let items = items(6);
    let (owner, stealer) = deque::<_, 8>();
    let (thief, _) = deque::<_, 8>();
    assert!(matches!(stealer.steal_into(&thief), Steal::Empty));
    push_all(&owner, &items);
    let Steal::Stolen { first, more } = stealer.steal_into(&thief) else {
        panic!("six were there");
    };
    assert_eq!((take(first), more), (0, 2));
    assert_eq!(pop_all(&thief), [2, 1]);
    assert_eq!(pop_all(&owner), [5, 4, 3]);
}

#[test]
fn a_thief_takes_no_more_than_it_has_room_for() {
    let items = items(11);
    let (owner, stealer) = deque::<_, 8>();
    let (thief, _) = deque::<_, 8>();
    push_all(&owner, &items[..4]);
    push_all(&thief, &items[4..11]);
    let Steal::Stolen { more, .. } = stealer.steal_into(&thief) else {
        panic!("four were there");
    };
    assert_eq!(more, 1);
    assert_eq!(thief.len(), 8);
    let Steal::Stolen { more, .. } = stealer.steal_into(&thief) else {
        panic!("two were left");
    };
    assert_eq!(more, 0);
    assert_eq!(stealer.len(), 1);
}

#[test]
fn a_stamp_changes_with_every_push_pop_and_steal() {
    let items = items(2);
    let (owner, stealer) = deque::<_, 4>();
    let (thief, _) = deque::<_, 4>();
    let mut stamps = vec![stealer.stamp()];
    push_all(&owner, &items[..1]);
    stamps.push(stealer.stamp());
    assert_eq!(stealer.stamp(), stamps[1]);
    owner.pop();
    stamps.push(stealer.stamp());
    push_all(&owner, &items[1..]);
    stamps.push(stealer.stamp());
    stealer.steal_into(&thief);
    stamps.push(stealer.stamp());
    stamps.dedup();
    assert_eq!(stamps.len(), 5);
}

fn an_owner_and_thieves_share_out<const N: usize>(count: usize) {
    let items = items(count);
    let (owner, stealer) = deque::<Item, N>();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            let (stealer, taken) = (&stealer, &taken);
            scope.spawn(move || {
                let (own, _) = deque::<Item, N>();
                while taken.load(Ordering::Relaxed) < count {
                    if let Steal::Stolen { first, more } = stealer.steal_into(&own) {
                        take(first);
                        let rest = pop_all(&own).len();
                        assert_eq!(rest, more);
                        taken.fetch_add(1 + rest, Ordering::Relaxed);
                    } else {
                        thread::yield_now();
                    }
                }
            });
        }
        for (i, item) in items.iter().enumerate() {
            let mut rest = Some(NonNull::from(item));
            let mut mine = 0;
            while let Some(item) = rest.take() {
                if let Err(item) = owner.push(item) {
                    mine += owner.take_half(|item| _ = take(item));
                    rest = Some(item);
                    // If a thief is in the middle of a copy, let it finish.
                    thread::yield_now();
                }
            }
            if i % 3 == 0 {
                mine += owner.pop().map(take).into_iter().count();
            }
            if i % 7 == 0 {
                mine += owner.pop_oldest().map(take).into_iter().count();
            }
            taken.fetch_add(mine, Ordering::Relaxed);
        }
        while taken.load(Ordering::Relaxed) < count {
            taken.fetch_add(pop_all(&owner).len(), Ordering::Relaxed);
        }
    });
    assert_each_taken_once(&items);
}

#[test]
fn an_owner_and_two_thieves_share_out_a_roomy_deque() {
    an_owner_and_thieves_share_out::<256>(crate::times(300_000));
}

#[test]
fn an_owner_and_two_thieves_share_out_a_tiny_deque() {
    an_owner_and_thieves_share_out::<2>(crate::times(100_000));
}
