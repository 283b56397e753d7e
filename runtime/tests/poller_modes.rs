//! `Source`: flags of calls, and the `O_NONBLOCK` mode of descriptors.

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use common::FOR_EVER;
use common::io::{
    each_way, is_nonblocking, recv_exactly, send_all, soon, source, tcp_pair, unix_pair,
};
use filature::Io;
use socket2::SockAddr;

fn make_nonblocking(fd: &OwnedFd) {
    // SAFETY: plain numbers.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

#[test]
fn o_nonblock_makes_no_difference() {
    each_way(|way| {
        let rt = way.home(1);
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let (a, b) = (source(a), source(b));
        let late = rt.go(move || {
            let mut buf = [0; 4];
            let n = a.recv(&mut buf, 0, None).unwrap();
            assert_eq!(&buf[..n], b"late");
            send_all(&a, &vec![0; 1 << 21]);
            a
        });
        rt.go(move || {
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
            let read = rt.go(move || {
                let mut buf = [0; 1000];
                let mut got = 0;
                loop {
                    match reader.read(&mut buf, None).unwrap() {
                        0 => return (got, reader),
                        n => got += n,
                    }
                }
            });
            rt.go(move || {
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
    });
}

#[test]
fn the_last_of_several_clones_puts_the_blocking_mode_back() {
    for given_back in [false, true] {
        let (reader, _writer) = io::pipe().unwrap();
        let copy = reader.try_clone().unwrap();
        let one = source(reader);
        let (other, third) = (one.try_clone().unwrap(), one.try_clone().unwrap());
        // On a thread, which needs the mode.
        let error = other.read(&mut [0; 1], soon()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(is_nonblocking(&copy));
        drop(third);
        assert!(is_nonblocking(&copy));
        assert!(is_nonblocking(&one.into_fd()));
        if given_back {
            assert!(!is_nonblocking(&other.into_fd()));
        } else {
            drop(other);
        }
        assert!(!is_nonblocking(&copy));
    }
}

#[test]
fn dontwait_and_peek_are_heeded() {
    each_way(|way| {
        let rt = way.home(1);
        for (a, b) in [unix_pair(), tcp_pair()] {
            rt.go(move || {
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
            })();
        }
    });
}

#[test]
fn what_must_not_wait_asks_the_kernel() {
    each_way(|way| {
        let rt = way.home(1);
        rt.go(|| {
            let (a, b) = unix_pair();
            let mut buf = [0; 10];
            for byte in 0..200 {
                // Whatever the poller remembers of the source, now it is that
                // there is nothing; and that there is, it has yet to hear.
                let error = a.recv(&mut buf, 0, Some(Instant::now())).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                b.send(&[byte], 0, None).unwrap();
                assert_eq!(a.recv(&mut buf, libc::MSG_DONTWAIT, None).unwrap(), 1);
                assert_eq!(buf[0], byte);
                let error = a.recv(&mut buf, libc::MSG_DONTWAIT, None).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            }
        })();
    });
}

#[test]
fn the_error_queue_and_urgent_data_do_not_wait_and_leave_the_stream_as_it_is() {
    each_way(|way| {
        let rt = way.home(1);
        rt.go(|| {
            let (a, b) = tcp_pair();
            let mut buf = [0; 10];
            for _ in 0..3 {
                let errors = |buf: &mut [u8]| {
                    let error = a.recv(buf, libc::MSG_ERRQUEUE, None).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    let mut bufs = [IoSliceMut::new(buf)];
                    let error = a
                        .recv_vectored(&mut bufs, libc::MSG_ERRQUEUE, None)
                        .unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                };
                errors(&mut buf);
                b.send(b"plain", 0, None).unwrap();
                a.wait_readable(None).unwrap();
                errors(&mut buf);
                a.recv(&mut buf, libc::MSG_OOB, None).unwrap_err();
                assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 5);

                b.send(b"more", 0, None).unwrap();
                b.send(b"!", libc::MSG_OOB, None).unwrap();
                while a.recv(&mut buf, libc::MSG_OOB, None).is_err() {
                    filature::yield_now();
                }
                assert_eq!(buf[0], b'!');
                assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 4);
            }
        })();
    });
}

#[test]
fn flags_that_break_a_promise_are_refused() {
    each_way(|way| {
        let rt = way.home(1);
        rt.go(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = SockAddr::from(socket.local_addr().unwrap());
            let socket = source(socket);
            let assert_refused = |error: io::Error, flag: &str| {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(flag), "{error}");
            };
            let mut buf = [0; 4];
            for (flag, name) in [
                (libc::MSG_WAITALL, "MSG_WAITALL"),
                (libc::MSG_TRUNC, "MSG_TRUNC"),
            ] {
                for flags in [flag, flag | libc::MSG_DONTWAIT] {
                    let mut bufs = [IoSliceMut::new(&mut buf)];
                    let error = socket.recv_vectored(&mut bufs, flags, soon());
                    assert_refused(error.unwrap_err(), name);
                    assert_refused(socket.recv(&mut buf, flags, soon()).unwrap_err(), name);
                    let error = socket.recv_from(&mut buf, flags, soon());
                    assert_refused(error.unwrap_err(), name);
                }
            }
            for (flag, name) in [
                (libc::MSG_WAITALL, "MSG_WAITALL"),
                (libc::MSG_ZEROCOPY, "MSG_ZEROCOPY"),
            ] {
                let error = socket.send_vectored(&[IoSlice::new(b"x")], flag, None);
                assert_refused(error.unwrap_err(), name);
                assert_refused(socket.send(b"x", flag, None).unwrap_err(), name);
                let error = socket.send_to(b"x", &to, flag, None);
                assert_refused(error.unwrap_err(), name);
            }
        })();
    });
}

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

#[test]
fn the_last_clone_puts_the_mode_back_though_it_was_never_used() {
    each_way(|way| {
        let rt = way.home(1);
        let (reader, mut writer) = io::pipe().unwrap();
        let fd = OwnedFd::from(reader);
        let seen = fd.try_clone().unwrap();
        let used = source(fd);
        let unused = used.try_clone().unwrap();
        writer.write_all(b"x").unwrap();
        rt.go(move || {
            // A deadline keeps threads from blocking in the call, too.
            let in_time = Some(Instant::now() + FOR_EVER);
            assert_eq!(used.read(&mut [0; 4], in_time).unwrap(), 1);
        })();
        drop(unused);
        assert!(!is_nonblocking(&seen));
    });
}
