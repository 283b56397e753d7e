//! The server: one coroutine accepts, and every connection has a coroutine of its own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filature::{Runtime, go};
use filature_examples::accept::each_connection;
use filature_examples::cli::{self, Failure};
use filature_examples::per_worker::PerWorker;
use filature_net::{TcpListener, TcpStream};

pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    stopping: AtomicBool,
    tallies: PerWorker<Tally>,
    /// How many connections are open, for `stop` to wait for the last.
    open: Mutex<usize>,
    all_closed: Condvar,
}

/// What one worker counts. Relaxed throughout: each number stands alone.
#[derive(Default)]
struct Tally {
    opened: AtomicU64,
    closed: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    streams: Mutex<HashMap<RawFd, Arc<TcpStream>>>,
}

/// The counts of one worker at one moment.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub opened: u64,
    pub closed: u64,
    pub messages: u64,
    pub bytes: u64,
}

impl Server {
    /// Listens, and starts to serve on `runtime`.
    pub fn start(runtime: &Runtime, addresses: &[SocketAddr]) -> Result<Arc<Server>, Failure> {
        let listener = cli::listen(addresses)?;
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::to("tell the address", error))?;
        let server = Arc::new(Server {
            listener,
            addr,
            stopping: AtomicBool::new(false),
            tallies: PerWorker::new(runtime.workers()),
            open: Mutex::new(0),
            all_closed: Condvar::new(),
        });
        let accepting = Arc::clone(&server);
        runtime.spawn(move || accepting.accept());
        Ok(server)
    }

    fn accept(self: &Arc<Self>) {
        each_connection(&self.listener, |stream| {
            let server = Arc::clone(self);
            go!(move || server.echo(stream));
        });
    }

    /// Until the client is done, or gone.
    fn echo(&self, stream: TcpStream) {
        let connection = Connection::open(self, stream);
        let (mut stream, tally) = (&*connection.stream, connection.tally);
        let mut buf = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut buf) {
            if stream.write_all(&buf[..length]).is_err() {
                break;
            }
            tally.messages.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What each worker has done so far.
    pub fn counts(&self) -> Vec<Counts> {
        let read = |tally: &Tally| Counts {
            opened: tally.opened.load(Ordering::Relaxed),
            closed: tally.closed.load(Ordering::Relaxed),
            messages: tally.messages.load(Ordering::Relaxed),
            bytes: tally.bytes.load(Ordering::Relaxed),
        };
        self.tallies.iter().map(read).collect()
    }

    /// Accepts no more and asks every connection to end; returns how many have not within `grace`.
    ///
    /// A connection whose reading is shut down still echoes what has arrived, then finds the end.
    pub fn stop(&self, grace: Duration) -> usize {
        // Relaxed is enough for a connection that is just being opened: either it is in its map
        // before that is locked below, or its own lock comes later and makes this store visible.
        self.stopping.store(true, Ordering::Relaxed);
        self.listener.close();
        for tally in self.tallies.iter() {
            for stream in lock(&tally.streams).values() {
                // Fails only where the client is already gone.
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
        let open = lock(&self.open);
        let waited = self
            .all_closed
            .wait_timeout_while(open, grace, |open| *open > 0);
        let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *open
    }
}

/// A connection while it is served: counted, and known to [`Server::stop`].
struct Connection<'a> {
    server: &'a Server,
    tally: &'a Tally,
    stream: Arc<TcpStream>,
}

impl<'a> Connection<'a> {
    fn open(server: &'a Server, stream: TcpStream) -> Self {
        let tally = server.tallies.here();
        let stream = Arc::new(stream);
        // Without it an answer may wait for more to be sent along; where that cannot be set, it
        // is only slower.
        let _ = stream.set_nodelay(true);
        tally.opened.fetch_add(1, Ordering::Relaxed);
        *lock(&server.open) += 1;
        lock(&tally.streams).insert(stream.as_raw_fd(), Arc::clone(&stream));
        if server.stopping.load(Ordering::Relaxed) {
            let _ = stream.shutdown(Shutdown::Read);
        }
        Connection {
            server,
            tally,
            stream,
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        lock(&self.tally.streams).remove(&self.stream.as_raw_fd());
        self.tally.closed.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.server.open);
        *open -= 1;
        if *open == 0 {
            self.server.all_closed.notify_all();
        }
    }
}

/// No lock of this file is held over anything that can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
