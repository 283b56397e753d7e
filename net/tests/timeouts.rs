//! Time limits. Nothing here measures time: a call either ends with `TimedOut` or does not.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use common::{address_that_never_answers, everywhere, listener, on_a_thread, pair};
use filature::{Elapsed, timeout};
use filature_net::TcpStream;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn there_is_no_limit_at_first() {
    everywhere(|| {
        let (client, server) = pair();
        for stream in [client, server] {
            assert_eq!(stream.read_timeout().unwrap(), None);
            assert_eq!(stream.write_timeout().unwrap(), None);
        }
    });
}

#[test]
fn a_limit_reads_back_as_it_was_set() {
    everywhere(|| {
        let (stream, _peer) = pair();
        let limit = Some(Duration::from_nanos(1_234_567));
        stream.set_read_timeout(limit).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), limit);
        assert_eq!(stream.write_timeout().unwrap(), Some(LONG));
        stream.set_read_timeout(None).unwrap();
        stream.set_write_timeout(None).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), None);
        assert_eq!(stream.write_timeout().unwrap(), None);
    });
}

#[test]
fn a_limit_of_zero_is_refused() {
    everywhere(|| {
        let (stream, _peer) = pair();
        let zero = Some(Duration::ZERO);
        stream.set_read_timeout(Some(LONG)).unwrap();
        let read = stream.set_read_timeout(zero).unwrap_err();
        let write = stream.set_write_timeout(zero).unwrap_err();
        let addr = stream.peer_addr().unwrap();
        let connect = TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err();
        for error in [read, write, connect] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(stream.read_timeout().unwrap(), Some(LONG));
    });
}

#[test]
fn a_read_without_data_times_out_and_the_stream_goes_on() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        let mut got = [0; 2];
        for _ in 0..3 {
            let error = client.read(&mut got).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        client.set_read_timeout(None).unwrap();
        server.write_all(b"ok").unwrap();
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ok");
    });
}

#[test]
fn a_peek_without_data_times_out() {
    everywhere(|| {
        let (client, _server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        let error = client.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_vectored_read_without_data_times_out() {
    everywhere(|| {
        let (mut client, _server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        let mut buf = [0];
        let mut bufs = [std::io::IoSliceMut::new(&mut buf)];
        let error = client.read_vectored(&mut bufs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_write_that_nobody_reads_times_out_and_loses_nothing_it_reported() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.set_write_timeout(Some(SHORT)).unwrap();
        let mut written = 0;
        let error = loop {
            match client.write(&[9; 64 << 10]) {
                Ok(n) => written += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(client);
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), written);
    });
}

#[test]
fn data_in_time_is_not_late() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.set_read_timeout(Some(LONG)).unwrap();
        let reading = filature::spawn(move || {
            let mut got = [0; 2];
            client.read_exact(&mut got).unwrap();
            got
        });
        filature::yield_now();
        server.write_all(b"ok").unwrap();
        assert_eq!(&reading.join().unwrap(), b"ok");
    });
}

#[test]
fn data_that_races_with_the_limit_is_delivered_once() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client
            .set_read_timeout(Some(Duration::from_micros(200)))
            .unwrap();
        const BYTES: u8 = 200;
        let writing = filature::spawn(move || {
            for byte in 0..BYTES {
                server.write_all(&[byte]).unwrap();
                filature::sleep(Duration::from_micros(200));
            }
        });
        let mut expected = 0;
        while expected < BYTES {
            let mut got = [0; 4];
            match client.read(&mut got) {
                Ok(n) => {
                    assert_ne!(n, 0, "the stream ended after {expected} bytes");
                    for byte in &got[..n] {
                        assert_eq!(*byte, expected);
                        expected += 1;
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
        writing.join().unwrap();
    });
}

#[test]
fn other_coroutines_run_while_one_waits_for_its_limit() {
    everywhere(|| {
        let (mut idle, _peer) = pair();
        idle.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let waiting = filature::spawn(move || idle.read(&mut [0]).unwrap_err().kind());
        let (mut client, mut server) = pair();
        let mut got = [0];
        while !waiting.is_finished() {
            client.write_all(&[1]).unwrap();
            server.read_exact(&mut got).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), ErrorKind::TimedOut);
    });
}

#[test]
fn clones_share_their_limits() {
    everywhere(|| {
        let (client, _server) = pair();
        let mut clone = client.try_clone().unwrap();
        client.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(SHORT));
        assert_eq!(
            clone.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    });
}

#[test]
fn a_limit_can_be_set_from_a_plain_thread() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let setter = Arc::clone(&client);
        on_a_thread(move || setter.set_read_timeout(Some(SHORT)).unwrap());
        let error = (&*client).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_limit_holds_on_a_plain_thread() {
    everywhere(|| {
        let (mut client, _server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        let kind = on_a_thread(move || client.read(&mut [0]).unwrap_err().kind());
        assert_eq!(kind, ErrorKind::TimedOut);
    });
}

#[test]
fn the_longest_limit_is_for_ever() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.set_read_timeout(Some(Duration::MAX)).unwrap();
        client.set_write_timeout(Some(Duration::MAX)).unwrap();
        client.write_all(&[1]).unwrap();
        server.write_all(&[1]).unwrap();
        client.read_exact(&mut [0]).unwrap();
        let addr = listener();
        TcpStream::connect_timeout(&addr.1, Duration::MAX).unwrap();
    });
}

#[test]
fn connecting_in_time_succeeds() {
    everywhere(|| {
        let (_server, addr) = listener();
        TcpStream::connect_timeout(&addr, LONG).unwrap();
    });
}

#[test]
fn connecting_to_nobody_is_refused_before_the_limit() {
    everywhere(|| {
        let addr = listener().1;
        let error = TcpStream::connect_timeout(&addr, LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn connecting_to_who_never_answers_times_out() {
    everywhere(|| {
        let (addr, _full) = address_that_never_answers();
        let error = TcpStream::connect_timeout(&addr, SHORT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// With each, the other is too long to matter.
fn the_first_of_a_limit_and_an_enclosing_timeout_ends_it() {
    let (mut client, mut server) = pair();
    client.set_read_timeout(Some(LONG)).unwrap();
    let result = timeout(SHORT, || client.read(&mut [0]));
    assert!(matches!(result, Err(Elapsed)));
    client.set_read_timeout(Some(SHORT)).unwrap();
    let error = timeout(LONG, || client.read(&mut [0])).unwrap();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

    client.set_write_timeout(Some(LONG)).unwrap();
    let result: Result<(), _> = timeout(SHORT, || {
        loop {
            client.write_all(&[0; 1 << 16]).unwrap();
        }
    });
    assert_eq!(result, Err(Elapsed));
    drop(client);
    std::io::copy(&mut server, &mut std::io::sink()).unwrap();

    let (listener, _) = listener();
    assert!(matches!(timeout(SHORT, || listener.accept()), Err(Elapsed)));
    let (addr, _full) = address_that_never_answers();
    let result = timeout(SHORT, || TcpStream::connect_timeout(&addr, LONG));
    assert!(matches!(result, Err(Elapsed)));
    let result = timeout(SHORT, || TcpStream::connect(addr));
    assert!(matches!(result, Err(Elapsed)));
}

#[test]
fn an_enclosing_timeout_holds_for_sockets() {
    everywhere(|| {
        the_first_of_a_limit_and_an_enclosing_timeout_ends_it();
        on_a_thread(the_first_of_a_limit_and_an_enclosing_timeout_ends_it);
    });
}
