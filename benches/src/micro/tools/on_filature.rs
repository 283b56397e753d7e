//! The toolkit's benches on filature.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use filature::channel::{Receiver, Sender, bounded, select};
use filature::sync::Mutex;
use filature::{Runtime, go, timeout, yield_now};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock;
use crate::micro::tools::{ARMS, BATCH, ROOM};

/// Measures one case on filature.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let runtime = Runtime::builder()
        .workers(case.workers)
        .build()
        .map_err(|error| format!("the runtime cannot be built: {error}"))?;
    match case.bench.as_str() {
        "channel_round_trip" => Ok(runtime.run(|| round_trip(case))),
        "channel_throughput" => Ok(runtime.run(|| throughput(case))),
        "mutex" => Ok(runtime.run(|| mutex(case))),
        "select" => Ok(runtime.run(|| select_one(case))),
        "timeout" => Ok(runtime.run(|| timeouts(case))),
        "cancel" => Ok(runtime.run(|| cancel(case))),
        unknown => Err(format!("{unknown} is not measured on filature")),
    }
}

fn round_trip(case: &Case) -> Reading {
    let (ping, pinged) = bounded(1);
    let (pong, ponged) = bounded(1);
    let other = go!(move || {
        for number in pinged {
            if pong.send(number).is_err() {
                break;
            }
        }
    });
    let reading = clock::per_operation(case, |trips| {
        let ((), time) = clock::timed(|| {
            for number in 0..trips {
                ping.send(number).expect("the other listens");
                black_box(ponged.recv().expect("the other answers"));
            }
        });
        (trips, time)
    });
    drop(ping);
    other.join().expect("the other does not panic");
    reading
}

fn throughput(case: &Case) -> Reading {
    clock::per_operation(case, |messages| {
        let (sender, receiver) = bounded(ROOM);
        let producer = go!(move || {
            for number in 0..messages {
                sender.send(number).expect("the receiver listens");
            }
        });
        let (count, time) = clock::timed(|| receiver.into_iter().map(black_box).count());
        producer.join().expect("the producer does not panic");
        (count, time)
    })
}

fn mutex(case: &Case) -> Reading {
    let counter = Mutex::new(0u64);
    clock::per_operation(case, |locks| {
        let ((), time) = clock::timed(|| {
            for _ in 0..locks {
                *black_box(&counter).lock().expect("nobody panics") += 1;
            }
        });
        (locks, time)
    })
}

fn select_one(case: &Case) -> Reading {
    let arms: [(Sender<usize>, Receiver<usize>); ARMS] = std::array::from_fn(|_| bounded(1));
    for (sender, _) in &arms {
        sender.send(0).expect("the receiver is here");
    }
    let [
        (s0, r0),
        (s1, r1),
        (s2, r2),
        (s3, r3),
        (s4, r4),
        (s5, r5),
        (s6, r6),
        (s7, r7),
    ] = &arms;
    clock::per_operation(case, |rounds| {
        let ((), time) = clock::timed(|| {
            for _ in 0..rounds {
                let (message, back) = select! {
                    recv(r0) -> message => (message, s0),
                    recv(r1) -> message => (message, s1),
                    recv(r2) -> message => (message, s2),
                    recv(r3) -> message => (message, s3),
                    recv(r4) -> message => (message, s4),
                    recv(r5) -> message => (message, s5),
                    recv(r6) -> message => (message, s6),
                    recv(r7) -> message => (message, s7),
                };
                let message = message.expect("the sender is here");
                back.send(message + 1).expect("the receiver is here");
            }
        });
        (rounds, time)
    })
}

fn timeouts(case: &Case) -> Reading {
    clock::per_operation(case, |calls| {
        let ((), time) = clock::timed(|| {
            for number in 0..calls {
                let result = timeout(Duration::from_secs(10), || black_box(number));
                black_box(result.expect("10 s have not passed"));
            }
        });
        (calls, time)
    })
}

fn cancel(case: &Case) -> Reading {
    clock::per_operation(case, |cancels| {
        let batches = cancels.div_ceil(BATCH);
        let mut time = Duration::ZERO;
        for _ in 0..batches {
            let started = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..BATCH)
                .map(|_| {
                    let started = started.clone();
                    go!(move || {
                        started.fetch_add(1, Ordering::Relaxed);
                        filature::park();
                    })
                })
                .collect();
            while started.load(Ordering::Relaxed) < BATCH {
                yield_now();
            }
            let ((), taken) = clock::timed(|| {
                for handle in handles {
                    handle.cancel().expect("panics unwind here");
                    assert!(handle.join().is_err_and(|error| error.is_cancelled()));
                }
            });
            time += taken;
        }
        (batches * BATCH, time)
    })
}
