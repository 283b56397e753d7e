//! The least that an echo on io_uring can do: one thread, one ring, a receive and a send in turn for each connection,
//! submitted and reaped in batches.
//!
//! The size of the ring says how many connections can be ahead of the others, and with them what is in the caches. With
//! 256 entries, as a worker of filature has, all are served much alike. With an entry for each of 1,000 connections a
//! message is cheaper, but some wait six times longer than most. Both are measured.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::case::Case;
use crate::echo::{BUFFER, accept_all};

/// The server whose ring has an entry for each connection.
pub const WIDE: &str = "bare_io_uring_wide";

/// As many as in the ring of a worker of filature.
pub const ENTRIES: u32 = 256;

const RECEIVE: u64 = 0;
const SEND: u64 = 1;

struct Connection {
    fd: RawFd,
    buffer: Box<[u8; BUFFER]>,
    /// What of the buffer is still to be sent back.
    unsent: std::ops::Range<usize>,
}

impl Connection {
    fn receive(&mut self, index: usize) -> squeue::Entry {
        opcode::Recv::new(Fd(self.fd), self.buffer.as_mut_ptr(), BUFFER as u32)
            .build()
            .user_data((index as u64) << 1 | RECEIVE)
    }

    fn send(&self, index: usize) -> squeue::Entry {
        let rest = &self.buffer[self.unsent.clone()];
        opcode::Send::new(Fd(self.fd), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data((index as u64) << 1 | SEND)
    }
}

/// Serves until killed or until every connection is closed.
pub fn serve(case: &Case) -> io::Result<()> {
    let streams = accept_all(case)?;
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(match case.on.as_str() {
            WIDE => (streams.len().next_power_of_two() as u32).clamp(ENTRIES, 4096),
            _ => ENTRIES,
        })?;
    let mut connections: Vec<Connection> = streams
        .iter()
        .map(|stream| Connection {
            fd: stream.as_raw_fd(),
            buffer: Box::new([0; BUFFER]),
            unsent: 0..0,
        })
        .collect();
    for (index, connection) in connections.iter_mut().enumerate() {
        let entry = connection.receive(index);
        push(&mut ring, entry)?;
    }
    let mut open = connections.len();
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    while open > 0 {
        ring.submit_and_wait(1)?;
        completions.extend(ring.completion());
        for completion in completions.drain(..) {
            let index = (completion.user_data() >> 1) as usize;
            let connection = &mut connections[index];
            let done = completion.result();
            if done <= 0 {
                open -= 1;
                continue;
            }
            match completion.user_data() & 1 {
                RECEIVE => connection.unsent = 0..done as usize,
                _ => connection.unsent.start += done as usize,
            }
            let next = if connection.unsent.is_empty() {
                connection.receive(index)
            } else {
                connection.send(index)
            };
            push(&mut ring, next)?;
        }
    }
    Ok(())
}

fn push(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<()> {
    // SAFETY: the descriptor and the boxed buffer of the entry belong to a connection, which outlives the ring's use
    // of them: connections are dropped only when `serve` returns, after each one's last completion or, on an error of
    // the ring itself, at the end of the process. A connection has one operation at a time.
    while unsafe { ring.submission().push(&entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
