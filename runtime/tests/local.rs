//! Coroutines that stay on their spawner's worker, and so may share what is not
//! `Send`.

mod common;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use common::inside_everywhere;
use filature::{Builder, spawn_local, yield_now};

#[test]
fn local_coroutines_share_what_is_not_send() {
    inside_everywhere(|| {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = (0..100)
            .map(|i| {
                let shared = shared.clone();
                spawn_local(move || {
                    shared.borrow_mut().push(i);
                    yield_now();
                    shared.borrow_mut().push(i);
                    shared
                })
            })
            .collect();
        for handle in handles {
            assert!(Rc::ptr_eq(&handle.join().unwrap(), &shared));
        }
        assert_eq!(shared.borrow().len(), 200);
        assert_eq!(Rc::strong_count(&shared), 1);
    });
}

#[test]
fn a_local_coroutine_runs_on_its_spawners_worker() {
    inside_everywhere(|| {
        let home = (filature::worker_index(), std::thread::current().id());
        for _ in 0..100 {
            let handle = spawn_local(|| {
                let before = (filature::worker_index(), std::thread::current().id());
                yield_now();
                assert_eq!(
                    before,
                    (filature::worker_index(), std::thread::current().id())
                );
                before
            });
            assert_eq!(handle.join().unwrap(), home);
        }
    });
}

#[test]
fn local_coroutines_start_in_the_order_of_their_spawns() {
    inside_everywhere(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = (0..500)
            .map(|i| {
                let order = order.clone();
                spawn_local(move || order.borrow_mut().push(i))
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
        assert!(order.borrow().is_sorted());
        assert_eq!(order.borrow().len(), 500);
    });
}

#[test]
fn a_local_spawn_outside_of_a_coroutine_is_an_error() {
    common::hush();
    let error = Builder::new().spawn_local(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("outside of a coroutine"),
        "{error}"
    );
    // A thread of its own, so that the panic is told of under its name.
    let thread = std::thread::Builder::new().name(common::ON_PURPOSE.into());
    let panicked = thread.spawn(|| drop(spawn_local(|| ()))).unwrap().join();
    assert!(
        panicked
            .unwrap_err()
            .downcast_ref::<String>()
            .unwrap()
            .contains("spawn_local")
    );
}
