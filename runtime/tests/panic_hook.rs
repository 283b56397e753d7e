//! Panics that nobody joins: the ordinary panic hook is told of them, and nobody
//! else is harmed.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, Once};

use common::inside_everywhere;
use filature::{Builder, current, park, spawn, yield_now};

/// What the panic hook was told, in place of printing it.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shout = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if !common::is_on_purpose(&text) && !info.payload().is::<Bomb>() {
                shout(info);
            }
            TOLD.lock().unwrap().push(text);
        }));
    });
}

/// Until the hook has been told of something with these texts in it.
fn wait_until_told(texts: &[&str]) -> String {
    loop {
        let told = TOLD.lock().unwrap();
        let found = told.iter().find(|told| has_all(told, texts)).cloned();
        drop(told);
        match found {
            Some(text) => return text,
            None => yield_now(),
        }
    }
}

fn has_all(told: &str, texts: &[&str]) -> bool {
    texts.iter().all(|text| told.contains(text))
}

/// How many messages have all these texts in them.
fn times_told(texts: &[&str]) -> usize {
    let told = TOLD.lock().unwrap();
    told.iter().filter(|told| has_all(told, texts)).count()
}

/// A text that no other test, and no other round of this one, uses.
fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("<{n}> {}", common::ON_PURPOSE)
}

/// Panics as it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb went off {}", common::ON_PURPOSE);
    }
}

#[test]
fn a_panic_that_nobody_joins_is_told_with_the_coroutines_name_id_and_place() {
    listen();
    inside_everywhere(|| {
        let text = unique();
        let line = line!() + 1;
        let named = Builder::new().name("Ada").spawn({
            let text = text.clone();
            move || {
                let id = current().id();
                yield_now();
                panic!("{id} {text}");
            }
        });
        let id = named.map(|h| h.id()).unwrap().to_string();
        let report = wait_until_told(&[&text, "joined by nobody"]);
        for part in [
            "coroutine",
            "Ada",
            &id,
            "panic_hook.rs",
            &format!(":{line}:"),
        ] {
            assert!(
                report.contains(part),
                "assertion: no {part:?} in {report:?}"
            );
        }
        // Once as it happened and once in the report.
        assert_eq!(times_told(&[&text]), 2);
    });
}

#[test]
fn a_nameless_one_is_told_of_by_its_id() {
    listen();
    inside_everywhere(|| {
        let text = unique();
        let id = spawn({
            let text = text.clone();
            move || panic!("{text}")
        })
        .id();
        wait_until_told(&[&text, "joined by nobody", &format!("coroutine {id},")]);
    });
}

#[test]
fn a_handle_dropped_after_the_panic_makes_it_known() {
    listen();
    inside_everywhere(|| {
        let text = unique();
        let handle = spawn({
            let text = text.clone();
            move || panic!("{text}")
        });
        while !handle.is_finished() {
            yield_now();
        }
        assert_eq!(times_told(&[&text, "joined by nobody"]), 0);
        drop(handle);
        assert_eq!(times_told(&[&text, "joined by nobody"]), 1);
    });
}

#[test]
fn a_panic_that_somebody_joins_is_told_only_as_it_happens() {
    listen();
    inside_everywhere(|| {
        let text = unique();
        let handle = spawn({
            let text = text.clone();
            move || panic!("{text}")
        });
        handle.join().map(|()| 0).unwrap_err();
        assert_eq!(times_told(&[&text]), 1);
    });
}

#[test]
fn a_result_that_panics_as_it_is_dropped_is_told_and_harms_nobody() {
    listen();
    inside_everywhere(|| {
        // Dropped by the coroutine, since the handle went first.
        let name = unique();
        drop(Builder::new().name(name.clone()).spawn(|| {
            yield_now();
            Bomb
        }));
        wait_until_told(&[&name, "joined by nobody", "a bomb went off"]);

        // Dropped with the handle, since the coroutine ended first.
        let name = unique();
        let handle = Builder::new().name(name.clone()).spawn(|| Bomb).unwrap();
        while !handle.is_finished() {
            yield_now();
        }
        drop(handle);
        wait_until_told(&[&name, "joined by nobody", "a bomb went off"]);

        // Joined, it is the joiner's.
        std::mem::forget(spawn(|| Bomb).join().unwrap());
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_payload_that_panics_as_it_is_dropped_is_told_and_harms_nobody() {
    listen();
    inside_everywhere(|| {
        let name = unique();
        drop(
            Builder::new()
                .name(name.clone())
                .spawn(|| resume_unwind(Box::new(Bomb))),
        );
        wait_until_told(&[&name, "joined by nobody"]);

        let error = spawn(|| resume_unwind(Box::new(Bomb)))
            .join()
            .map(|()| 0)
            .unwrap_err();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(error)));
        assert!(dropped.unwrap_err().is::<String>());
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
}

/// A result and a payload that each leave a payload that panics in turn.
#[test]
fn a_chain_of_panicking_payloads_ends() {
    struct Chain;
    impl Drop for Chain {
        fn drop(&mut self) {
            resume_unwind(Box::new(Bomb));
        }
    }
    listen();
    inside_everywhere(|| {
        for panics in [false, true] {
            let name = unique();
            drop(Builder::new().name(name.clone()).spawn(move || {
                if panics {
                    resume_unwind(Box::new(Chain));
                }
                Chain
            }));
            wait_until_told(&[&name, "joined by nobody"]);
        }
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_callbacks_panic_is_told_with_whose_end_it_was_for() {
    listen();
    inside_everywhere(|| {
        for late in [false, true] {
            let text = unique();
            let name = unique();
            let handle = Builder::new().name(&name).spawn(park).unwrap();
            let coroutine = handle.coroutine().clone();
            if late {
                coroutine.unpark();
                while !handle.is_finished() {
                    yield_now();
                }
            }
            let what = text.clone();
            handle.on_exit(move |_| resume_unwind(Box::new(what)));
            coroutine.unpark();
            handle.join().unwrap();
            wait_until_told(&[&text, "callback for the end of coroutine", &name]);
        }
    });
}
