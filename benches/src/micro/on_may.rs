//! The small benches on may: the same worker count as the others, everything else as it comes, `go!` for every
//! coroutine as its documentation writes it.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use may::coroutine::{self, Coroutine, JoinHandle};
use may::go;

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock::{self, Race};
use crate::micro::idle;
use crate::micro::memory::Before;
use crate::micro::turns::{self, Meeting, Turns};
use crate::micro::wake::Wake;

/// Measures one case on may.
pub fn measure(case: &Case) -> Result<Reading, String> {
    may::config().set_workers(case.workers);
    match case.bench.as_str() {
        "yield" => Ok(yield_in_turn(case)),
        "park_unpark" => Ok(park_unpark(case)),
        "spawn_join" => Ok(spawn_join(case, 1_000)),
        "spawn_join_serial" => Ok(spawn_join(case, 1)),
        "skynet" | "skynet_cold" => skynet(case),
        "wake" => wake(case),
        "cross_worker" => cross_worker(case),
        "parked_memory" => parked_memory(case),
        "idle" => idle_with_connections(case),
        unknown => Err(format!("{unknown} is not measured on may")),
    }
}

/// A coroutine that panics ends the whole measurement, with its message, before anybody can join it.
fn result_of<T>(handle: JoinHandle<T>) -> T {
    handle.join().expect("the coroutine does not panic")
}

fn yield_in_turn(case: &Case) -> Reading {
    let runners = case.coroutines();
    let case = case.clone();
    result_of(go!(move || {
        clock::per_operation(&case, |yields| {
            let each = yields.div_ceil(runners);
            let race = Arc::new(Race::new(runners));
            let handles: Vec<_> = (0..runners)
                .map(|_| {
                    let race = race.clone();
                    go!(move || {
                        race.arrive();
                        while !race.on() {
                            coroutine::yield_now();
                        }
                        for _ in 0..each {
                            coroutine::yield_now();
                        }
                        race.finish();
                    })
                })
                .collect();
            handles
                .into_iter()
                .for_each(|handle| handle.join().expect("a runner does not panic"));
            (each * runners, race.time())
        })
    }))
}

fn park_unpark(case: &Case) -> Reading {
    let window = clock::window(case);
    result_of(go!(move || {
        let turns = Arc::new(Turns::default());
        let ping = coroutine::current();
        let their_turns = turns.clone();
        let pong = go!(move || their_turns.pong(|| ping.unpark(), coroutine::park));
        let ns = turns.ping(window, || pong.coroutine().unpark(), coroutine::park);
        pong.join().expect("pong does not panic");
        Reading::of(ns)
    }))
}

fn spawn_join(case: &Case, batch: usize) -> Reading {
    let case = case.clone();
    result_of(go!(move || {
        let mut handles = Vec::with_capacity(batch);
        clock::per_operation(&case, |spawns| {
            let batches = spawns.div_ceil(batch);
            let ((), time) = clock::timed(|| {
                for _ in 0..batches {
                    handles.extend((0..batch).map(|number| go!(move || black_box(number))));
                    handles.drain(..).for_each(|handle| {
                        black_box(handle.join().expect("the coroutine does not panic"));
                    });
                }
            });
            (batches * batch, time)
        })
    }))
}

fn node(number: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return number;
    }
    let part = leaves / 10;
    let children: [JoinHandle<u64>; 10] =
        std::array::from_fn(|child| go!(move || node(number + child as u64 * part, part)));
    children
        .into_iter()
        .map(|child| child.join().expect("a child does not panic"))
        .sum()
}

fn skynet(case: &Case) -> Result<Reading, String> {
    let leaves = case.coroutines() as u64;
    clock::warm_or_cold(case, || {
        let (sum, time) = result_of(go!(move || clock::timed(|| node(0, leaves))));
        clock::check_sum(sum, leaves).map(|()| time)
    })
}

fn wake(case: &Case) -> Result<Reading, String> {
    let shared = Arc::new((
        Wake::default(),
        Meeting::default(),
        OnceLock::<Coroutine>::new(),
    ));
    let theirs = shared.clone();
    let sleeper = go!(move || {
        let (wake, meeting, sleeper) = &*theirs;
        sleeper.get_or_init(coroutine::current);
        meeting.meet().map(|()| wake.sleeper(coroutine::park))
    });
    let case = case.clone();
    let waker = go!(move || {
        let (wake, meeting, sleeper) = &*shared;
        meeting.meet()?;
        wake.waker(&case, || {
            sleeper.get().expect("set before the meeting").unpark()
        })
    });
    let reading = result_of(waker)?;
    result_of(sleeper)?;
    Ok(reading)
}

/// may moves an unparked coroutine to the worker that unparks it, so the two soon share one.
fn cross_worker(case: &Case) -> Result<Reading, String> {
    let window = clock::window(case);
    let shared = Arc::new((
        Turns::default(),
        Meeting::default(),
        [const { OnceLock::<Coroutine>::new() }; 2],
    ));
    let theirs = shared.clone();
    let pong = go!(move || {
        let (turns, meeting, [ping, pong]) = &*theirs;
        pong.get_or_init(coroutine::current);
        meeting.meet()?;
        let ping = ping.get().expect("set before the meeting");
        turns.pong(|| ping.unpark(), coroutine::park);
        Ok::<_, String>(())
    });
    let ping = go!(move || {
        let (turns, meeting, [ping, pong]) = &*shared;
        ping.get_or_init(coroutine::current);
        meeting.meet()?;
        let pong = pong.get().expect("set before the meeting");
        Ok::<_, String>(turns.ping(window, || pong.unpark(), coroutine::park))
    });
    let ns = result_of(ping)?;
    result_of(pong)?;
    Ok(turns::with_aftermath(case, ns))
}

fn start_parked(coroutines: usize) -> Result<(), String> {
    let started = Arc::new(AtomicUsize::new(0));
    for _ in 0..coroutines {
        let started = started.clone();
        go!(move || {
            started.fetch_add(1, Ordering::Release);
            loop {
                coroutine::park();
            }
        });
    }
    idle::wait_for(&started, coroutines)
}

fn parked_memory(case: &Case) -> Result<Reading, String> {
    result_of(go!(|| ()));
    let before = Before::any();
    start_parked(case.coroutines())?;
    Ok(before.each_of(case.coroutines()))
}

fn idle_with_connections(case: &Case) -> Result<Reading, String> {
    let connections = idle::affordable(case);
    let failed = |error: std::io::Error| format!("the connections failed: {error}");
    let listener = may::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let reading = Arc::new(AtomicUsize::new(0));
    let accepted = reading.clone();
    go!(move || {
        for stream in listener.incoming() {
            let accepted = accepted.clone();
            go!(move || {
                accepted.fetch_add(1, Ordering::Release);
                std::io::Read::read(&mut stream.expect("a connection is accepted"), &mut [0; 64])
            });
        }
    });
    start_parked(case.coroutines())?;
    let clients = idle::connect(address, connections).map_err(failed)?;
    idle::wait_for(&reading, clients.len())?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(idle::reading(case, clients.len()))
}
