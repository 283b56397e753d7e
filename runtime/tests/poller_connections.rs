//! `Source`: accepting and connecting.

mod common;

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::io::{
    each_scheduler, each_way, is_nonblocking, recv_exactly, send_all, soon, source, temporary_path,
};
use common::{Counter, Gate};
use filature::poller::Source;
use socket2::{Domain, SockAddr, Socket, Type};

#[test]
fn connections_are_accepted_and_made() {
    each_way(|way| {
        for nonblocking in [false, true] {
            let rt = way.home(2);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(nonblocking).unwrap();
            let to = SockAddr::from(listener.local_addr().unwrap());
            let listener = Arc::new(source(listener));
            let accepting: Vec<_> = (0..3)
                .map(|_| {
                    let listener = listener.clone();
                    rt.go(move || {
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
                    rt.go(move || {
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
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    each_way(|way| {
        let rt = way.home(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = SockAddr::from(listener.local_addr().unwrap());
        drop(listener);
        for nonblocking in [false, true] {
            let to = to.clone();
            let kind = rt.go(move || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(nonblocking).unwrap();
                source(socket).connect(&to, soon()).unwrap_err().kind()
            })();
            assert_eq!(kind, ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn a_unix_listener_with_a_full_queue_is_waited_for() {
    each_way(|way| {
        let rt = way.home(1);
        let path = temporary_path();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let to = SockAddr::unix(&path).unwrap();
        socket.bind(&to).unwrap();
        socket.listen(0).unwrap();
        let listener = UnixListener::from(OwnedFd::from(socket));
        let connected = Arc::new(AtomicUsize::new(0));
        let connecting: Vec<_> = (0..4)
            .map(|_| {
                let (to, connected) = (to.clone(), connected.clone());
                rt.go(move || {
                    let one = source(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap());
                    one.connect(&to, None).unwrap();
                    connected.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        let to2 = to.clone();
        rt.go(move || {
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
    });
}

#[test]
fn a_close_ends_the_wait_for_a_unix_listener_with_a_full_queue() {
    each_way(|way| {
        let rt = way.home(1);
        let path = temporary_path();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let to = SockAddr::unix(&path).unwrap();
        listener.bind(&to).unwrap();
        listener.listen(0).unwrap();
        let queued = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        queued.connect(&to).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let connecting = Arc::new(source(socket));
        let (shared, entered) = (connecting.clone(), Counter::new());
        let other = entered.clone();
        let result = rt.go(move || {
            other.up();
            shared.connect(&to, None)
        });
        entered.wait_for(1);
        for _ in 0..200 {
            std::thread::yield_now();
        }
        connecting.close();
        assert_eq!(result().unwrap_err().kind(), ErrorKind::NotConnected);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn connecting_again_and_again_lets_others_run_and_is_unwound() {
    each_scheduler(|way| {
        let runtime = way.runtime(1);
        let path = temporary_path();
        let _peer = UnixDatagram::bind(&path).unwrap();
        let to = SockAddr::unix(&path).unwrap();
        let met = Gate::new();
        runtime.spawn({
            let met = met.clone();
            move || {
                let socket = UnixDatagram::unbound().unwrap();
                let socket = source(socket);
                filature::spawn_local(move || met.open());
                loop {
                    socket.connect(&to, None).unwrap();
                }
            }
        });
        met.wait();
        drop(runtime);
        std::fs::remove_file(&path).unwrap();
    });
}
