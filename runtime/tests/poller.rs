//! `Source` on both pollers, and on plain threads.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use filature::Runtime;
use filature::poller::{Io, Source};
use socket2::{Domain, SockAddr, Socket, Type};

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(20))
}

fn runtime(io: Io, chaos: Option<u64>, workers: usize) -> Runtime {
    let mut builder = Runtime::builder().workers(workers).io(io);
    if let Some(seed) = chaos {
        builder = builder.chaos(seed);
    }
    let runtime = builder.build().unwrap();
    assert_eq!(runtime.io(), io);
    runtime
}

fn is_nonblocking(fd: &OwnedFd) -> bool {
    // SAFETY: plain numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

fn make_nonblocking(fd: &OwnedFd) {
    // SAFETY: plain numbers.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

/// A handler that does nothing, and does not have system calls restarted.
fn interrupt_on_sigurg() {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: the handler does nothing, and nobody else here uses the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    }
}

/// Ends the process if a test hangs.
struct Watchdog(#[expect(dead_code, reason = "dropping it is the signal")] mpsc::Sender<()>);

impl Watchdog {
    fn start(name: &'static str) -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            let silent = receiver.recv_timeout(Duration::from_secs(60));
            if silent == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs");
                std::process::abort();
            }
        });
        Self(sender)
    }
}

fn source(socket: impl Into<OwnedFd>) -> Source {
    Source::from(socket.into())
}

fn unix_pair() -> (Source, Source) {
    let (a, b) = UnixStream::pair().unwrap();
    (source(a), source(b))
}

fn tcp_pair() -> (Source, Source) {
    let (a, b) = std_tcp_pair();
    (source(a), source(b))
}

fn std_tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (a, listener.accept().unwrap().0)
}

fn pipe() -> (Source, Source) {
    let (reader, writer) = io::pipe().unwrap();
    (source(reader), source(writer))
}

fn send_all(source: &Source, mut buf: &[u8]) {
    while !buf.is_empty() {
        let sent = source.send(buf, 0, None).unwrap();
        buf = &buf[sent..];
    }
}

fn recv_exactly(source: &Source, buf: &mut [u8]) {
    let mut got = 0;
    while got < buf.len() {
        let more = source.recv(&mut buf[got..], 0, None).unwrap();
        assert_ne!(more, 0);
        got += more;
    }
}

/// One suite for every way to wait: `$setup` makes a runtime with so many
/// workers, or none for plain threads.
macro_rules! suite {
    ($module:ident, $setup:expr) => {
        mod $module {
            use super::*;

            fn go<T: Send + 'static>(
                runtime: &Option<Runtime>,
                f: impl FnOnce() -> T + Send + 'static,
            ) -> Box<dyn FnOnce() -> T> {
                match runtime {
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

            #[test]
            fn bytes_arrive() {
                let _dog = Watchdog::start("bytes_arrive");
                for workers in [1, 2] {
                    for (a, b) in [unix_pair(), tcp_pair()] {
                        let rt = $setup(workers);
                        let (a, b) = (Arc::new(a), Arc::new(b));
                        let echo = go(&rt, move || {
                            let mut buf = [0; 100];
                            loop {
                                let n = b.recv(&mut buf, 0, None).unwrap();
                                if n == 0 {
                                    return;
                                }
                                send_all(&b, &buf[..n]);
                            }
                        });
                        let client = go(&rt, move || {
                            for round in 0..1000u32 {
                                a.send(&round.to_ne_bytes(), 0, None).unwrap();
                                let mut buf = [0; 4];
                                recv_exactly(&a, &mut buf);
                                assert_eq!(u32::from_ne_bytes(buf), round);
                            }
                        });
                        client();
                        echo();
                    }
                }
            }

            #[test]
            fn a_stream_longer_than_the_kernels_buffers_arrives_whole() {
                let _dog = Watchdog::start("stream");
                const LEN: usize = 20_000_000;
                for (a, b) in [unix_pair(), tcp_pair()] {
                    let rt = $setup(2);
                    let sender = go(&rt, move || {
                        let data: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8).collect();
                        send_all(&a, &data);
                    });
                    let receiver = go(&rt, move || {
                        let mut buf = vec![0; 70_001];
                        let mut got = 0;
                        loop {
                            let n = b.recv(&mut buf, 0, None).unwrap();
                            if n == 0 {
                                break;
                            }
                            for &byte in &buf[..n] {
                                assert_eq!(byte, (got % 251) as u8);
                                got += 1;
                            }
                        }
                        assert_eq!(got, LEN);
                    });
                    sender();
                    receiver();
                }
            }

            #[test]
            fn a_deadline_that_passes_is_an_error_and_nothing_is_lost() {
                let _dog = Watchdog::start("deadline");
                let rt = $setup(1);
                for (a, b) in [unix_pair(), tcp_pair()] {
                    go(&rt, move || {
                        let mut buf = [0; 10];
                        for deadline in [Some(Instant::now()), soon()] {
                            let error = a.recv(&mut buf, 0, deadline).unwrap_err();
                            assert_eq!(error.kind(), ErrorKind::TimedOut);
                            let error = a.wait_readable(deadline).unwrap_err();
                            assert_eq!(error.kind(), ErrorKind::TimedOut);
                        }
                        b.send(b"hello", 0, None).unwrap();
                        a.wait_readable(Some(Instant::now() + Duration::from_secs(30)))
                            .unwrap();
                        // One of the past still tries once.
                        assert_eq!(a.recv(&mut buf, 0, Some(Instant::now())).unwrap(), 5);
                        assert_eq!(&buf[..5], b"hello");
                        // Fill it up until a send times out.
                        let big = vec![1; 1 << 20];
                        let error = loop {
                            match a.send(&big, 0, soon()) {
                                Ok(_) => {}
                                Err(error) => break error,
                            }
                        };
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                    })();
                }
                let (a, b) = pipe();
                go(&rt, move || {
                    let mut buf = [0; 10];
                    let error = a.read(&mut buf, soon()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    b.write(b"x", None).unwrap();
                    assert_eq!(a.read(&mut buf, soon()).unwrap(), 1);
                    let big = vec![1; 1 << 20];
                    let error = loop {
                        match b.write(&big, soon()) {
                            Ok(_) => {}
                            Err(error) => break error,
                        }
                    };
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                })();
                let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
                go(&rt, move || {
                    let error = listener.accept(soon()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                })();
            }

            #[test]
            fn deadlines_that_race_with_data_lose_nothing() {
                let _dog = Watchdog::start("race");
                let rt = $setup(2);
                for (a, b) in [unix_pair(), tcp_pair()] {
                    const ROUNDS: usize = 3000;
                    let sender = go(&rt, move || {
                        for round in 0..ROUNDS {
                            a.send(&[round as u8], 0, None).unwrap();
                            for _ in 0..round % 200 {
                                std::hint::spin_loop();
                            }
                            // Wait for the echo, impatiently.
                            let mut buf = [0; 1];
                            loop {
                                let at = Instant::now() + Duration::from_micros(round as u64 % 60);
                                match a.recv(&mut buf, 0, Some(at)) {
                                    Ok(n) => {
                                        assert_eq!((n, buf[0]), (1, round as u8));
                                        break;
                                    }
                                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                                }
                            }
                        }
                    });
                    let receiver = go(&rt, move || {
                        let mut buf = [0; 16];
                        let mut next = 0usize;
                        while next < ROUNDS {
                            let at = Instant::now() + Duration::from_micros(next as u64 % 50);
                            match b.recv(&mut buf, 0, Some(at)) {
                                Ok(n) => {
                                    assert_eq!((n, buf[0]), (1, next as u8));
                                    next += 1;
                                    b.send(&buf[..1], 0, None).unwrap();
                                }
                                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                            }
                        }
                    });
                    sender();
                    receiver();
                }
            }

            #[test]
            fn the_end_of_the_peer_is_seen() {
                let _dog = Watchdog::start("end");
                let rt = $setup(1);
                for (a, b) in [unix_pair(), tcp_pair()] {
                    let a = go(&rt, move || {
                        let mut buf = [0; 10];
                        assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 4);
                        assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 0);
                        assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 0);
                        a
                    });
                    let b = go(&rt, move || {
                        b.send(b"last", 0, None).unwrap();
                        drop(b);
                    });
                    b();
                    let a = a();
                    go(&rt, move || {
                        loop {
                            if let Err(error) = a.send(b"anybody?", 0, None) {
                                assert!(
                                    matches!(
                                        error.kind(),
                                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                                    ),
                                    "{error}"
                                );
                                break;
                            }
                        }
                    })();
                }
            }

            #[test]
            fn a_reset_is_an_error() {
                let _dog = Watchdog::start("reset");
                let rt = $setup(1);
                let (a, b) = std_tcp_pair();
                let a = source(a);
                let waiting = go(&rt, move || {
                    a.recv(&mut [0; 10], 0, None).unwrap_err().kind()
                });
                socket2::SockRef::from(&b)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                drop(b);
                assert_eq!(waiting(), ErrorKind::ConnectionReset);
            }

            #[test]
            fn several_readers_share_a_source() {
                let _dog = Watchdog::start("readers");
                for (a, b) in [unix_pair(), tcp_pair()] {
                    let rt = $setup(2);
                    let b = Arc::new(b);
                    let total = Arc::new(AtomicUsize::new(0));
                    let readers: Vec<_> = (0..6)
                        .map(|_| {
                            let (b, total) = (b.clone(), total.clone());
                            go(&rt, move || {
                                let mut buf = [0; 3];
                                loop {
                                    match b.recv(&mut buf, 0, None).unwrap() {
                                        0 => return,
                                        n => total.fetch_add(n, Ordering::Relaxed),
                                    };
                                }
                            })
                        })
                        .collect();
                    for _ in 0..1000 {
                        a.send(b"0123456789", 0, None).unwrap();
                    }
                    drop(a);
                    for reader in readers {
                        reader();
                    }
                    assert_eq!(total.load(Ordering::Relaxed), 10_000);
                }
            }

            #[test]
            fn one_receives_while_another_sends() {
                let _dog = Watchdog::start("duplex");
                let rt = $setup(1);
                let (a, b) = tcp_pair();
                let (a, b) = (Arc::new(a), Arc::new(b));
                let mut all = vec![];
                for source in [a, b] {
                    let other = source.clone();
                    all.push(go(&rt, move || {
                        let mut buf = vec![0; 3_000_000];
                        recv_exactly(&other, &mut buf);
                    }));
                    all.push(go(&rt, move || send_all(&source, &vec![7; 3_000_000])));
                }
                for one in all {
                    one();
                }
            }

            #[test]
            fn connections_are_accepted_and_made() {
                let _dog = Watchdog::start("accept");
                for nonblocking in [false, true] {
                    let rt = $setup(2);
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    listener.set_nonblocking(nonblocking).unwrap();
                    let to = SockAddr::from(listener.local_addr().unwrap());
                    let listener = Arc::new(source(listener));
                    let accepting: Vec<_> = (0..3)
                        .map(|_| {
                            let listener = listener.clone();
                            go(&rt, move || {
                                for _ in 0..10 {
                                    let (fd, from) = listener.accept(None).unwrap();
                                    assert!(from.as_socket().unwrap().ip().is_loopback());
                                    let source = Source::new(fd);
                                    let mut buf = [0; 1];
                                    recv_exactly(&source, &mut buf);
                                    send_all(&source, &buf);
                                }
                            })
                        })
                        .collect();
                    let connecting: Vec<_> = (0..30)
                        .map(|i| {
                            let to = to.clone();
                            go(&rt, move || {
                                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                                socket.set_nonblocking(nonblocking).unwrap();
                                let source = source(socket);
                                let deadline =
                                    (i % 2 == 0).then(|| Instant::now() + Duration::from_secs(30));
                                source.connect(&to, deadline).unwrap();
                                send_all(&source, &[i]);
                                let mut buf = [0; 1];
                                recv_exactly(&source, &mut buf);
                                assert_eq!(buf[0], i);
                            })
                        })
                        .collect();
                    for one in accepting.into_iter().chain(connecting) {
                        one();
                    }
                    let listener = Arc::into_inner(listener).unwrap().into_fd();
                    assert_eq!(is_nonblocking(&listener), nonblocking);
                }
            }

            #[test]
            fn a_refused_connection_is_an_error() {
                let _dog = Watchdog::start("refused");
                let rt = $setup(1);
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let to = SockAddr::from(listener.local_addr().unwrap());
                drop(listener);
                for nonblocking in [false, true] {
                    let to = to.clone();
                    let kind = go(&rt, move || {
                        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                        socket.set_nonblocking(nonblocking).unwrap();
                        source(socket).connect(&to, soon()).unwrap_err().kind()
                    })();
                    assert_eq!(kind, ErrorKind::ConnectionRefused);
                }
            }

            #[test]
            fn a_unix_listener_with_a_full_queue_is_waited_for() {
                let _dog = Watchdog::start("unix queue");
                let rt = $setup(1);
                let path = std::env::temp_dir().join(format!(
                    "filature-{}-{}",
                    std::process::id(),
                    stringify!($module)
                ));
                let _ = std::fs::remove_file(&path);
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                let to = SockAddr::unix(&path).unwrap();
                socket.bind(&to).unwrap();
                socket.listen(0).unwrap();
                let listener = UnixListener::from(OwnedFd::from(socket));
                let connected = Arc::new(AtomicUsize::new(0));
                let connecting: Vec<_> = (0..4)
                    .map(|_| {
                        let (to, connected) = (to.clone(), connected.clone());
                        go(&rt, move || {
                            let one =
                                source(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap());
                            one.connect(&to, None).unwrap();
                            connected.fetch_add(1, Ordering::SeqCst);
                        })
                    })
                    .collect();
                let to2 = to.clone();
                go(&rt, move || {
                    // Its queue holds one; somebody times out at the latest at the second.
                    let mut kept = vec![];
                    loop {
                        let one = source(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap());
                        match one.connect(&to2, soon()) {
                            Ok(()) => kept.push(one),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::TimedOut);
                                break;
                            }
                        }
                    }
                })();
                let drain = std::thread::spawn(move || {
                    for connection in listener.incoming() {
                        let mut connection = connection.unwrap();
                        let _ = connection.write_all(b"x");
                    }
                });
                for one in connecting {
                    one();
                }
                assert_eq!(connected.load(Ordering::SeqCst), 4);
                let _ = std::fs::remove_file(&path);
                drop(drain);
            }

            #[test]
            fn o_nonblock_makes_no_difference() {
                let _dog = Watchdog::start("nonblock");
                let rt = $setup(1);
                let (a, b) = UnixStream::pair().unwrap();
                a.set_nonblocking(true).unwrap();
                let (a, b) = (source(a), source(b));
                let late = go(&rt, move || {
                    let mut buf = [0; 4];
                    let n = a.recv(&mut buf, 0, None).unwrap();
                    assert_eq!(&buf[..n], b"late");
                    send_all(&a, &vec![0; 1 << 21]);
                    a
                });
                go(&rt, move || {
                    b.send(b"late", 0, None).unwrap();
                    let mut buf = vec![0; 1 << 21];
                    recv_exactly(&b, &mut buf);
                })();
                let fd = late().into_fd();
                assert!(is_nonblocking(&fd));

                for nonblocking in [false, true] {
                    let (reader, writer) = io::pipe().unwrap();
                    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
                    if nonblocking {
                        for fd in [&reader, &writer] {
                            make_nonblocking(fd);
                        }
                    }
                    let (reader, writer) = (source(reader), source(writer));
                    let read = go(&rt, move || {
                        let mut buf = [0; 1000];
                        let mut got = 0;
                        loop {
                            match reader.read(&mut buf, None).unwrap() {
                                0 => return (got, reader),
                                n => got += n,
                            }
                        }
                    });
                    go(&rt, move || {
                        let mut left = 300_000;
                        while left > 0 {
                            left -= writer.write(&vec![0; left], None).unwrap();
                        }
                    })();
                    let (got, reader) = read();
                    assert_eq!(got, 300_000);
                    let fd = reader.into_fd();
                    assert_eq!(is_nonblocking(&fd), nonblocking);
                }
            }

            #[test]
            fn dontwait_and_peek_are_heeded() {
                let _dog = Watchdog::start("flags");
                let rt = $setup(1);
                for (a, b) in [unix_pair(), tcp_pair()] {
                    go(&rt, move || {
                        let mut buf = [0; 100];
                        for _ in 0..2 {
                            let error = a.recv(&mut buf, libc::MSG_DONTWAIT, None).unwrap_err();
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        }
                        b.send(b"peekaboo", 0, None).unwrap();
                        a.wait_readable(None).unwrap();
                        for _ in 0..3 {
                            assert_eq!(a.recv(&mut buf, libc::MSG_PEEK, None).unwrap(), 8);
                        }
                        assert_eq!(a.recv(&mut buf, libc::MSG_DONTWAIT, None).unwrap(), 8);
                        // Whether that is nothing or would block is the system's affair.
                        let _ = a.recv(&mut [], libc::MSG_DONTWAIT, None);
                        assert_eq!(b.send(&[], 0, None).unwrap(), 0);
                        let error = a.recv(&mut buf, libc::MSG_WAITALL, None).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    })();
                }
            }

            #[test]
            fn vectors_are_filled_in_order() {
                let _dog = Watchdog::start("vectors");
                let rt = $setup(1);
                let (a, b) = tcp_pair();
                let receiver = go(&rt, move || {
                    let (mut x, mut y) = ([0; 3], [0; 10]);
                    let mut bufs = [IoSliceMut::new(&mut x), IoSliceMut::new(&mut y)];
                    let n = b.recv_vectored(&mut bufs, 0, None).unwrap();
                    assert_eq!((n, &x[..], &y[..4]), (7, &b"abc"[..], &b"defg"[..]));
                    let error = b.recv_vectored(&mut [], 0, soon());
                    assert!(matches!(error, Ok(0) | Err(_)), "{error:?}");
                });
                go(&rt, move || {
                    let many = vec![IoSlice::new(b""); 2000];
                    assert_eq!(a.send_vectored(&many, 0, None).unwrap(), 0);
                    let bufs = [IoSlice::new(b"ab"), IoSlice::new(b"cdefg")];
                    assert_eq!(a.send_vectored(&bufs, 0, None).unwrap(), 7);
                    a
                })();
                receiver();
            }

            #[test]
            fn datagrams_know_their_senders() {
                let _dog = Watchdog::start("datagrams");
                let rt = $setup(1);
                let a = UdpSocket::bind("127.0.0.1:0").unwrap();
                let b = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
                let (a, b) = (source(a), source(b));
                let receiver = go(&rt, move || {
                    for len in 0..100 {
                        let mut buf = [0; 200];
                        let (n, from) = b.recv_from(&mut buf, 0, None).unwrap();
                        assert_eq!((n, from.as_socket()), (len, Some(at_a)));
                    }
                });
                go(&rt, move || {
                    for len in 0..100 {
                        let sent = a.send_to(&[7; 200][..len], &at_b.into(), 0, None).unwrap();
                        assert_eq!(sent, len);
                    }
                })();
                receiver();
                // Small ones do not hide those behind them.
                let (a, b) = UnixDatagram::pair().unwrap();
                let b = source(b);
                for i in 0..5 {
                    a.send(&[i]).unwrap();
                }
                go(&rt, move || {
                    for i in 0..5 {
                        let mut buf = [0; 100];
                        assert_eq!(b.recv(&mut buf, 0, None).unwrap(), 1);
                        assert_eq!(buf[0], i);
                    }
                })();
            }

            /// Runs `wait` in several places, closes the source once they
            /// wait, and returns what each got.
            fn closed_under<T: Send + 'static>(
                source: Source,
                wait: impl Fn(&Source) -> T + Send + Clone + 'static,
            ) -> Vec<T> {
                let source = Arc::new(source);
                let rt = $setup(2);
                let entered = Arc::new(AtomicUsize::new(0));
                let mut waiting: Vec<_> = (0..3)
                    .map(|_| {
                        let (source, wait, entered) =
                            (source.clone(), wait.clone(), entered.clone());
                        go(&rt, move || {
                            entered.fetch_add(1, Ordering::SeqCst);
                            wait(&source)
                        })
                    })
                    .collect();
                let (source2, wait2, entered2) = (source.clone(), wait.clone(), entered.clone());
                let thread = std::thread::spawn(move || {
                    entered2.fetch_add(1, Ordering::SeqCst);
                    wait2(&source2)
                });
                while entered.load(Ordering::SeqCst) < 4 {
                    std::thread::yield_now();
                }
                for _ in 0..200 {
                    std::thread::yield_now();
                }
                source.close();
                source.close();
                let mut results: Vec<_> = waiting.drain(..).map(|one| one()).collect();
                results.push(thread.join().unwrap());
                results.push(go(&rt, move || wait(&source))());
                results
            }

            #[test]
            fn close_wakes_whoever_waits() {
                let _dog = Watchdog::start("close");
                for _ in 0..20 {
                    for (a, _b) in [unix_pair(), tcp_pair()] {
                        for n in closed_under(a, |s| s.recv(&mut [0; 10], 0, None).unwrap()) {
                            assert_eq!(n, 0);
                        }
                    }
                    let (a, b) = pipe();
                    for n in closed_under(a, |s| s.read(&mut [0; 10], None).unwrap()) {
                        assert_eq!(n, 0);
                    }
                    drop(b);
                    let (_a, b) = pipe();
                    let filled = |s: &Source| loop {
                        if let Err(error) = s.write(&[0; 70_000], None) {
                            return error.kind();
                        }
                    };
                    for kind in closed_under(b, filled) {
                        assert_eq!(kind, ErrorKind::BrokenPipe);
                    }
                    let (a, _b) = tcp_pair();
                    let filled = |s: &Source| loop {
                        if let Err(error) = s.send(&[0; 70_000], 0, None) {
                            return error.kind();
                        }
                    };
                    for kind in closed_under(a, filled) {
                        assert_eq!(kind, ErrorKind::BrokenPipe);
                    }
                    let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
                    for kind in closed_under(listener, |s| s.accept(None).unwrap_err().kind()) {
                        assert_eq!(kind, ErrorKind::NotConnected);
                    }
                    let udp = source(UdpSocket::bind("127.0.0.1:0").unwrap());
                    for n in closed_under(udp, |s| s.recv(&mut [0; 10], 0, None).unwrap()) {
                        assert_eq!(n, 0);
                    }
                    let (a, _b) = pipe();
                    for result in closed_under(a, |s| s.wait_readable(None)) {
                        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
                    }
                    let (a, _b) = unix_pair();
                    for result in closed_under(a, |s| s.wait_readable(None)) {
                        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
                    }
                }
            }

            #[test]
            fn signals_do_not_end_a_wait() {
                let _dog = Watchdog::start("signals");
                interrupt_on_sigurg();
                let rt = $setup(1);
                for deadline in [None, Some(Instant::now() + Duration::from_secs(50))] {
                    let (a, b) = unix_pair();
                    let (c, d) = pipe();
                    let (here_i_am, is_there) = mpsc::channel();
                    let waiting = go(&rt, move || {
                        // SAFETY: it only names the calling thread.
                        here_i_am.send(unsafe { libc::pthread_self() }).unwrap();
                        assert_eq!(a.recv(&mut [0; 9], 0, deadline).unwrap(), 4);
                        assert_eq!(c.read(&mut [0; 9], deadline).unwrap(), 4);
                        here_i_am
                    });
                    let thread = is_there.recv().unwrap();
                    for step in 0..2 {
                        for _ in 0..200 {
                            // SAFETY: the thread waits for what is not yet sent.
                            unsafe { libc::pthread_kill(thread, libc::SIGURG) };
                            std::thread::yield_now();
                        }
                        if step == 0 {
                            b.send(b"data", 0, None).unwrap();
                        } else {
                            d.write(b"data", None).unwrap();
                        }
                    }
                    waiting();
                }
            }

            #[test]
            fn a_copy_of_a_descriptor_is_a_source_of_its_own() {
                let _dog = Watchdog::start("copies");
                let rt = $setup(1);
                let (a, b) = UnixStream::pair().unwrap();
                let b = source(b);
                go(&rt, move || {
                    for round in 0..50 {
                        let one = source(a.try_clone().unwrap());
                        let other = source(a.try_clone().unwrap());
                        one.recv(&mut [0; 1], 0, Some(Instant::now())).unwrap_err();
                        other
                            .recv(&mut [0; 1], 0, Some(Instant::now()))
                            .unwrap_err();
                        let (used, dropped) = match round % 2 {
                            0 => (one, other),
                            _ => (other, one),
                        };
                        drop(dropped);
                        b.send(b"x", 0, None).unwrap();
                        assert_eq!(used.recv(&mut [0; 9], 0, None).unwrap(), 1);
                    }
                })();
            }

            #[test]
            fn regular_files_are_always_ready() {
                let _dog = Watchdog::start("files");
                let rt = $setup(1);
                let path = std::env::temp_dir().join(format!(
                    "filature-file-{}-{}",
                    std::process::id(),
                    stringify!($module)
                ));
                let file = std::fs::File::create(&path).unwrap();
                let file = source(file);
                go(&rt, move || {
                    assert_eq!(file.write(b"one", None).unwrap(), 3);
                    assert_eq!(file.write(b"two", None).unwrap(), 3);
                    file.wait_writable(None).unwrap();
                })();
                assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
                let file = source(std::fs::File::open(&path).unwrap());
                go(&rt, move || {
                    let mut buf = [0; 4];
                    assert_eq!(file.read(&mut buf, None).unwrap(), 4);
                    assert_eq!(file.read(&mut buf, None).unwrap(), 2);
                    assert_eq!(file.read(&mut buf, None).unwrap(), 0);
                    file.wait_readable(None).unwrap();
                })();
                std::fs::remove_file(&path).unwrap();
            }

            #[test]
            fn sources_come_and_go_on_the_same_numbers() {
                let _dog = Watchdog::start("reuse");
                let rt = $setup(2);
                for round in 0..500u32 {
                    let (a, b) = unix_pair();
                    let (a2, b2) = (Arc::new(a), Arc::new(b));
                    let (a, b) = (a2.clone(), b2.clone());
                    let left = go(&rt, move || {
                        let mut buf = [0; 4];
                        recv_exactly(&a, &mut buf);
                        assert_eq!(u32::from_ne_bytes(buf), round);
                        if round % 2 == 0 {
                            a.recv(&mut buf, 0, Some(Instant::now())).unwrap_err();
                        }
                    });
                    let right = go(&rt, move || {
                        if round % 3 == 0 {
                            b.recv(&mut [0; 4], 0, Some(Instant::now())).unwrap_err();
                        }
                        b.send(&round.to_ne_bytes(), 0, None).unwrap();
                    });
                    left();
                    right();
                    drop((a2, b2));
                }
            }
        }
    };
}

suite!(on_io_uring, |n| Some(runtime(Io::IoUring, None, n)));
suite!(on_io_uring_in_chaos, |n| Some(runtime(
    Io::IoUring,
    Some(7),
    n
)));
suite!(on_epoll, |n| Some(runtime(Io::Epoll, None, n)));
suite!(on_epoll_in_chaos, |n| Some(runtime(Io::Epoll, Some(7), n)));
suite!(on_threads, |_| None::<Runtime>);

/// What only coroutines have.
macro_rules! coroutines {
    ($module:ident, $io:expr, $chaos:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn a_coroutine_whose_io_is_always_ready_lets_others_run() {
                let _dog = Watchdog::start("budget");
                let rt = runtime($io, $chaos, 1);
                rt.run(|| {
                    let done = Arc::new(AtomicBool::new(false));
                    let other = done.clone();
                    let other = filature::spawn(move || other.store(true, Ordering::Relaxed));
                    let (a, b) = UnixStream::pair().unwrap();
                    let (a, b) = (source(a), source(b));
                    while !done.load(Ordering::Relaxed) {
                        a.send(b"x", 0, None).unwrap();
                        b.recv(&mut [0; 1], 0, None).unwrap();
                    }
                    other.join().unwrap();
                });
            }

            #[test]
            fn more_operations_at_once_than_the_queue_holds() {
                let _dog = Watchdog::start("full queue");
                let rt = runtime($io, $chaos, 1);
                rt.run(|| {
                    const MANY: usize = 400;
                    let mut ends = vec![];
                    let mut handles = vec![];
                    for i in 0..MANY {
                        let (a, b) = unix_pair();
                        ends.push(a);
                        handles.push(filature::spawn(move || {
                            for _ in 0..5 {
                                let mut buf = [0; 8];
                                recv_exactly(&b, &mut buf);
                                assert_eq!(usize::from_ne_bytes(buf), i);
                                let late = b.recv(&mut buf, 0, Some(Instant::now()));
                                match late {
                                    // The next round was quick.
                                    Ok(8) => send_all(&b, b"y"),
                                    Ok(n) => panic!("{n}"),
                                    Err(error) => {
                                        assert_eq!(error.kind(), ErrorKind::TimedOut)
                                    }
                                }
                                send_all(&b, b"x");
                            }
                        }));
                    }
                    filature::yield_now();
                    for _ in 0..5 {
                        for (i, end) in ends.iter().enumerate() {
                            end.send(&i.to_ne_bytes(), 0, None).unwrap();
                        }
                        for end in &ends {
                            recv_exactly(end, &mut [0; 1]);
                        }
                    }
                    for handle in handles {
                        handle.join().unwrap();
                    }
                });
            }

            #[test]
            fn dropping_the_runtime_ends_whoever_waits() {
                let _dog = Watchdog::start("drop");
                let (a, b) = tcp_pair();
                let (c, d) = pipe();
                let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
                let entered = Arc::new(AtomicUsize::new(0));
                struct Count(Arc<AtomicUsize>);
                impl Drop for Count {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Ordering::SeqCst);
                    }
                }
                let ended = Arc::new(AtomicUsize::new(0));
                let rt = runtime($io, $chaos, 2);
                let shared = Arc::new((a, c, listener));
                for which in 0..6 {
                    let (shared, count) = (shared.clone(), Count(ended.clone()));
                    let entered = entered.clone();
                    drop(rt.spawn(move || {
                        let _count = count;
                        entered.fetch_add(1, Ordering::SeqCst);
                        match which % 3 {
                            0 => drop(shared.0.recv(&mut [0; 10], 0, None)),
                            1 => drop(shared.1.read(&mut [0; 10], None)),
                            _ => drop(shared.2.accept(None)),
                        }
                        panic!("it must not return");
                    }));
                }
                while entered.load(Ordering::SeqCst) < 6 {
                    std::thread::yield_now();
                }
                drop(rt);
                assert_eq!(ended.load(Ordering::SeqCst), 6);
                drop((b, d));
            }

            #[test]
            fn dropping_the_runtime_ends_whoever_never_has_to_wait() {
                let _dog = Watchdog::start("busy");
                let rt = runtime($io, $chaos, 1);
                let rounds = Arc::new(AtomicUsize::new(0));
                let counted = rounds.clone();
                let busy = rt.spawn(move || {
                    let (a, b) = unix_pair();
                    loop {
                        a.send(b"x", 0, None).unwrap();
                        b.recv(&mut [0; 1], 0, None).unwrap();
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
                while rounds.load(Ordering::Relaxed) < 100 {
                    std::thread::yield_now();
                }
                drop(rt);
                assert!(busy.join().is_err());
            }

            #[test]
            fn io_in_a_destructor_during_a_panic_works() {
                let _dog = Watchdog::start("panic");
                struct Farewell(Source);
                impl Drop for Farewell {
                    fn drop(&mut self) {
                        self.0.send(b"bye", 0, None).unwrap();
                        self.0.recv(&mut [0; 1], 0, None).unwrap();
                    }
                }
                let rt = runtime($io, $chaos, 1);
                let (a, mut b) = UnixStream::pair().unwrap();
                let a = Farewell(source(a));
                let handle = rt.spawn(move || {
                    let _a = a;
                    panic!("on purpose");
                });
                let mut buf = [0; 3];
                b.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"bye");
                b.write_all(b"x").unwrap();
                assert!(handle.join().is_err());
            }
        }
    };
}

coroutines!(coroutines_on_io_uring, Io::IoUring, None);
coroutines!(coroutines_on_io_uring_in_chaos, Io::IoUring, Some(3));
coroutines!(coroutines_on_epoll, Io::Epoll, None);
coroutines!(coroutines_on_epoll_in_chaos, Io::Epoll, Some(3));

#[test]
fn a_poller_is_named_as_in_the_environment() {
    for io in [Io::Auto, Io::IoUring, Io::Epoll] {
        assert_eq!(io.to_string().parse(), Ok(io));
    }
    let error = "uring".parse::<Io>().unwrap_err().to_string();
    for allowed in ["uring", "auto", "io_uring", "epoll"] {
        assert!(error.contains(allowed));
    }
}
