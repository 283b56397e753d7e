//! `sync::ReentrantMutex`.

mod common;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use common::{FOR_EVER, Gate, everywhere, inside_everywhere, on_a_thread};
use filature::sync::ReentrantMutex;
use filature::{spawn, spawn_local, yield_now};

#[test]
fn its_owner_may_take_it_again() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let work = || {
            let lock = ReentrantMutex::new(Cell::new(0));
            let a = lock.lock();
            let b = lock.try_lock().unwrap();
            let c = lock.lock_timeout(Duration::ZERO).unwrap();
            a.set(b.get() + 1);
            drop(a);
            drop(c);
            assert_eq!(b.get(), 1);
            assert_eq!(
                format!("{lock:?}"),
                "ReentrantMutex { data: Cell { value: 1 }, .. }"
            );
        };
        runtime.run(work);
        work();
    });
}

#[test]
fn a_neighbour_on_the_same_worker_is_not_its_owner() {
    inside_everywhere(|| {
        let lock = Arc::new(ReentrantMutex::new(RefCell::new(Vec::new())));
        let guard = lock.lock();
        let again = lock.lock();
        let tried = Gate::new();
        let neighbour = spawn_local({
            let (lock, tried) = (lock.clone(), tried.clone());
            move || {
                assert!(lock.try_lock().is_none());
                assert!(lock.lock_timeout(Duration::from_millis(1)).is_none());
                tried.open();
                lock.lock().borrow_mut().push(2);
            }
        });
        tried.wait();
        guard.borrow_mut().push(1);
        drop(guard);
        yield_now();
        assert_eq!(*again.borrow(), [1]);
        drop(again);
        neighbour.join().unwrap();
        assert_eq!(*lock.lock().borrow(), [1, 2]);
    });
}

#[test]
fn coroutines_and_threads_exclude_each_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let work = || {
            let lock = lock.clone();
            move || {
                for i in 0..100 {
                    let outer = lock.lock();
                    let before = outer.get();
                    let inner = lock.lock();
                    if i % 5 == 0 {
                        yield_now();
                    }
                    inner.set(before + 1);
                }
            }
        };
        let handles: Vec<_> = (0..20).map(|_| runtime.spawn(work())).collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(work())).collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(lock.lock().get(), 2300);
    });
}

#[test]
fn a_guard_that_is_forgotten_keeps_the_lock_for_its_owner() {
    inside_everywhere(|| {
        let lock = Arc::new(ReentrantMutex::new(1));
        let owner = spawn({
            let lock = lock.clone();
            move || {
                std::mem::forget(lock.lock());
                drop(lock.lock());
                assert_eq!(*lock.lock(), 1);
            }
        });
        owner.join().unwrap();
        assert!(lock.try_lock().is_none());
        let others = [
            spawn({
                let lock = lock.clone();
                move || assert!(lock.try_lock().is_none())
            }),
            spawn_local({
                let lock = lock.clone();
                move || assert!(lock.try_lock().is_none())
            }),
        ];
        for other in others {
            other.join().unwrap();
        }
        on_a_thread({
            let lock = lock.clone();
            move || assert!(lock.try_lock().is_none())
        });
        assert_eq!(Arc::into_inner(lock).unwrap().into_inner(), 1);
    });
}

#[test]
fn a_neighbour_may_drop_the_guard() {
    inside_everywhere(|| {
        let lock = Arc::new(ReentrantMutex::new(Cell::new(1)));
        // Moved where a guard that is not `Send` can go: to a neighbour.
        let lent: &'static ReentrantMutex<_> =
            Box::leak(Box::new(ReentrantMutex::new(Cell::new(1))));
        let (mine, other) = (lent.lock(), lent.lock());
        let neighbour = spawn_local(move || other.set(other.get() + 1));
        neighbour.join().unwrap();
        assert_eq!(mine.get(), 2);
        drop(mine);
        on_a_thread(|| drop(lent.try_lock().unwrap()));
        drop(lock.lock());
    });
}

#[test]
fn a_panic_does_not_poison_and_one_that_is_cancelled_has_no_lock() {
    inside_everywhere(|| {
        let lock = Arc::new(ReentrantMutex::new(1));
        let panics = spawn({
            let lock = lock.clone();
            move || {
                let _guards = (lock.lock(), lock.lock());
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        });
        panics.join().unwrap_err();
        let guard = lock.try_lock().unwrap();
        let waiter = spawn({
            let lock = lock.clone();
            move || drop(lock.lock_timeout(FOR_EVER))
        });
        yield_now();
        waiter.cancel().unwrap();
        assert!(waiter.join().unwrap_err().is_cancelled());
        drop(guard);
        assert!(lock.try_lock().is_some());
    });
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Takes a lock twice as its thread ends.
struct Last(Arc<ReentrantMutex<Cell<i32>>>);

impl Drop for Last {
    fn drop(&mut self) {
        let (a, b) = (self.0.lock(), self.0.lock());
        a.set(b.get() + 1);
    }
}

#[test]
fn a_thread_that_ends_is_still_itself() {
    let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
    let last = Last(lock.clone());
    std::thread::spawn(move || {
        LAST.set(Some(last));
        // Its own locals come after, and go before.
        drop(filature::current());
    })
    .join()
    .unwrap();
    assert_eq!(lock.lock().get(), 1);
}
