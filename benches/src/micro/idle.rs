//! A runtime that holds much and does nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::child::Reading;
use crate::sys;

/// How many connections the bench can have with both ends in this process.
pub fn affordable(case: &Case) -> usize {
    let wanted = case.connections();
    let reserve = 200;
    wanted.min((sys::raise_descriptor_limit(2 * wanted + reserve) - reserve) / 2)
}

/// Opens plain connections one after the other.
pub fn connect(to: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    (0..connections).map(|_| TcpStream::connect(to)).collect()
}

/// Sleeps until so many coroutines have counted themselves in.
pub fn wait_for(count: &AtomicUsize, wanted: usize) -> Result<(), String> {
    let start = Instant::now();
    while count.load(Ordering::Acquire) < wanted {
        if start.elapsed() > Duration::from_secs(40) {
            let started = count.load(Ordering::Acquire);
            return Err(format!(
                "only {started} of {wanted} coroutines started within 40 s"
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Processor time, in microseconds, and context switches of all threads of the runtime in 5 s.
pub fn reading(case: &Case, connections: usize) -> Reading {
    std::thread::sleep(Duration::from_millis(if case.quick { 50 } else { 500 }));
    let used = sys::activity_of_others(Duration::from_millis(if case.quick { 500 } else { 5_000 }));
    Reading::of(used.cpu_ns as f64 / 1e3)
        .with("switches", used.switches)
        .with("threads", used.threads)
        .with("open_connections", connections)
}
