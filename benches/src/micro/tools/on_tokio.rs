//! The toolkit's benches on tokio, each inside a spawned task.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc};
use tokio::{task, time};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock;
use crate::micro::tools::{ARMS, BATCH, ROOM};

/// Measures one case on tokio.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let mut builder = match case.on.as_str() {
        "tokio_current_thread" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(case.workers).enable_all().build();
    let runtime = runtime.map_err(|error| format!("tokio's runtime cannot be built: {error}"))?;
    let bench = case.bench.clone();
    // Each run is a task of its own: the loops that find out how often to repeat it are not asynchronous.
    let run = |operations: usize| {
        let bench = bench.clone();
        runtime.block_on(async {
            let operations = tokio::spawn(async move {
                match bench.as_str() {
                    "channel_round_trip" => Some(round_trip(operations).await),
                    "channel_throughput" => Some(throughput(operations).await),
                    "mutex" => Some(mutex(operations).await),
                    "select" => Some(select_one(operations).await),
                    "timeout" => Some(timeouts(operations).await),
                    "cancel" => Some(cancel(operations).await),
                    _ => None,
                }
            });
            operations.await.expect("the task does not panic")
        })
    };
    if run(1).is_none() {
        return Err(format!("{} is not measured on tokio", case.bench));
    }
    Ok(clock::per_operation(case, |operations| {
        run(operations).expect("it ran just now")
    }))
}

async fn round_trip(trips: usize) -> (usize, Duration) {
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let other = tokio::spawn(async move {
        while let Some(number) = pinged.recv().await {
            if pong.send(number).await.is_err() {
                break;
            }
        }
    });
    let start = Instant::now();
    for number in 0..trips {
        ping.send(number).await.expect("the other listens");
        black_box(ponged.recv().await.expect("the other answers"));
    }
    let time = start.elapsed();
    drop(ping);
    other.await.expect("the other does not panic");
    (trips, time)
}

async fn throughput(messages: usize) -> (usize, Duration) {
    let (sender, mut receiver) = mpsc::channel(ROOM);
    let producer = tokio::spawn(async move {
        for number in 0..messages {
            sender.send(number).await.expect("the receiver listens");
        }
    });
    let start = Instant::now();
    while let Some(number) = receiver.recv().await {
        black_box(number);
    }
    let time = start.elapsed();
    producer.await.expect("the producer does not panic");
    (messages, time)
}

async fn mutex(locks: usize) -> (usize, Duration) {
    let counter = Mutex::new(0u64);
    let start = Instant::now();
    for _ in 0..locks {
        *black_box(&counter).lock().await += 1;
    }
    (locks, start.elapsed())
}

async fn select_one(rounds: usize) -> (usize, Duration) {
    let arms: [(mpsc::Sender<usize>, mpsc::Receiver<usize>); ARMS] =
        std::array::from_fn(|_| mpsc::channel(1));
    for (sender, _) in &arms {
        sender.try_send(0).expect("there is room");
    }
    let [
        (s0, mut r0),
        (s1, mut r1),
        (s2, mut r2),
        (s3, mut r3),
        (s4, mut r4),
        (s5, mut r5),
        (s6, mut r6),
        (s7, mut r7),
    ] = arms;
    let start = Instant::now();
    for _ in 0..rounds {
        let (message, back) = tokio::select! {
            message = r0.recv() => (message, &s0),
            message = r1.recv() => (message, &s1),
            message = r2.recv() => (message, &s2),
            message = r3.recv() => (message, &s3),
            message = r4.recv() => (message, &s4),
            message = r5.recv() => (message, &s5),
            message = r6.recv() => (message, &s6),
            message = r7.recv() => (message, &s7),
        };
        let message = message.expect("the sender is here");
        back.send(message + 1).await.expect("the receiver is here");
    }
    (rounds, start.elapsed())
}

async fn timeouts(calls: usize) -> (usize, Duration) {
    let start = Instant::now();
    for number in 0..calls {
        let result = time::timeout(Duration::from_secs(10), async { black_box(number) }).await;
        black_box(result.expect("10 s have not passed"));
    }
    (calls, start.elapsed())
}

async fn cancel(cancels: usize) -> (usize, Duration) {
    let batches = cancels.div_ceil(BATCH);
    let mut taken = Duration::ZERO;
    for _ in 0..batches {
        let started = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..BATCH)
            .map(|_| {
                let started = started.clone();
                tokio::spawn(async move {
                    started.fetch_add(1, Ordering::Relaxed);
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        while started.load(Ordering::Relaxed) < BATCH {
            task::yield_now().await;
        }
        let start = Instant::now();
        for handle in handles {
            handle.abort();
            assert!(handle.await.is_err_and(|error| error.is_cancelled()));
        }
        taken += start.elapsed();
    }
    (batches * BATCH, taken)
}
