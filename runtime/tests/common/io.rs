//! What the tests of the poller share: ways to wait, and sources to wait on.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use filature::poller::Source;
use filature::{Io, Runtime};

use super::{Watchdog, pollers};

/// One way to wait for IO.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Coroutines { io: Io, chaos: Option<u64> },
    Threads,
}

impl Way {
    /// A place for callers that wait so; `workers` is for coroutines.
    pub fn home(self, workers: usize) -> Home {
        match self {
            Way::Coroutines { .. } => Home(Some(self.runtime(workers))),
            Way::Threads => Home(None),
        }
    }

    pub fn runtime(self, workers: usize) -> Runtime {
        let Way::Coroutines { io, chaos } = self else {
            panic!("threads have no runtime");
        };
        let mut builder = Runtime::builder().workers(workers).io(io);
        if let Some(seed) = chaos {
            builder = builder.chaos(seed);
        }
        let runtime = builder.build().unwrap();
        assert_eq!(runtime.io(), io);
        runtime
    }
}

/// Where callers live: in a runtime, or on threads of their own.
pub struct Home(Option<Runtime>);

impl Home {
    /// Starts `f`; what is returned waits for its end.
    pub fn go<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Box<dyn FnOnce() -> T> {
        match &self.0 {
            Some(runtime) => {
                let handle = runtime.spawn(f);
                Box::new(move || handle.join().unwrap())
            }
            None => {
                let handle = std::thread::spawn(f);
                Box::new(move || handle.join().unwrap())
            }
        }
    }
}

fn each(ways: impl Iterator<Item = Way>, test: impl Fn(Way)) {
    for way in ways {
        // Shown if the test fails.
        println!("with {way:?}");
        let _watchdog = Watchdog::new(format!("{way:?}"));
        test(way);
    }
}

fn schedulers() -> impl Iterator<Item = Way> {
    pollers()
        .into_iter()
        .flat_map(|io| [None, Some(7)].map(|chaos| Way::Coroutines { io, chaos }))
}

/// As coroutines on each poller, with and without chaos, and as plain threads.
pub fn each_way(test: impl Fn(Way)) {
    each(schedulers().chain([Way::Threads]), test);
}

/// As coroutines only.
pub fn each_scheduler(test: impl Fn(Way)) {
    each(schedulers(), test);
}

pub fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(20))
}

pub fn source(socket: impl Into<OwnedFd>) -> Source {
    Source::from(socket.into())
}

pub fn unix_pair() -> (Source, Source) {
    let (a, b) = UnixStream::pair().unwrap();
    (source(a), source(b))
}

pub fn tcp_pair() -> (Source, Source) {
    let (a, b) = std_tcp_pair();
    (source(a), source(b))
}

pub fn std_tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (a, listener.accept().unwrap().0)
}

pub fn pipe() -> (Source, Source) {
    let (reader, writer) = io::pipe().unwrap();
    (source(reader), source(writer))
}

pub fn send_all(source: &Source, mut buf: &[u8]) {
    while !buf.is_empty() {
        let sent = source.send(buf, 0, None).unwrap();
        buf = &buf[sent..];
    }
}

pub fn recv_exactly(source: &Source, buf: &mut [u8]) {
    let mut got = 0;
    while got < buf.len() {
        let more = source.recv(&mut buf[got..], 0, None).unwrap();
        assert_ne!(more, 0);
        got += more;
    }
}

pub fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: plain numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

/// A name in the file system that nobody else uses.
pub fn temporary_path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("filature-{}-{number}", std::process::id());
    std::env::temp_dir().join(name)
}
