//! What the tests share: every test runs on each poller with 1, 2 and 8 workers, under a watchdog.

// Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]

mod counter;
// The same as the runtime's tests use.
#[path = "../../../runtime/tests/common/random.rs"]
mod random;
#[path = "../../../runtime/tests/common/watchdog.rs"]
mod watchdog;

pub use counter::Counter;
pub use random::Random;
pub use watchdog::Watchdog;

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use filature::{Io, Runtime, RuntimeBuilder};
use filature_net::{TcpListener, TcpStream};

/// One way to build a runtime.
#[derive(Clone, Copy)]
pub struct Setup {
    pub io: Io,
    pub workers: usize,
}

impl Setup {
    const ALL: [Setup; 6] = [
        Setup::new(Io::IoUring, 1),
        Setup::new(Io::IoUring, 2),
        Setup::new(Io::IoUring, 8),
        Setup::new(Io::Epoll, 1),
        Setup::new(Io::Epoll, 2),
        Setup::new(Io::Epoll, 8),
    ];

    const fn new(io: Io, workers: usize) -> Setup {
        Setup { io, workers }
    }

    /// `None` on a kernel that does not let us have an io_uring: there is nothing to test there.
    fn runtime(self, builder: RuntimeBuilder) -> Option<Runtime> {
        match builder.workers(self.workers).io(self.io).build() {
            Ok(runtime) => Some(runtime),
            Err(error)
                if self.io == Io::IoUring
                    && matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::Unsupported
                    ) =>
            {
                eprintln!("skipped: no io_uring here: {error}");
                None
            }
            Err(error) => panic!("cannot build a runtime with {self}: {error}"),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} workers", self.io, self.workers)
    }
}

/// Hands the test a runtime of every setup.
pub fn with_each_runtime(test: impl Fn(Runtime)) {
    for setup in Setup::ALL {
        let _watchdog = Watchdog::new(setup.to_string());
        if let Some(runtime) = setup.runtime(Runtime::builder()) {
            test(runtime);
        }
    }
}

/// Runs the test as the main coroutine of a runtime of every setup.
pub fn everywhere(test: impl Fn() + Copy + Send + 'static) {
    with_each_runtime(|runtime| runtime.run(test));
}

/// The same with schedulers that decide at random, by the seed of the numbers that the test gets.
pub fn everywhere_at_random(test: impl Fn(Random) + Copy + Send + 'static) {
    let mut random = Random::seeded();
    for setup in Setup::ALL {
        let _watchdog = Watchdog::new(setup.to_string());
        let (seed, random) = (random.next(), random.fork());
        if let Some(runtime) = setup.runtime(Runtime::builder().chaos(seed)) {
            runtime.run(move || test(random));
        }
    }
}

/// A listener on a free port, and where.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("local_addr");
    (listener, addr)
}

/// Two ends of one connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let one = TcpStream::connect(addr).expect("connect");
    let (other, _) = listener.accept().expect("accept");
    (one, other)
}

/// Runs `f` on a plain thread and waits for it without keeping the caller's worker from others.
pub fn on_a_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let done = Counter::default();
    let result = Arc::new(Mutex::new(None));
    let (signal, slot) = (done.clone(), Arc::clone(&result));
    let thread = std::thread::spawn(move || {
        // Counts even when `f` panics, which the join below then reports.
        let _signal = signal.add_on_drop();
        let value = f();
        *slot.lock().unwrap() = Some(value);
    });
    done.wait_for(1);
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    result
        .lock()
        .unwrap()
        .take()
        .expect("the thread has finished")
}

/// Lets the process have as many descriptors as it may.
pub fn raise_descriptor_limit() {
    let mut limit = descriptor_limit();
    limit.rlim_cur = limit.rlim_max;
    set_descriptor_limit(limit);
}

pub fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid `rlimit` that lives for the call.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    limit
}

pub fn set_descriptor_limit(limit: libc::rlimit) {
    // SAFETY: `limit` is a valid `rlimit` that lives for the call.
    let failed = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

/// Whether this machine has IPv6 on its loopback.
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// Closing the stream will reset the connection instead of ending it.
pub fn reset_on_close(stream: &TcpStream) {
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("set_linger");
}

/// An address at which connecting neither succeeds nor fails: a listener whose queue is full.
///
/// It stays so while what is returned lives.
pub fn address_that_never_answers() -> (SocketAddr, impl Sized) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).expect("bind");
    listener.listen(0).expect("listen");
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    loop {
        let limit = Duration::from_millis(100);
        match std::net::TcpStream::connect_timeout(&addr, limit) {
            Ok(stream) => queued.push(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => return (addr, (listener, queued)),
            Err(error) => panic!("cannot fill the queue of a listener: {error}"),
        }
    }
}
