//! One client: connects, and then sends a message and checks the answer, again and again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use filature_net::TcpStream;

use super::{Demo, Event};

/// Longer messages go in pieces, each read back before the next: were both ends to write only,
/// every buffer between them would fill up.
const PIECE: usize = 64 << 10;

pub fn run(id: usize, addr: SocketAddr, demo: &Demo, events: &Sender<Event>) -> Result<(), String> {
    let _ended = SendOnDrop(events);
    talk(id, addr, demo, events).map_err(|error| format!("connection {id}: {error}"))
}

/// Tells of the end, however it comes.
struct SendOnDrop<'a>(&'a Sender<Event>);

impl Drop for SendOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Ended);
    }
}

fn talk(id: usize, addr: SocketAddr, demo: &Demo, events: &Sender<Event>) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let _ = events.send(Event::Connected);
    let (_, end) = loop {
        match demo.clock.get() {
            Some(clock) => break clock,
            None => filature::park(),
        }
    };

    let measured = demo.measured.here();
    let mut pattern = Pattern::new(id);
    let mut sent = vec![0; demo.plan.size.min(PIECE)];
    let mut got = sent.clone();
    let mut now = Instant::now();
    while now < *end && !demo.stopped.load(Ordering::Relaxed) {
        let mut left = demo.plan.size;
        while left > 0 {
            let length = left.min(PIECE);
            pattern.fill(&mut sent[..length]);
            stream.write_all(&sent[..length])?;
            stream.read_exact(&mut got[..length])?;
            compare(&sent[..length], &got[..length])?;
            left -= length;
        }
        let begun = now;
        now = Instant::now();
        measured.record(now - begun);
    }

    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut got)? {
        0 => Ok(()),
        _ => Err(io::Error::other("more came back than was sent")),
    }
}

fn compare(sent: &[u8], got: &[u8]) -> io::Result<()> {
    if sent == got {
        return Ok(());
    }
    let pairs = sent.iter().zip(got);
    let wrong = pairs.take_while(|(sent, got)| sent == got).count();
    Err(io::Error::other(format!(
        "byte {wrong} came back as {:#04x} instead of {:#04x}",
        got[wrong], sent[wrong]
    )))
}

/// Bytes that no other connection and no other message has in the same place.
struct Pattern {
    word: u64,
}

impl Pattern {
    /// Odd, so that a walk by it visits every word before it comes back to its first.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new(id: usize) -> Pattern {
        // Where each connection begins its walk.
        Pattern {
            word: (id as u64 + 1) << 40,
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.word = self.word.wrapping_add(Self::STEP);
            // The high bits of a product depend on every bit of the word.
            let mixed = self.word ^ (self.word >> 29);
            let word = mixed.wrapping_mul(Self::STEP).to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
