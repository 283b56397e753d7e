//! A stack that is not enough ends the process, with the one message that helps.

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{Child, pollers};
use filature::{Builder, park, run, sleep, spawn, yield_now};

#[expect(unconditional_recursion)]
fn overflow(frame: &[u8]) -> u8 {
    let mine = black_box([frame[0]; 512]);
    overflow(&mine) + mine[100]
}

/// In the child, on the process-wide runtime, whose poller the parent chooses.
fn overflow_in_a_coroutine(builder: Builder, prepare: impl FnOnce() + Send) {
    run(|| {
        prepare();
        let deep = builder.spawn(|| {
            yield_now();
            overflow(&[0])
        });
        eprintln!("survived: {:?}", deep.unwrap().join());
    });
}

#[test]
fn an_overflow_names_the_coroutine_its_stack_and_the_remedy() {
    for io in pollers() {
        let name = "an_overflow_names_the_coroutine_its_stack_and_the_remedy";
        let child = Child::of(name, || {
            let builder = Builder::new().name("Ada").stack_size(64 << 10);
            run(|| {
                eprintln!("spawned on line {}.", line!() + 1);
                let deep = builder.spawn(|| overflow(&[0])).unwrap();
                eprintln!("survived: {:?}", deep.join());
            });
        });
        let ended = child.env("FILATURE_IO", io.to_string()).run();
        ended.killed_by(libc::SIGABRT).says(&[
            "coroutine",
            "'Ada'",
            "has overflowed its stack of 64 KiB",
            "Builder::stack_size",
            "FILATURE_STACK_SIZE",
        ]);
        let line = ended.stderr.split("spawned on line ").nth(1).unwrap();
        let line = line.split('.').next().unwrap();
        ended.says(&[&format!("(spawned at runtime/tests/overflow.rs:{line}:")]);
        assert!(!ended.stderr.contains("survived"));
    }
}

#[test]
fn an_overflow_after_suspending_on_any_worker_is_told_too() {
    for io in pollers() {
        for workers in ["1", "2", "8"] {
            let name = "an_overflow_after_suspending_on_any_worker_is_told_too";
            let child = Child::of(name, || {
                overflow_in_a_coroutine(Builder::new(), || {
                    // So that it starts on another worker than this one, if there are others.
                    for _ in 0..20 {
                        spawn(park);
                    }
                    sleep(Duration::from_millis(1));
                });
            });
            let ended = child
                .env("FILATURE_IO", io.to_string())
                .env("FILATURE_WORKERS", workers)
                .run();
            ended
                .killed_by(libc::SIGABRT)
                .says(&["has overflowed its stack of 256 KiB"]);
            assert!(!ended.stderr.contains("survived"));
        }
    }
}

#[test]
fn an_overflow_of_a_thread_is_told_as_ever() {
    let child = Child::of("an_overflow_of_a_thread_is_told_as_ever", || {
        run(|| ());
        let thread = std::thread::Builder::new().name("plain thread".into());
        let _ = thread.spawn(|| overflow(&[0])).unwrap().join();
        eprintln!("survived");
    });
    let ended = child.run();
    ended
        .killed_by(libc::SIGABRT)
        .says(&["plain thread", "has overflowed its stack"]);
    assert!(!ended.stderr.contains("coroutine"));
    assert!(!ended.stderr.contains("survived"));
}

#[test]
fn a_fault_that_is_no_overflow_is_left_to_the_system() {
    let child = Child::of("a_fault_that_is_no_overflow_is_left_to_the_system", || {
        run(|| {
            // SAFETY: none; the fault is what the test is about.
            unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
        });
    });
    let ended = child.run();
    ended.killed_by(libc::SIGSEGV);
    assert!(!ended.stderr.contains("overflowed"));
}
