//! `Source`: what is sent is received, on both pollers and on plain threads.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::Counter;
use common::io::{
    each_way, recv_exactly, send_all, soon, source, std_tcp_pair, tcp_pair, temporary_path,
    unix_pair,
};
use socket2::SockAddr;

#[test]
fn bytes_arrive() {
    each_way(|way| {
        for workers in [1, 2] {
            for (a, b) in [unix_pair(), tcp_pair()] {
                let rt = way.home(workers);
                let (a, b) = (Arc::new(a), Arc::new(b));
                let echo = rt.go(move || {
                    let mut buf = [0; 100];
                    loop {
                        let n = b.recv(&mut buf, 0, None).unwrap();
                        if n == 0 {
                            return;
                        }
                        send_all(&b, &buf[..n]);
                    }
                });
                let client = rt.go(move || {
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
    });
}

#[test]
fn a_stream_longer_than_the_kernels_buffers_arrives_whole() {
    each_way(|way| {
        const LEN: usize = 20_000_000;
        for (a, b) in [unix_pair(), tcp_pair()] {
            let rt = way.home(2);
            let sender = rt.go(move || {
                let data: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8).collect();
                send_all(&a, &data);
            });
            let receiver = rt.go(move || {
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
    });
}

#[test]
fn the_end_of_the_peer_is_seen() {
    each_way(|way| {
        let rt = way.home(1);
        for (a, b) in [unix_pair(), tcp_pair()] {
            let a = rt.go(move || {
                let mut buf = [0; 10];
                assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 4);
                assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 0);
                assert_eq!(a.recv(&mut buf, 0, None).unwrap(), 0);
                a
            });
            let b = rt.go(move || {
                b.send(b"last", 0, None).unwrap();
                drop(b);
            });
            b();
            let a = a();
            rt.go(move || {
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
    });
}

#[test]
fn a_reset_is_an_error() {
    each_way(|way| {
        let rt = way.home(1);
        let (a, b) = std_tcp_pair();
        let a = source(a);
        let waiting = rt.go(move || a.recv(&mut [0; 10], 0, None).unwrap_err().kind());
        socket2::SockRef::from(&b)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(b);
        assert_eq!(waiting(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn several_readers_share_a_source() {
    each_way(|way| {
        for (a, b) in [unix_pair(), tcp_pair()] {
            let rt = way.home(2);
            let b = Arc::new(b);
            let total = Arc::new(AtomicUsize::new(0));
            let readers: Vec<_> = (0..6)
                .map(|_| {
                    let (b, total) = (b.clone(), total.clone());
                    rt.go(move || {
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
    });
}

#[test]
fn one_receives_while_another_sends() {
    each_way(|way| {
        let rt = way.home(1);
        let (a, b) = tcp_pair();
        let (a, b) = (Arc::new(a), Arc::new(b));
        let mut all = vec![];
        for source in [a, b] {
            let other = source.clone();
            all.push(rt.go(move || {
                let mut buf = vec![0; 3_000_000];
                recv_exactly(&other, &mut buf);
            }));
            all.push(rt.go(move || send_all(&source, &vec![7; 3_000_000])));
        }
        for one in all {
            one();
        }
    });
}

#[test]
fn vectors_are_filled_in_order() {
    each_way(|way| {
        let rt = way.home(1);
        let (a, b) = tcp_pair();
        let receiver = rt.go(move || {
            let (mut x, mut y) = ([0; 3], [0; 10]);
            let mut bufs = [IoSliceMut::new(&mut x), IoSliceMut::new(&mut y)];
            let n = b.recv_vectored(&mut bufs, 0, None).unwrap();
            assert_eq!((n, &x[..], &y[..4]), (7, &b"abc"[..], &b"defg"[..]));
            let error = b.recv_vectored(&mut [], 0, soon());
            assert!(matches!(error, Ok(0) | Err(_)), "{error:?}");
        });
        rt.go(move || {
            let many = vec![IoSlice::new(b""); 2000];
            assert_eq!(a.send_vectored(&many, 0, None).unwrap(), 0);
            let bufs = [IoSlice::new(b"ab"), IoSlice::new(b"cdefg")];
            assert_eq!(a.send_vectored(&bufs, 0, None).unwrap(), 7);
            a
        })();
        receiver();
    });
}

#[test]
fn datagrams_know_their_senders() {
    each_way(|way| {
        let rt = way.home(1);
        let a = UdpSocket::bind("127.0.0.1:0").unwrap();
        let b = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let (a, b) = (source(a), source(b));
        let receiver = rt.go(move || {
            for len in 0..100 {
                let mut buf = [0; 200];
                let (n, from) = b.recv_from(&mut buf, 0, None).unwrap();
                assert_eq!((n, from.as_socket()), (len, Some(at_a)));
            }
        });
        rt.go(move || {
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
        rt.go(move || {
            for i in 0..5 {
                let mut buf = [0; 100];
                assert_eq!(b.recv(&mut buf, 0, None).unwrap(), 1);
                assert_eq!(buf[0], i);
            }
        })();
    });
}

#[test]
fn a_full_queue_of_unix_datagrams_is_waited_for() {
    const MANY: u32 = 2000;
    each_way(|way| {
        let rt = way.home(1);
        let path = temporary_path();
        let to = SockAddr::unix(&path).unwrap();
        let receiver = source(UnixDatagram::bind(&path).unwrap());
        let (one, other) = (UnixDatagram::unbound(), UnixDatagram::unbound());
        let (addressing, connected) = (one.unwrap(), other.unwrap());
        connected.connect(&path).unwrap();
        let (addressing, connected) = (source(addressing), source(connected));
        let sending = rt.go(move || {
            for number in 0..MANY {
                let datagram = number.to_ne_bytes();
                let sent = match number / 500 % 2 {
                    0 => addressing.send_to(&datagram, &to, 0, None),
                    _ => connected.send(&datagram, 0, None),
                };
                assert_eq!(sent.unwrap(), datagram.len());
            }
        });
        rt.go(move || {
            for number in 0..MANY {
                let mut datagram = [0; 8];
                assert_eq!(receiver.recv(&mut datagram, 0, None).unwrap(), 4);
                assert_eq!(datagram[..4], number.to_ne_bytes());
            }
        })();
        sending();
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_queue_of_unix_datagrams_that_others_have_filled_is_waited_for() {
    each_way(|way| {
        let rt = way.home(1);
        let path = temporary_path();
        let to = SockAddr::unix(&path).unwrap();
        let receiver = source(UnixDatagram::bind(&path).unwrap());
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"other", &path).is_ok() {}
        let before = Counter::new();
        let counted = before.clone();
        let sending = rt.go(move || {
            let sender = source(UnixDatagram::unbound().unwrap());
            counted.up();
            sender.send_to(b"ours", &to, 0, soon()).unwrap_err();
            counted.up();
            sender.send_to(b"ours", &to, 0, None).unwrap()
        });
        before.wait_for(2);
        for _ in 0..200 {
            std::thread::yield_now();
        }
        rt.go(move || {
            let mut datagram = [0; 5];
            while receiver.recv(&mut datagram, 0, None).unwrap() != 4 {}
        })();
        assert_eq!(sending(), 4);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn regular_files_are_always_ready() {
    each_way(|way| {
        let rt = way.home(1);
        let path = temporary_path();
        let file = std::fs::File::create(&path).unwrap();
        let file = source(file);
        rt.go(move || {
            assert_eq!(file.write(b"one", None).unwrap(), 3);
            assert_eq!(file.write(b"two", None).unwrap(), 3);
            file.wait_writable(None).unwrap();
        })();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        let file = source(std::fs::File::open(&path).unwrap());
        rt.go(move || {
            let mut buf = [0; 4];
            assert_eq!(file.read(&mut buf, None).unwrap(), 4);
            assert_eq!(file.read(&mut buf, None).unwrap(), 2);
            assert_eq!(file.read(&mut buf, None).unwrap(), 0);
            file.wait_readable(None).unwrap();
        })();
        std::fs::remove_file(&path).unwrap();
    });
}
