//! A runtime that has nothing to do does nothing. This is the one file whose
//! subject is a stretch of time.

mod common;

use std::time::Duration;

use common::{Counter, FOR_EVER, pollers};
use filature::{Runtime, park, park_timeout, sleep};

/// Times that the threads of that name have been switched away from, and the
/// clock ticks of CPU that they have used.
fn activity(thread_name: &str) -> (u64, u64) {
    let (mut switches, mut ticks) = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        // One of another test may end at any moment.
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if !read("comm").starts_with(thread_name) {
            continue;
        }
        for line in read("status").lines() {
            if let Some((_, count)) = line.split_once("ctxt_switches:") {
                switches += count.trim().parse::<u64>().unwrap();
            }
        }
        // User and system time are the 12th and 13th after the name.
        let stat = read("stat");
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        ticks += fields
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().unwrap())
            .sum::<u64>();
    }
    (switches, ticks)
}

/// Fails unless the threads come to rest: a second without a switch of theirs,
/// or nearly, and without CPU. Anything that recurs keeps every second busy.
fn assert_comes_to_rest(thread_name: &str) {
    let mut seconds = Vec::new();
    for _ in 0..10 {
        let before = activity(thread_name);
        std::thread::sleep(Duration::from_secs(1));
        let after = activity(thread_name);
        let (switches, ticks) = (after.0 - before.0, after.1 - before.1);
        if switches <= 1 && ticks == 0 {
            return;
        }
        seconds.push((switches, ticks));
    }
    panic!(
        "(switches, ticks) in each second: {seconds:?}\n{}",
        filature::dump()
    );
}

#[test]
fn ten_thousand_that_wait_keep_nobody_busy() {
    for (number, io) in pollers().into_iter().enumerate() {
        let name = format!("still{number}");
        let runtime = Runtime::builder()
            .workers(4)
            .io(io)
            .thread_name(&name)
            .build()
            .unwrap();
        let started = Counter::new();
        for i in 0..10_000 {
            let started = started.clone();
            runtime.spawn(move || {
                started.up();
                match i % 3 {
                    0 => park(),
                    1 => sleep(FOR_EVER),
                    _ => park_timeout(FOR_EVER),
                }
            });
        }
        started.wait_for(10_000);
        assert_comes_to_rest(&name);
        // It sleeps, but not for good.
        assert_eq!(runtime.run(|| 1), 1);
    }
}

#[test]
fn a_runtime_that_was_busy_comes_to_rest() {
    for (number, io) in pollers().into_iter().enumerate() {
        let name = format!("tired{number}");
        let runtime = Runtime::builder()
            .workers(4)
            .io(io)
            .thread_name(&name)
            .build()
            .unwrap();
        runtime.run(|| {
            let handles: Vec<_> = (0..5000)
                .map(|i| {
                    filature::spawn(move || {
                        filature::yield_now();
                        sleep(Duration::from_micros(i % 500));
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
        assert_comes_to_rest(&name);
        assert_eq!(runtime.run(|| 1), 1);
    }
}

#[test]
fn a_runtime_that_was_never_used_rests() {
    for (number, io) in pollers().into_iter().enumerate() {
        let name = format!("fresh{number}");
        let runtime = Runtime::builder()
            .workers(4)
            .io(io)
            .thread_name(&name)
            .build()
            .unwrap();
        assert_comes_to_rest(&name);
        drop(runtime);
    }
}
