//! The load: every connection sends a message, waits for all of it to come back, checks it and sends the next.
//!
//! One thread on one ring, with everything that makes a ring cheap (batches, registered sockets, receives armed once,
//! sends that complete in silence), so that the client spends less on a message than any server can and the server is
//! what is measured.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use hdrhistogram::Histogram;
use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::case::Case;
use crate::child::Reading;
use crate::echo::BUFFER;
use crate::echo::answers::{self, Answers};
use crate::sys;

const RECEIVE: u64 = 0;
const SEND: u64 = 1;

/// The server that is loaded.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// The core that it is pinned to.
    pub core: usize,
}

/// What server and client have used so far, in nanoseconds.
struct Used {
    at: u64,
    server: u64,
    client: u64,
    softirq: u64,
}

impl Used {
    fn until_now(server: &Server) -> Result<Used, String> {
        let cpu = |pid| {
            sys::process_cpu_ns(pid)
                .map_err(|error| format!("process {pid} cannot be measured: {error}"))
        };
        // The search for the kernel's thread takes the client's time, so it comes first or last.
        let softirq = sys::softirq_thread_ns(server.core);
        Ok(Used {
            softirq,
            at: sys::now_ns(),
            server: cpu(server.pid)?,
            client: cpu(std::process::id())?,
        })
    }
}

/// Loads a server and measures its processor time a message in nanoseconds; beside it messages per second, latencies
/// in microseconds, and which part of the time server and client ran. `softirqd` is the part in which the kernel worked
/// for the server's core outside of any process: more than a trace of it says that others want the core and that the
/// server has been charged too little.
pub fn measure(case: &Case, server: &Server) -> Result<Reading, String> {
    let size = case.size.expect("this bench needs --size");
    let mut load = Load::open(server.address, case.connections(), size)
        .map_err(|error| format!("the client failed: {error}"))?;
    load.run_for(Duration::from_millis(if case.quick { 100 } else { 500 }))?;
    load.latencies.clear();

    let before = Used::until_now(server)?;
    load.run_for(Duration::from_secs_f64(
        case.seconds.expect("this bench needs --seconds"),
    ))?;
    let after = Used::until_now(server)?;

    let messages = load.latencies.len();
    if messages == 0 {
        return Err("no message came back".to_owned());
    }
    let micros = |quantile| load.latencies.value_at_quantile(quantile) as f64 / 1e3;
    let time = (after.at - before.at) as f64;
    let part = |before: u64, after: u64| (after - before) as f64 / time;
    Ok(
        Reading::of((after.server - before.server) as f64 / messages as f64)
            .with("messages_per_s", (messages as f64 * 1e9 / time).round())
            .with("p50_us", micros(0.5))
            .with("p99_us", micros(0.99))
            .with("p999_us", micros(0.999))
            .with("server_busy", part(before.server, after.server))
            .with("client_busy", part(before.client, after.client))
            .with("softirqd", part(before.softirq, after.softirq)),
    )
}

struct Load {
    // First, since fields are dropped in order and the kernel writes to the others until the ring is gone.
    ring: IoUring,
    answers: Answers,
    connections: Vec<Connection>,
    /// The messages of all connections, one after the other.
    messages: Box<[u8]>,
    size: usize,
    latencies: Histogram<u64>,
    _streams: Vec<TcpStream>,
}

struct Connection {
    sent_at_ns: u64,
    /// How much of the answer has come.
    received: usize,
}

impl Load {
    fn open(address: SocketAddr, connections: usize, size: usize) -> io::Result<Self> {
        let entries = (2 * connections.next_power_of_two() as u32).clamp(256, 8192);
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .build(entries)?;
        let streams = (0..connections)
            .map(|_| {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let sockets: Vec<RawFd> = streams.iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&sockets)?;
        // SAFETY: `Load` drops its ring before its answers.
        let answers = unsafe { Answers::register(&ring, 2 * connections, size.min(BUFFER))? };
        // A different message on each connection: an answer on the wrong one does not go unnoticed.
        let byte = |index: usize, at: usize| (index * 31 + at) as u8;
        let messages = (0..connections).flat_map(|index| (0..size).map(move |at| byte(index, at)));
        let mut load = Load {
            ring,
            answers,
            connections: (0..connections)
                .map(|_| Connection {
                    sent_at_ns: 0,
                    received: 0,
                })
                .collect(),
            messages: messages.collect(),
            size,
            latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3)
                .expect("the bounds are right"),
            _streams: streams,
        };
        let now = sys::now_ns();
        for index in 0..connections {
            load.receive(index)?;
            load.send(index, now)?;
        }
        Ok(load)
    }

    fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = sys::now_ns() + time.as_nanos() as u64;
        let mut completions: Vec<cqueue::Entry> = Vec::new();
        while sys::now_ns() < end {
            self.wait_until(end)
                .map_err(|error| format!("the client's ring failed: {error}"))?;
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                let index = (completion.user_data() >> 1) as usize;
                self.completed(index, &completion)
                    .map_err(|error| format!("connection {index} broke: {error}"))?;
            }
        }
        Ok(())
    }

    /// Submits what there is and waits for an answer, at the longest until the end of the window.
    fn wait_until(&self, end_ns: u64) -> io::Result<()> {
        let limit = Timespec::from(Duration::from_nanos(end_ns.saturating_sub(sys::now_ns())));
        let args = SubmitArgs::new().timespec(&limit);
        match self.ring.submitter().submit_with_args(1, &args) {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    fn completed(&mut self, index: usize, completion: &cqueue::Entry) -> io::Result<()> {
        let bytes = match completion.result() {
            error if error == -libc::ENOBUFS => return self.receive(index),
            error if error < 0 => return Err(io::Error::from_raw_os_error(-error)),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if completion.user_data() & 1 == SEND => return Err(io::ErrorKind::WriteZero.into()),
            bytes => bytes as usize,
        };
        let buffer = cqueue::buffer_select(completion.flags()).expect("bytes come in a buffer");
        let connection = &mut self.connections[index];
        let expected = &self.messages[index * self.size..][..self.size];
        let expected = expected.get(connection.received..connection.received + bytes);
        if expected != Some(self.answers.received(buffer, bytes)) {
            return Err(io::Error::other("what came back is not what was sent"));
        }
        connection.received += bytes;
        self.answers.give_back(buffer);
        if !cqueue::more(completion.flags()) {
            self.receive(index)?;
        }
        if self.connections[index].received == self.size {
            let now = sys::now_ns();
            self.latencies
                .saturating_record(now - self.connections[index].sent_at_ns);
            self.send(index, now)?;
        }
        Ok(())
    }

    /// Arms the receives of a connection.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fixed(index as u32), answers::GROUP);
        self.push(&receive.build().user_data((index as u64) << 1 | RECEIVE))
    }

    /// Sends a message. That completes only if it fails.
    fn send(&mut self, index: usize, now_ns: u64) -> io::Result<()> {
        self.connections[index] = Connection {
            sent_at_ns: now_ns,
            received: 0,
        };
        let message = &self.messages[index * self.size..][..self.size];
        let send = opcode::Send::new(Fixed(index as u32), message.as_ptr(), self.size as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&send.user_data((index as u64) << 1 | SEND))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: messages and answers live as long as the ring, and messages are never written to.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }
}
