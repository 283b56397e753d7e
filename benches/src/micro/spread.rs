//! How evenly connections that come one by one to an idle server settle on its workers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::case::Case;
use crate::child::Reading;

/// Opens connections slowly: each is answered before the next one comes, and the server is idle in between.
pub fn connect_slowly(
    case: &Case,
    to: SocketAddr,
    connections: usize,
) -> io::Result<Vec<TcpStream>> {
    let pause = Duration::from_micros(if case.quick { 50 } else { 500 });
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(to)?;
            stream.write_all(b"?")?;
            stream.read_exact(&mut [0])?;
            std::thread::sleep(pause);
            Ok(stream)
        })
        .collect()
}

/// How far the worker with the most or the fewest connections is from an even share, in percent.
pub fn reading(per_worker: &[usize]) -> Reading {
    let even = per_worker.iter().sum::<usize>() as f64 / per_worker.len() as f64;
    let farthest = per_worker
        .iter()
        .map(|&count| (count as f64 - even).abs())
        .fold(0.0, f64::max);
    Reading::of(100.0 * farthest / even).with("per_worker", per_worker.to_vec())
}
