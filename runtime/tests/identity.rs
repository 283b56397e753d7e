//! Names, numbers and builders: who a coroutine is.

mod common;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex};

use common::{everywhere, inside_everywhere};
use filature::{Builder, Coroutine, JoinError, JoinHandle, current, go, spawn};

#[test]
fn a_name_is_shown_by_the_handle_and_inside() {
    inside_everywhere(|| {
        let named = Builder::new()
            .name("Ada")
            .spawn(|| current().name())
            .unwrap();
        assert_eq!(named.name().as_deref(), Some("Ada"));
        assert_eq!(named.coroutine().name().as_deref(), Some("Ada"));
        assert_eq!(named.join().unwrap().as_deref(), Some("Ada"));
        let nameless = spawn(|| current().name());
        assert_eq!(nameless.name(), None);
        assert_eq!(nameless.join().unwrap(), None);
        let long = "ü".repeat(10_000);
        let named = Builder::new()
            .name(long.clone())
            .spawn_local(|| ())
            .unwrap();
        assert_eq!(named.name(), Some(long));
    });
}

#[test]
fn a_name_outlives_its_coroutine_in_what_is_left_of_it() {
    inside_everywhere(|| {
        let handle = Builder::new().name("Ada").spawn(current).unwrap();
        let id = handle.id();
        let coroutine = handle.join().unwrap();
        for _ in 0..1000 {
            spawn(|| ()).join().unwrap();
        }
        assert_eq!(coroutine.name().as_deref(), Some("Ada"));
        assert_eq!(coroutine.id(), id);
    });
}

#[test]
fn no_two_coroutines_have_the_same_id() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let note = |seen: &Mutex<HashSet<u64>>| {
            assert!(seen.lock().unwrap().insert(current().id()));
        };
        let outside: Vec<_> = (0..1000)
            .map(|_| {
                let seen = seen.clone();
                runtime.spawn(move || note(&seen))
            })
            .collect();
        runtime.run(|| {
            let inside: Vec<_> = (0..5000)
                .map(|_| {
                    let seen = seen.clone();
                    spawn(move || note(&seen))
                })
                .collect();
            inside.into_iter().for_each(|h| h.join().unwrap());
        });
        outside.into_iter().for_each(|h| h.join().unwrap());
        assert_eq!(seen.lock().unwrap().len(), 6000);
    });
}

#[test]
fn a_handle_and_the_coroutine_agree_on_its_id() {
    inside_everywhere(|| {
        let handle = spawn(|| current().id());
        let id = handle.id();
        assert_eq!(handle.coroutine().id(), id);
        assert_eq!(handle.join().unwrap(), id);
        assert_ne!(current().id(), id);
    });
}

#[test]
fn a_stack_size_out_of_range_is_an_error_that_names_the_range() {
    inside_everywhere(|| {
        for bytes in [0, 1, 16 * 1024 - 1, (1 << 30) + 1, usize::MAX] {
            let error = Builder::new().stack_size(bytes).spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            for part in ["stack_size", &bytes.to_string(), "16384", "1073741824"] {
                assert!(text.contains(part), "assertion: no {part:?} in {text:?}");
            }
        }
    });
}

#[test]
fn go_takes_a_closure_or_a_builder_and_a_closure() {
    inside_everywhere(|| {
        let n = 3;
        assert_eq!(go!(move || n + 1).join().unwrap(), 4);
        assert_eq!(go!(move || n + 2,).join().unwrap(), 5);
        let named = Builder::new().name("go");
        assert_eq!(
            go!(named, || current().name()).join().unwrap().unwrap(),
            "go"
        );
        let big = go!(Builder::new().name("big").stack_size(1 << 20), move || n,);
        assert_eq!(big.join().unwrap(), 3);
        fn function() -> i32 {
            9
        }
        assert_eq!(go!(function).join().unwrap(), 9);
    });
}

#[test]
fn go_with_a_builder_that_asks_for_too_much_panics_with_the_reason() {
    common::hush();
    inside_everywhere(|| {
        let asked = std::panic::catch_unwind(|| {
            go!(Builder::new().name(common::ON_PURPOSE).stack_size(1), || ())
        });
        let payload = asked.unwrap_err();
        assert!(
            payload
                .downcast_ref::<String>()
                .unwrap()
                .contains("stack_size")
        );
    });
}

#[test]
fn handles_may_be_sent_where_the_results_may() {
    fn is_send_and_sync<T: Send + Sync>() {}
    fn may_cross_a_catch_unwind<T: UnwindSafe + RefUnwindSafe>() {}
    may_cross_a_catch_unwind::<JoinHandle<std::cell::Cell<u8>>>();
    may_cross_a_catch_unwind::<Coroutine>();
    may_cross_a_catch_unwind::<filature::Runtime>();
    fn is_unpin<T: Unpin>() {}
    is_send_and_sync::<JoinHandle<std::cell::Cell<u8>>>();
    is_send_and_sync::<Coroutine>();
    is_send_and_sync::<filature::Runtime>();
    is_send_and_sync::<Builder>();
    is_unpin::<JoinHandle<std::marker::PhantomPinned>>();
    fn is_error<T: std::error::Error + Send + 'static>() {}
    is_error::<JoinError>();
}

#[test]
fn a_plain_thread_is_shown_by_current_too() {
    let thread = std::thread::Builder::new().name("plain".into());
    let shown = thread.spawn(|| (current().name(), current().id(), current().id()));
    let (name, id, again) = shown.unwrap().join().unwrap();
    assert_eq!(name.as_deref(), Some("plain"));
    assert_eq!(id, again);
    assert_ne!(id, current().id());
}
