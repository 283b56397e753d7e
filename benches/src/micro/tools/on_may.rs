//! The toolkit's benches on may, as far as it has such tools.

use std::hint::black_box;

use may::go;
use may::sync::{Mutex, mpsc};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock;

/// Measures one case on may.
pub fn measure(case: &Case) -> Result<Reading, String> {
    may::config().set_workers(case.workers);
    let bench: fn(&Case) -> Reading = match case.bench.as_str() {
        "channel_round_trip" => round_trip,
        "channel_throughput" => throughput,
        "mutex" => mutex,
        unknown => return Err(format!("{unknown} is not measured on may")),
    };
    let case = case.clone();
    Ok(go!(move || bench(&case))
        .join()
        .expect("the coroutine does not panic"))
}

/// Its channels have no bound.
fn round_trip(case: &Case) -> Reading {
    let (ping, pinged) = mpsc::channel();
    let (pong, ponged) = mpsc::channel();
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

/// Without a bound, too.
fn throughput(case: &Case) -> Reading {
    clock::per_operation(case, |messages| {
        let (sender, receiver) = mpsc::channel();
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
