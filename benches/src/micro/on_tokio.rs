//! The small benches on tokio: its multi-threaded scheduler with the same worker count as the others, or, for one
//! worker, also its current-thread scheduler. Every measured loop runs inside a spawned task, where tokio is fastest.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{self, JoinHandle};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock::{self, Race};
use crate::micro::idle;
use crate::micro::memory::Before;
use crate::micro::turns::{self, Meeting};
use crate::micro::wake::Wake;

/// Measures one case on tokio.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let runtime = runtime(case)?;
    match case.bench.as_str() {
        "yield" => Ok(yield_in_turn(case, &runtime)),
        "park_unpark" => Ok(Reading::of(park_unpark(case, &runtime))),
        "spawn_join" => Ok(spawn_join(case, &runtime, 1_000)),
        "spawn_join_serial" => Ok(spawn_join(case, &runtime, 1)),
        "skynet" | "skynet_cold" => skynet(case, &runtime),
        "wake" => wake(case, &runtime),
        "cross_worker" => cross_worker(case, &runtime),
        "parked_memory" => parked_memory(case, &runtime),
        "idle" => idle_with_connections(case, &runtime),
        unknown => Err(format!("{unknown} is not measured on tokio")),
    }
}

fn runtime(case: &Case) -> Result<Runtime, String> {
    let mut builder = match case.on.as_str() {
        "tokio_current_thread" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(case.workers).enable_all().build();
    runtime.map_err(|error| format!("tokio's runtime cannot be built: {error}"))
}

/// Runs a future as a task of a worker and waits for it on this thread.
fn on_worker<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(future).await.expect("the task does not panic") })
}

fn yield_in_turn(case: &Case, runtime: &Runtime) -> Reading {
    let runners = case.coroutines();
    clock::per_operation(case, |yields| {
        let each = yields.div_ceil(runners);
        let race = Arc::new(Race::new(runners));
        let mine = race.clone();
        on_worker(runtime, async move {
            let run = |race: Arc<Race>| async move {
                race.arrive();
                while !race.on() {
                    task::yield_now().await;
                }
                for _ in 0..each {
                    task::yield_now().await;
                }
                race.finish();
            };
            let handles: Vec<_> = (0..runners)
                .map(|_| tokio::spawn(run(mine.clone())))
                .collect();
            for handle in handles {
                handle.await.expect("a runner does not panic");
            }
        });
        (each * runners, race.time())
    })
}

/// `Notify` is the nearest that tokio has to a token that is remembered when it comes before the wait for it.
struct Pair {
    ping: Notify,
    pong: Notify,
    window: Duration,
}

impl Pair {
    fn new(case: &Case) -> Arc<Self> {
        Arc::new(Pair {
            ping: Notify::new(),
            pong: Notify::new(),
            window: clock::window(case),
        })
    }

    async fn ping(&self) -> f64 {
        let mut start = Instant::now();
        let mut trips = 0u64;
        let mut warm = false;
        loop {
            for _ in 0..32 {
                self.pong.notify_one();
                self.ping.notified().await;
            }
            trips += 32;
            let time = start.elapsed();
            if !warm && time >= self.window / 10 {
                (start, trips, warm) = (Instant::now(), 0, true);
            } else if warm && time >= self.window {
                return time.as_nanos() as f64 / trips as f64;
            }
        }
    }

    async fn pong(&self) {
        loop {
            self.pong.notified().await;
            self.ping.notify_one();
        }
    }
}

fn park_unpark(case: &Case, runtime: &Runtime) -> f64 {
    let pair = Pair::new(case);
    on_worker(runtime, async move {
        let theirs = pair.clone();
        let pong = tokio::spawn(async move { theirs.pong().await });
        let ns = pair.ping().await;
        pong.abort();
        ns
    })
}

fn spawn_join(case: &Case, runtime: &Runtime, batch: usize) -> Reading {
    clock::per_operation(case, |spawns| {
        let batches = spawns.div_ceil(batch);
        let time = on_worker(runtime, async move {
            let mut handles: Vec<JoinHandle<usize>> = Vec::with_capacity(batch);
            let start = Instant::now();
            for _ in 0..batches {
                handles.extend(
                    (0..batch).map(|number| tokio::spawn(async move { black_box(number) })),
                );
                for handle in handles.drain(..) {
                    black_box(handle.await.expect("the task does not panic"));
                }
            }
            start.elapsed()
        });
        (batches * batch, time)
    })
}

fn spawn_node(number: u64, leaves: u64) -> JoinHandle<u64> {
    tokio::spawn(async move {
        if leaves == 1 {
            return number;
        }
        let part = leaves / 10;
        let children: [JoinHandle<u64>; 10] =
            std::array::from_fn(|child| spawn_node(number + child as u64 * part, part));
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("a child does not panic");
        }
        sum
    })
}

fn skynet(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let leaves = case.coroutines() as u64;
    clock::warm_or_cold(case, || {
        let (sum, time) = on_worker(runtime, async move {
            let start = Instant::now();
            let sum = spawn_node(0, leaves)
                .await
                .expect("the root does not panic");
            (sum, start.elapsed())
        });
        clock::check_sum(sum, leaves).map(|()| time)
    })
}

/// The waker spins inside `block_in_place`, which is how tokio wants to be told that a task keeps its thread busy. If
/// it just span, the woken task would wait in the newest-first slot of the spinning worker, out of reach of the others.
fn wake(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let shared = Arc::new((Wake::default(), Meeting::default(), Notify::new()));
    let theirs = shared.clone();
    let sleeper = runtime.spawn(async move {
        let (wake, meeting, notify) = &*theirs;
        meeting.meet()?;
        let mut seen = 0;
        while !Wake::is_over(seen) {
            match wake.called_since(seen) {
                Some(call) => seen = call,
                None => notify.notified().await,
            }
        }
        Ok::<_, String>(())
    });
    let case = case.clone();
    let reading = on_worker(runtime, async move {
        let (wake, meeting, notify) = &*shared;
        meeting.meet()?;
        task::block_in_place(|| wake.waker(&case, || notify.notify_one()))
    })?;
    runtime
        .block_on(sleeper)
        .map_err(|error| error.to_string())??;
    Ok(reading)
}

/// tokio queues a notified task on the worker that notifies it, so the two soon share one.
fn cross_worker(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let shared = Arc::new((Pair::new(case), Meeting::default()));
    let theirs = shared.clone();
    let pong = runtime.spawn(async move {
        let (pair, meeting) = &*theirs;
        meeting.meet()?;
        pair.pong().await;
        Ok::<_, String>(())
    });
    let ns = on_worker(runtime, async move {
        let (pair, meeting) = &*shared;
        meeting.meet()?;
        Ok::<_, String>(pair.ping().await)
    })?;
    pong.abort();
    Ok(turns::with_aftermath(case, ns))
}

fn start_parked(runtime: &Runtime, coroutines: usize) -> Result<(), String> {
    let shared = Arc::new((AtomicUsize::new(0), Notify::new()));
    for _ in 0..coroutines {
        let theirs = shared.clone();
        runtime.spawn(async move {
            theirs.0.fetch_add(1, Ordering::Release);
            theirs.1.notified().await;
        });
    }
    idle::wait_for(&shared.0, coroutines)
}

fn parked_memory(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    on_worker(runtime, async {});
    let before = Before::any();
    start_parked(runtime, case.coroutines())?;
    Ok(before.each_of(case.coroutines()))
}

fn idle_with_connections(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let connections = idle::affordable(case);
    let failed = |error: std::io::Error| format!("the connections failed: {error}");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let reading = Arc::new(AtomicUsize::new(0));
    let accepted = reading.clone();
    runtime.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection is accepted");
            let accepted = accepted.clone();
            tokio::spawn(async move {
                accepted.fetch_add(1, Ordering::Release);
                stream.read(&mut [0; 64]).await
            });
        }
    });
    start_parked(runtime, case.coroutines())?;
    let clients = idle::connect(address, connections).map_err(failed)?;
    idle::wait_for(&reading, clients.len())?;
    Ok(idle::reading(case, clients.len()))
}
