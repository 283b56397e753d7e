//! The standard library's mutex, on a plain thread.

use std::hint::black_box;
use std::sync::Mutex;

use crate::case::Case;
use crate::child::Reading;
use crate::micro::clock;

/// Measures one case on a plain thread.
pub fn measure(case: &Case) -> Result<Reading, String> {
    match case.bench.as_str() {
        "mutex" => Ok(mutex(case)),
        unknown => Err(format!("{unknown} is not measured on std")),
    }
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
