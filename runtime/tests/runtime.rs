//! Runtimes: how they are configured, entered and left.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Child, Counter, everywhere, inside_everywhere, pollers};
use filature::{Builder, Guard, Io, Runtime, run, spawn, worker_index, yield_now};

#[test]
fn a_run_borrows_from_its_caller() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let mut list = vec![1, 2];
        let text = String::from("lent");
        let length = runtime.run(|| {
            list.push(3);
            yield_now();
            list.push(4);
            text.len()
        });
        assert_eq!((length, list.as_slice()), (4, [1, 2, 3, 4].as_slice()));
    });
}

#[test]
fn runs_nest() {
    everywhere(|setup| {
        let (one, other) = (setup.runtime(), setup.runtime());
        let mut count = 0;
        one.run(|| {
            count += 1;
            run(|| {
                count += 1;
                one.run(|| {
                    count += 1;
                    other.run(|| {
                        count += 1;
                        one.run(|| {
                            yield_now();
                            count += 1;
                        });
                    });
                });
            });
        });
        assert_eq!(count, 5);
    });
}

#[test]
fn a_run_goes_as_deep_as_one_likes() {
    fn nest(depth: usize) -> usize {
        match depth {
            0 => 0,
            _ => run(|| nest(depth - 1)) + 1,
        }
    }
    inside_everywhere(|| assert_eq!(nest(300), 300));
}

#[test]
fn several_threads_run_on_one_runtime_at_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let met = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // Each waits for all the others.
                scope.spawn(|| {
                    runtime.run(|| {
                        met.up();
                        met.wait_for(8);
                    });
                });
            }
        });
    });
}

#[test]
fn runtimes_are_apart_and_talk() {
    everywhere(|setup| {
        let named = |name: &str| setup.builder().thread_name(name).build().unwrap();
        let (one, other) = (named("one"), named("other"));
        let thread = || std::thread::current().name().unwrap().to_owned();
        one.run(|| {
            assert!(thread().starts_with("one-"));
            let there = other.spawn(move || {
                // What it spawns stays on its runtime.
                (thread(), spawn(thread).join().unwrap())
            });
            let (first, second) = there.join().unwrap();
            assert!(first.starts_with("other-") && second.starts_with("other-"));
            assert!(other.run(thread).starts_with("other-"));
            assert!(thread().starts_with("one-"));
        });
    });
}

#[test]
fn a_runtime_is_what_its_builder_says() {
    everywhere(|setup| {
        let runtime = setup
            .builder()
            .thread_name("silk")
            .stack_size(1 << 20)
            .build()
            .unwrap();
        assert_eq!(runtime.workers(), setup.workers);
        assert_eq!(runtime.io(), setup.io);
        assert_eq!(runtime.stats().workers.len(), setup.workers);
        runtime.run(|| {
            let name = format!("silk-{}", worker_index().unwrap());
            assert_eq!(std::thread::current().name(), Some(name.as_str()));
            let size = filature::stack_bounds().unwrap().len();
            // With the guard, without what colours the top.
            assert!(size > 1 << 20 && size <= (1 << 20) + 4096);
        });
    });
}

#[test]
fn auto_chooses_a_poller_that_there_is() {
    let runtime = Runtime::builder().workers(1).io(Io::Auto).build().unwrap();
    assert_ne!(runtime.io(), Io::Auto);
    assert!(pollers().contains(&runtime.io()) || std::env::var("FILATURE_IO").is_ok());
}

#[test]
fn a_pinned_worker_may_run_on_one_core_and_others_on_all() {
    fn cores() -> i32 {
        // SAFETY: all zeroes is an empty set, and the call fills it.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
            libc::CPU_COUNT(&set)
        }
    }
    let here = cores();
    everywhere(|setup| {
        assert_eq!(setup.runtime().run(cores), here);
        let pinned = setup.builder().pin(true).build().unwrap();
        assert_eq!(pinned.run(cores), 1);
    });
}

#[test]
fn a_value_out_of_range_is_an_error_that_names_the_method_and_the_range() {
    let cases = [
        (
            Runtime::builder().workers(0),
            "RuntimeBuilder::workers",
            "0",
            "1 to 1024",
        ),
        (
            Runtime::builder().workers(1025),
            "RuntimeBuilder::workers",
            "1025",
            "1 to 1024",
        ),
        (
            Runtime::builder().stack_size(100),
            "RuntimeBuilder::stack_size",
            "100",
            "16384 to 1073741824",
        ),
    ];
    for (builder, method, value, allowed) in cases {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        for part in [method, value, allowed] {
            assert!(text.contains(part), "assertion: no {part:?} in {text:?}");
        }
    }
}

/// The variables of which one is bad, with a bad value and what is allowed.
const BAD_VARIABLES: [(&str, &str, &[&str]); 10] = [
    ("FILATURE_WORKERS", "0", &["1 to 1024"]),
    ("FILATURE_WORKERS", "many", &["1 to 1024"]),
    ("FILATURE_WORKERS", "-1", &["1 to 1024"]),
    ("FILATURE_STACK_SIZE", "256K", &["16384 to 1073741824"]),
    ("FILATURE_STACK_SIZE", "12", &["16384 to 1073741824"]),
    ("FILATURE_IO", "kqueue", &["auto", "io_uring", "epoll"]),
    ("FILATURE_IO", "EPOLL", &["auto", "io_uring", "epoll"]),
    ("FILATURE_PIN", "yes", &["0", "1"]),
    ("FILATURE_GUARD", "none", &["auto", "madvise", "mprotect"]),
    ("FILATURE_WORKERS", " 2", &["1 to 1024"]),
];

#[test]
fn a_bad_variable_is_an_error_that_names_it_and_what_it_may_be() {
    let name = "a_bad_variable_is_an_error_that_names_it_and_what_it_may_be";
    for (variable, value, allowed) in BAD_VARIABLES {
        let child = Child::of(name, || {
            let error = Runtime::new().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            eprintln!("{error}");
            // The process-wide runtime says the same.
            let error = Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let panic = std::panic::catch_unwind(|| run(|| ())).unwrap_err();
            assert!(
                panic
                    .downcast_ref::<String>()
                    .unwrap()
                    .contains("FILATURE_")
            );
            // What the builder is told beats what the environment says.
            Runtime::builder()
                .workers(1)
                .pin(false)
                .stack_size(1 << 16)
                .io(Io::Epoll)
                .guard(Guard::Auto)
                .build()
                .unwrap();
        });
        let ended = child.env(variable, value).run();
        ended.succeeded().says(&[variable, value]).says(allowed);
    }
}

#[test]
fn a_variable_that_is_no_text_is_an_error_that_names_it() {
    use std::os::unix::ffi::OsStrExt;
    let child = Child::of(
        "a_variable_that_is_no_text_is_an_error_that_names_it",
        || {
            eprintln!("{}", Runtime::new().unwrap_err());
        },
    );
    let ended = child
        .env(
            "FILATURE_THREAD_NAME",
            std::ffi::OsStr::from_bytes(b"\xff\xfe"),
        )
        .run();
    ended.succeeded().says(&["FILATURE_THREAD_NAME"]);
}

#[test]
fn variables_configure_what_the_builder_does_not() {
    let child = Child::of("variables_configure_what_the_builder_does_not", || {
        let check = |runtime: &Runtime| {
            assert_eq!(runtime.workers(), 3);
            assert_eq!(runtime.io(), Io::Epoll);
            runtime.run(|| {
                let thread = std::thread::current().name().unwrap().to_owned();
                assert!(thread.starts_with("silk-"), "{thread}");
                let size = filature::stack_bounds().unwrap().len();
                assert!(size > 1 << 16 && size <= (1 << 16) + 4096, "{size}");
            });
        };
        check(&Runtime::new().unwrap());
        run(|| assert_eq!(filature::stats().workers.len(), 3));
        let other = Runtime::builder()
            .workers(2)
            .thread_name("other")
            .build()
            .unwrap();
        assert_eq!(other.workers(), 2);
        assert_eq!(other.io(), Io::Epoll);
    });
    let ended = child
        .env("FILATURE_WORKERS", "3")
        .env("FILATURE_IO", "epoll")
        .env("FILATURE_STACK_SIZE", "65536")
        .env("FILATURE_THREAD_NAME", "silk")
        // Empty is as good as not set.
        .env("FILATURE_PIN", "")
        .run();
    ended.succeeded();
}

#[test]
fn the_process_wide_runtime_is_started_once_by_whoever_comes_first() {
    let name = "the_process_wide_runtime_is_started_once_by_whoever_comes_first";
    for io in pollers() {
        let child = Child::of(name, || {
            assert!(filature::dump().runtimes.is_empty());
            let barrier = std::sync::Barrier::new(16);
            std::thread::scope(|scope| {
                for i in 0..16 {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        let value = match i % 3 {
                            0 => run(move || i),
                            1 => spawn(move || i).join().unwrap(),
                            _ => filature::go!(move || i).join().unwrap(),
                        };
                        assert_eq!(value, i);
                    });
                }
            });
            let dump = filature::dump();
            assert_eq!(dump.runtimes.len(), 1);
            assert!(dump.runtimes[0].coroutines.is_empty());
            let finished: u64 = filature::stats().workers.iter().map(|w| w.finished).sum();
            assert_eq!(finished, 16);
        });
        child.env("FILATURE_IO", io.to_string()).run().succeeded();
    }
}

#[test]
fn many_runtimes_live_at_once() {
    everywhere(|setup| {
        let runtimes: Vec<_> = (0..8).map(|_| setup.runtime()).collect();
        let sums: Vec<_> = runtimes
            .iter()
            .map(|runtime| {
                runtime.spawn(|| {
                    let handles: Vec<_> = (0..100).map(|i| spawn(move || i)).collect();
                    handles.into_iter().map(|h| h.join().unwrap()).sum::<i32>()
                })
            })
            .collect();
        for sum in sums {
            assert_eq!(sum.join().unwrap(), 4950);
        }
    });
}

#[test]
fn a_runtime_that_was_never_used_ends() {
    everywhere(|setup| drop(setup.runtime()));
}

#[test]
fn a_runtime_made_and_dropped_in_a_coroutine_of_another_is_all_right() {
    everywhere(|setup| {
        let outer = setup.runtime();
        let inner = setup.builder();
        outer.run(move || {
            for i in 0..10 {
                let runtime = inner.clone().build().unwrap();
                runtime.spawn(filature::park);
                assert_eq!(runtime.run(move || i), i);
            }
        });
    });
}

/// How many of something the process has.
fn entries(of: &str) -> usize {
    std::fs::read_dir(of).unwrap().count()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

fn descriptors() -> usize {
    // The directory that is being read is one itself.
    entries("/proc/self/fd") - 1
}

#[test]
fn two_hundred_runtimes_leave_nothing_behind() {
    let name = "two_hundred_runtimes_leave_nothing_behind";
    for io in pollers() {
        let child = Child::of(name, || {
            let threads = entries("/proc/self/task");
            let cycle = |i: usize| {
                let runtime = Runtime::builder().workers(1 + i % 3).build().unwrap();
                let sum: usize = runtime.run(|| {
                    let handles: Vec<_> = (0..50).map(|i| spawn(move || i)).collect();
                    handles.into_iter().map(|h| h.join().unwrap()).sum()
                });
                assert_eq!(sum, 1225);
                for _ in 0..10 {
                    runtime.spawn(filature::park);
                    runtime.spawn(|| filature::sleep(Duration::from_secs(1000)));
                }
                let big = Builder::new().stack_size(1 << 20);
                runtime.spawn_with(big, || ()).unwrap().join().unwrap();
                match i % 2 {
                    0 => drop(runtime),
                    _ => assert!(runtime.shutdown_timeout(Duration::from_secs(50))),
                }
            };
            // What the process keeps for good, such as the C library's cache of
            // thread stacks, is there after some.
            (0..20).for_each(cycle);
            let (fds, maps) = (descriptors(), mappings());
            (0..200).for_each(cycle);
            assert_eq!(descriptors(), fds);
            assert!(
                mappings() <= maps + 10,
                "{maps} mappings became {}",
                mappings()
            );
            assert!(filature::dump().runtimes.is_empty());
            // The kernel may show a thread for a moment after it was joined.
            while entries("/proc/self/task") > threads {
                std::thread::yield_now();
            }
        });
        // One arena, or the C library makes another now and then.
        child
            .env("FILATURE_IO", io.to_string())
            .env("MALLOC_ARENA_MAX", "1")
            .run()
            .succeeded();
    }
}
