//! Connecting, reading and writing.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use common::{Random, everywhere, listener, pair};
use filature_net::TcpStream;

/// More than the kernel ever buffers of one connection.
const MUCH: usize = 16 << 20;

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    listener().1
}

#[test]
fn connecting_to_nobody_is_refused() {
    everywhere(|| {
        let error = TcpStream::connect(nobody()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn connect_tries_every_address() {
    everywhere(|| {
        let (_server, addr) = listener();
        let stream = TcpStream::connect(&[nobody(), nobody(), addr][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
    });
}

#[test]
fn connect_returns_the_error_of_the_last_address() {
    everywhere(|| {
        let broadcast: SocketAddr = "255.255.255.255:1".parse().unwrap();
        let last = TcpStream::connect(broadcast).unwrap_err().kind();
        assert_ne!(last, ErrorKind::ConnectionRefused);
        let error = TcpStream::connect(&[nobody(), broadcast][..]).unwrap_err();
        assert_eq!(error.kind(), last);
        let error = TcpStream::connect(&[broadcast, nobody()][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn connecting_to_no_address_is_an_error() {
    everywhere(|| {
        let none: &[SocketAddr] = &[];
        let error = TcpStream::connect(none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = TcpStream::connect("127.0.0.1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_host_name_is_resolved() {
    everywhere(|| {
        let (_server, addr) = listener();
        let stream = TcpStream::connect(("localhost", addr.port())).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
    });
}

#[test]
fn both_ends_know_both_addresses() {
    everywhere(|| {
        let (one, other) = pair();
        assert_eq!(one.local_addr().unwrap(), other.peer_addr().unwrap());
        assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
    });
}

#[test]
fn what_is_written_comes_back_from_an_echo() {
    everywhere(|| {
        let (mut client, server) = pair();
        filature::spawn(move || std::io::copy(&mut &server, &mut &server).unwrap());
        for round in 0..100u8 {
            client.write_all(&[round; 33]).unwrap();
            let mut got = [0; 33];
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, [round; 33]);
        }
    });
}

#[test]
fn reading_at_the_end_keeps_returning_zero() {
    everywhere(|| {
        let (mut client, server) = pair();
        drop(server);
        for _ in 0..3 {
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        }
    });
}

#[test]
fn writing_to_an_end_that_has_closed_becomes_an_error() {
    everywhere(|| {
        let (mut client, server) = pair();
        drop(server);
        // The first bytes are sent in good faith; the answer to them is what tells.
        let error = loop {
            match client.write_all(&[0; 1024]) {
                Ok(()) => filature::yield_now(),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    });
}

#[test]
fn many_connections_one_after_another() {
    everywhere(|| {
        let (server, addr) = listener();
        let serving = filature::spawn(move || {
            for round in 0..50u8 {
                let mut got = [0];
                let (mut stream, _) = server.accept().unwrap();
                stream.read_exact(&mut got).unwrap();
                assert_eq!(got, [round]);
            }
        });
        for round in 0..50 {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&[round]).unwrap();
        }
        serving.join().unwrap();
    });
}

#[test]
fn many_connections_open_at_once_and_closed_in_reverse() {
    fn connect_deeper(addr: SocketAddr, id: u8) {
        if id == 50 {
            return;
        }
        let mut stream = TcpStream::connect(addr).unwrap();
        filature::spawn(move || connect_deeper(addr, id + 1))
            .join()
            .unwrap();
        stream.write_all(&[id]).unwrap();
    }
    everywhere(|| {
        let (server, addr) = listener();
        let serving = filature::spawn(move || {
            let handlers: Vec<_> = (0..50)
                .map(|id| {
                    let (mut stream, _) = server.accept().unwrap();
                    filature::spawn(move || {
                        let mut got = [0];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(got, [id]);
                    })
                })
                .collect();
            handlers.into_iter().for_each(|h| h.join().unwrap());
        });
        connect_deeper(addr, 0);
        serving.join().unwrap();
    });
}

#[test]
fn one_coroutine_reads_while_another_writes() {
    everywhere(|| {
        let (client, server) = pair();
        filature::spawn(move || std::io::copy(&mut &server, &mut &server));
        let client = Arc::new(client);
        let writer = Arc::clone(&client);
        // Blocks for ever unless the other coroutine reads meanwhile.
        let writing = filature::spawn(move || {
            (&*writer).write_all(&vec![7; MUCH]).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        (&*client).read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), MUCH);
        assert!(got.iter().all(|&byte| byte == 7));
        writing.join().unwrap();
    });
}

#[test]
fn a_write_larger_than_every_buffer_arrives_whole() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let mut random = Random::seeded();
        let mut sent = vec![0; MUCH];
        random.fill(&mut sent);
        let expected = sent.clone();
        let writing = filature::spawn(move || server.write_all(&sent).unwrap());
        let mut got = vec![0; MUCH];
        client.read_exact(&mut got).unwrap();
        assert!(got == expected);
        writing.join().unwrap();
    });
}

#[test]
fn a_clone_reads_while_the_original_writes() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let mut clone = client.try_clone().unwrap();
        let reading = filature::spawn(move || {
            let mut got = [0; 5];
            clone.read_exact(&mut got).unwrap();
            got
        });
        client.write_all(b"ping!").unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ping!");
        server.write_all(b"pong!").unwrap();
        assert_eq!(&reading.join().unwrap(), b"pong!");
    });
}

#[test]
fn a_connection_lives_as_long_as_its_last_clone() {
    everywhere(|| {
        let (client, mut server) = pair();
        let mut clone = client.try_clone().unwrap();
        drop(client);
        clone.write_all(b"still here").unwrap();
        drop(clone);
        let mut got = String::new();
        server.read_to_string(&mut got).unwrap();
        assert_eq!(got, "still here");
    });
}

#[test]
fn several_readers_of_one_stream_share_its_bytes() {
    const READERS: usize = 4;
    const BYTES: usize = 10_000;
    everywhere(|| {
        let (client, mut server) = pair();
        let client = Arc::new(client);
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let client = Arc::clone(&client);
                filature::spawn(move || {
                    let mut total = 0;
                    let mut buf = [0; 64];
                    loop {
                        match (&*client).read(&mut buf).unwrap() {
                            0 => return total,
                            n => total += n,
                        }
                    }
                })
            })
            .collect();
        server.write_all(&[1; BYTES]).unwrap();
        drop(server);
        let total: usize = readers.into_iter().map(|r| r.join().unwrap()).sum();
        assert_eq!(total, BYTES);
    });
}

#[test]
fn peeking_does_not_take() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let peeking = filature::spawn(move || {
            let mut got = [0; 16];
            for _ in 0..3 {
                assert_eq!(client.peek(&mut got).unwrap(), 4);
                assert_eq!(&got[..4], b"peek");
            }
            assert_eq!(client.read(&mut got).unwrap(), 4);
            assert_eq!(client.peek(&mut got).unwrap(), 0);
        });
        server.write_all(b"peek").unwrap();
        drop(server);
        peeking.join().unwrap();
    });
}

#[test]
fn vectored_writes_and_reads_keep_the_order() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let parts = [
            IoSlice::new(b"one"),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        assert_eq!(client.write_vectored(&parts).unwrap(), 6);
        let (mut head, mut tail) = ([0; 2], [0; 8]);
        let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
        assert_eq!(server.read_vectored(&mut bufs).unwrap(), 6);
        assert_eq!(&head, b"on");
        assert_eq!(&tail[..4], b"etwo");
    });
}

#[test]
fn a_vectored_read_waits_for_data() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let reading = filature::spawn(move || {
            let (mut head, mut tail) = ([0; 1], [0; 1]);
            let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
            assert_eq!(client.read_vectored(&mut bufs).unwrap(), 2);
            (head, tail)
        });
        filature::yield_now();
        server.write_all(b"ab").unwrap();
        assert_eq!(reading.join().unwrap(), (*b"a", *b"b"));
    });
}

#[test]
fn writing_nothing_writes_nothing() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        assert_eq!(client.write(b"").unwrap(), 0);
        client.flush().unwrap();
        drop(client);
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn shutting_down_writing_leaves_reading_open() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        server.read_to_string(&mut got).unwrap();
        assert_eq!(got, "question");
        server.write_all(b"answer").unwrap();
        drop(server);
        got.clear();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "answer");
        let error = client.write(b"more").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn shutting_down_reading_leaves_writing_open() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        client.write_all(b"one way").unwrap();
        drop(client);
        let mut got = String::new();
        server.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one way");
    });
}

#[test]
fn small_writes_can_be_sent_at_once() {
    everywhere(|| {
        let (client, _server) = pair();
        assert!(!client.nodelay().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_nodelay(false).unwrap();
        assert!(!client.nodelay().unwrap());
    });
}

#[test]
fn the_time_to_live_can_be_set() {
    everywhere(|| {
        let (client, _server) = pair();
        client.set_ttl(100).unwrap();
        assert_eq!(client.ttl().unwrap(), 100);
    });
}

#[test]
fn a_healthy_stream_has_no_pending_error() {
    everywhere(|| assert!(pair().0.take_error().unwrap().is_none()));
}

#[test]
fn debug_shows_addresses_and_descriptor_as_std_does() {
    everywhere(|| {
        let (client, _server) = pair();
        let ours = format!("{client:?}");
        let std = std::net::TcpStream::from(client);
        assert_eq!(ours, format!("{std:?}"));
    });
}

#[test]
fn a_stream_can_go_anywhere() {
    fn anywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    anywhere::<TcpStream>();
}
