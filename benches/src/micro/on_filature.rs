//! The small benches on filature: the same worker count as the others and else the defaults, except that workers are
//! pinned where two of them talk to each other, as may's always are and the threads of the bare wake.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use filature::{Coroutine, JoinHandle, Runtime, go};
use filature_net::TcpListener;

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock::{self, Race};
use crate::micro::turns::{self, Meeting, Turns};
use crate::micro::wake::Wake;
use crate::micro::{idle, on_filature_parked, spread};

/// Measures one case on filature.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let talking = matches!(case.bench.as_str(), "wake" | "cross_worker");
    let mut builder = Runtime::builder().workers(case.workers);
    if talking {
        builder = builder.pin(true);
    }
    let runtime = builder
        .build()
        .map_err(|error| format!("the runtime cannot be built: {error}"))?;
    match case.bench.as_str() {
        "yield" => Ok(yield_in_turn(case, &runtime)),
        "park_unpark" => Ok(park_unpark(case, &runtime)),
        "spawn_join" => Ok(spawn_join(case, &runtime, 1_000)),
        "spawn_join_serial" => Ok(spawn_join(case, &runtime, 1)),
        "skynet" | "skynet_cold" => skynet(case, &runtime),
        "wake" => wake(case, &runtime),
        "cross_worker" => cross_worker(case, &runtime),
        "parked_memory" => on_filature_parked::measure(case, &runtime),
        "idle" => idle_with_connections(case, &runtime),
        "spread" => connections_spread(case, &runtime),
        unknown => Err(format!("{unknown} is not measured on filature")),
    }
}

fn result_of<T>(handle: JoinHandle<T>) -> Result<T, String> {
    handle
        .join()
        .map_err(|error| format!("a coroutine failed: {error}"))
}

fn yield_in_turn(case: &Case, runtime: &Runtime) -> Reading {
    let runners = case.coroutines();
    runtime.run(|| {
        clock::per_operation(case, |yields| {
            let each = yields.div_ceil(runners);
            let race = Arc::new(Race::new(runners));
            let handles: Vec<_> = (0..runners)
                .map(|_| {
                    let race = race.clone();
                    go!(move || {
                        race.arrive();
                        while !race.on() {
                            filature::yield_now();
                        }
                        for _ in 0..each {
                            filature::yield_now();
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
    })
}

fn park_unpark(case: &Case, runtime: &Runtime) -> Reading {
    let window = clock::window(case);
    runtime.run(|| {
        let turns = Arc::new(Turns::default());
        let ping = filature::current();
        let their_turns = turns.clone();
        let pong = go!(move || their_turns.pong(|| ping.unpark(), filature::park));
        let ns = turns.ping(window, || pong.coroutine().unpark(), filature::park);
        pong.join().expect("pong does not panic");
        Reading::of(ns)
    })
}

fn spawn_join(case: &Case, runtime: &Runtime, batch: usize) -> Reading {
    runtime.run(|| {
        let mut handles = Vec::with_capacity(batch);
        clock::per_operation(case, |spawns| {
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
    })
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

fn skynet(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let leaves = case.coroutines() as u64;
    clock::warm_or_cold(case, || {
        let (sum, time) = runtime.run(|| clock::timed(|| node(0, leaves)));
        clock::check_sum(sum, leaves).map(|()| time)
    })
}

fn wake(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let shared = Arc::new((
        Wake::default(),
        Meeting::default(),
        OnceLock::<Coroutine>::new(),
    ));
    let theirs = shared.clone();
    let sleeper = runtime.spawn(move || {
        let (wake, meeting, sleeper) = &*theirs;
        sleeper.get_or_init(filature::current);
        meeting.meet().map(|()| wake.sleeper(filature::park))
    });
    let case = case.clone();
    let waker = runtime.spawn(move || {
        let (wake, meeting, sleeper) = &*shared;
        meeting.meet()?;
        wake.waker(&case, || {
            sleeper.get().expect("set before the meeting").unpark()
        })
    });
    let reading = result_of(waker)??;
    result_of(sleeper)??;
    Ok(reading)
}

fn cross_worker(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let window = clock::window(case);
    let shared = Arc::new((
        Turns::default(),
        Meeting::default(),
        [const { OnceLock::<Coroutine>::new() }; 2],
    ));
    let theirs = shared.clone();
    let pong = runtime.spawn(move || {
        let (turns, meeting, [ping, pong]) = &*theirs;
        pong.get_or_init(filature::current);
        meeting.meet()?;
        let ping = ping.get().expect("set before the meeting");
        turns.pong(|| ping.unpark(), filature::park);
        Ok::<_, String>(())
    });
    let ping = runtime.spawn(move || {
        let (turns, meeting, [ping, pong]) = &*shared;
        ping.get_or_init(filature::current);
        meeting.meet()?;
        let pong = pong.get().expect("set before the meeting");
        Ok::<_, String>(turns.ping(window, || pong.unpark(), filature::park))
    });
    let ns = result_of(ping)??;
    result_of(pong)??;
    Ok(turns::with_aftermath(case, ns))
}

fn idle_with_connections(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let connections = idle::affordable(case);
    let failed = |error: io::Error| format!("the connections failed: {error}");
    let parked = Arc::new(AtomicUsize::new(0));
    for _ in 0..case.coroutines() {
        let parked = parked.clone();
        runtime.spawn(move || {
            parked.fetch_add(1, Ordering::Release);
            loop {
                filature::park();
            }
        });
    }
    let reading = Arc::new(AtomicUsize::new(0));
    let accepted = reading.clone();
    let address = serve(runtime, move |mut stream| {
        accepted.fetch_add(1, Ordering::Release);
        stream.read(&mut [0; 64]).map(drop)
    })
    .map_err(failed)?;
    idle::wait_for(&parked, case.coroutines())?;
    let clients = idle::connect(address, connections).map_err(failed)?;
    idle::wait_for(&reading, clients.len())?;
    Ok(idle::reading(case, clients.len()))
}

fn connections_spread(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let connections = idle::affordable(case);
    let failed = |error: io::Error| format!("the connections failed: {error}");
    let per_worker: Arc<Vec<AtomicUsize>> =
        Arc::new((0..case.workers).map(|_| AtomicUsize::new(0)).collect());
    let counts = per_worker.clone();
    let address = serve(runtime, move |mut stream| {
        let home = filature::worker_index().expect("a coroutine has a worker");
        counts[home].fetch_add(1, Ordering::Release);
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    })
    .map_err(failed)?;
    let clients = spread::connect_slowly(case, address, connections).map_err(failed)?;
    let counts: Vec<usize> = per_worker
        .iter()
        .map(|count| count.load(Ordering::Acquire))
        .collect();
    drop(clients);
    Ok(spread::reading(&counts))
}

/// Accepts connections in a coroutine, and runs `handle` in a coroutine for each.
fn serve(
    runtime: &Runtime,
    handle: impl Fn(filature_net::TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let handle = Arc::new(handle);
    runtime.spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection is accepted");
            let handle = handle.clone();
            go!(move || handle(stream));
        }
    });
    Ok(address)
}
