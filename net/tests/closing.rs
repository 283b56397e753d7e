//! Closing, shutting down and dropping under calls that are blocked.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use common::{
    Counter, address_that_never_answers, everywhere, listener, on_a_thread, pair,
    raise_descriptor_limit, with_each_runtime,
};
use filature_net::{TcpListener, TcpStream};

/// Lets what has announced that it is about to block get to it. Whether it has makes no
/// difference to what must come out, only to which path is taken.
fn let_them_block() {
    for _ in 0..10 {
        filature::yield_now();
    }
}

#[test]
fn closing_wakes_a_reader() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let about_to = Counter::default();
        let (reader, announce) = (Arc::clone(&client), about_to.clone());
        let reading = filature::spawn(move || {
            announce.add();
            (&*reader).read(&mut [0]).unwrap()
        });
        about_to.wait_for(1);
        let_them_block();
        client.close();
        assert_eq!(reading.join().unwrap(), 0);
    });
}

#[test]
fn closing_wakes_a_reader_on_a_plain_thread() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let about_to = Counter::default();
        let (reader, announce) = (Arc::clone(&client), about_to.clone());
        let closing = filature::spawn(move || {
            about_to.wait_for(1);
            let_them_block();
            client.close();
        });
        let read = on_a_thread(move || {
            announce.add();
            (&*reader).read(&mut [0]).unwrap()
        });
        assert_eq!(read, 0);
        closing.join().unwrap();
    });
}

#[test]
fn a_plain_thread_can_close_under_a_reader() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let about_to = Counter::default();
        let closer = Arc::clone(&client);
        let announced = about_to.clone();
        let thread = std::thread::spawn(move || {
            announced.wait_for(1);
            closer.close();
        });
        about_to.add();
        assert_eq!((&*client).read(&mut [0]).unwrap(), 0);
        thread.join().unwrap();
    });
}

#[test]
fn closing_wakes_a_peeker() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let peeker = Arc::clone(&client);
        let peeking = filature::spawn(move || peeker.peek(&mut [0]).unwrap());
        let_them_block();
        client.close();
        assert_eq!(peeking.join().unwrap(), 0);
    });
}

#[test]
fn closing_wakes_a_writer() {
    everywhere(|| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let about_to = Counter::default();
        let (writer, announce) = (Arc::clone(&client), about_to.clone());
        let writing = filature::spawn(move || {
            announce.add();
            let chunk = [0; 64 << 10];
            loop {
                if let Err(error) = (&*writer).write(&chunk) {
                    return error.kind();
                }
            }
        });
        about_to.wait_for(1);
        let_them_block();
        client.close();
        assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn closing_wakes_every_acceptor() {
    everywhere(|| {
        let (server, _) = listener();
        let server = Arc::new(server);
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let server = Arc::clone(&server);
                filature::spawn(move || server.accept().is_err())
            })
            .collect();
        let_them_block();
        server.close();
        for acceptor in acceptors {
            assert!(acceptor.join().unwrap());
        }
    });
}

#[test]
fn closing_ends_incoming() {
    everywhere(|| {
        let (server, addr) = listener();
        let server = Arc::new(server);
        let serving = {
            let server = Arc::clone(&server);
            filature::spawn(move || server.incoming().map(Result::unwrap).count())
        };
        let mut client = TcpStream::connect(addr).unwrap();
        // Accepted and dropped, so that the count below is certain.
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        server.close();
        assert_eq!(serving.join().unwrap(), 1);
        assert!(server.incoming().next().is_none());
    });
}

#[test]
fn every_call_after_closing_finds_the_end() {
    everywhere(|| {
        let (mut client, mut peer) = pair();
        peer.write_all(b"too late").unwrap();
        client.close();
        client.close();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(client.peek(&mut [0]).unwrap(), 0);
        let error = client.write(&[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let (server, _) = listener();
        server.close();
        server.close();
        assert!(server.accept().is_err());
        assert!(server.accept().is_err());
    });
}

#[test]
fn closing_ends_the_clones_too() {
    everywhere(|| {
        let (client, _server) = pair();
        let mut clone = client.try_clone().unwrap();
        let reading = filature::spawn(move || clone.read(&mut [0]).unwrap());
        let_them_block();
        client.close();
        assert_eq!(reading.join().unwrap(), 0);

        let (server, _) = listener();
        let clone = server.try_clone().unwrap();
        let accepting = filature::spawn(move || clone.into_incoming().count());
        let_them_block();
        server.close();
        assert_eq!(accepting.join().unwrap(), 0);
    });
}

#[test]
fn the_peer_sees_the_end_of_a_closed_stream_that_still_lives() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"last words").unwrap();
        client.close();
        let mut got = String::new();
        server.read_to_string(&mut got).unwrap();
        assert_eq!(got, "last words");
    });
}

#[test]
fn a_closed_listener_that_still_lives_refuses_connections() {
    everywhere(|| {
        let (server, addr) = listener();
        let mut queued = TcpStream::connect(addr).unwrap();
        server.close();
        let error = queued.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn what_a_closed_listener_has_accepted_goes_on() {
    everywhere(|| {
        let (server, addr) = listener();
        let mut client = TcpStream::connect(addr).unwrap();
        let (mut stream, _) = server.accept().unwrap();
        server.close();
        drop(server);
        stream.write_all(b"on").unwrap();
        let mut got = [0; 2];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"on");
    });
}

#[test]
fn the_port_is_free_when_a_closed_listener_is_dropped() {
    everywhere(|| {
        let (server, addr) = listener();
        server.close();
        drop(server);
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn shutting_down_wakes_the_readers_of_every_clone() {
    everywhere(|| {
        let (client, _server) = pair();
        let mut clone = client.try_clone().unwrap();
        let about_to = Counter::default();
        let announce = about_to.clone();
        let reading = filature::spawn(move || {
            announce.add();
            clone.read(&mut [0]).unwrap()
        });
        about_to.wait_for(1);
        let_them_block();
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reading.join().unwrap(), 0);
    });
}

#[test]
fn shutting_down_wakes_a_writer() {
    everywhere(|| {
        let (client, _server) = pair();
        let mut clone = client.try_clone().unwrap();
        let about_to = Counter::default();
        let announce = about_to.clone();
        let writing = filature::spawn(move || {
            announce.add();
            let chunk = [0; 64 << 10];
            loop {
                if let Err(error) = clone.write(&chunk) {
                    return error.kind();
                }
            }
        });
        about_to.wait_for(1);
        let_them_block();
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_server_is_closed_under_a_thousand_blocked_readers() {
    const CONNECTIONS: usize = 1000;
    raise_descriptor_limit();
    everywhere(|| {
        let (server, addr) = listener();
        let server = Arc::new(server);
        let about_to = Counter::default();
        let serving = {
            let (server, about_to) = (Arc::clone(&server), about_to.clone());
            filature::spawn(move || {
                let mut connections = Vec::new();
                for stream in server.incoming() {
                    let stream = Arc::new(stream.unwrap());
                    let (reader, about_to) = (Arc::clone(&stream), about_to.clone());
                    let reading = filature::spawn(move || {
                        about_to.add();
                        (&*reader).read(&mut [0]).unwrap()
                    });
                    connections.push((stream, reading));
                }
                for (stream, _) in &connections {
                    stream.close();
                }
                for (_, reading) in connections {
                    assert_eq!(reading.join().unwrap(), 0);
                }
            })
        };
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        about_to.wait_for(CONNECTIONS);
        let_them_block();
        server.close();
        serving.join().unwrap();
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    });
}

/// Drops a runtime while a coroutine of it is blocked in `call`, and makes sure that the
/// coroutine's destructors have run by then.
fn dropping_the_runtime_unwinds(call: impl Fn() + Copy + Send + 'static) {
    with_each_runtime(|runtime| {
        let (about_to, unwound) = (Counter::default(), Counter::default());
        for _ in 0..10 {
            let (about_to, unwound) = (about_to.clone(), unwound.clone());
            runtime.spawn(move || {
                let _unwound = unwound.add_on_drop();
                about_to.add();
                call();
                unreachable!("nothing ends this call");
            });
        }
        about_to.wait_for(10);
        drop(runtime);
        assert_eq!(unwound.get(), 10);
    });
}

#[test]
fn dropping_the_runtime_unwinds_a_blocked_read() {
    dropping_the_runtime_unwinds(|| {
        let (mut client, _server) = pair();
        let _ = client.read(&mut [0]);
    });
}

#[test]
fn dropping_the_runtime_unwinds_a_blocked_write() {
    dropping_the_runtime_unwinds(|| {
        let (mut client, _server) = pair();
        let chunk = [0; 64 << 10];
        while client.write(&chunk).is_ok() {}
    });
}

#[test]
fn dropping_the_runtime_unwinds_a_blocked_accept() {
    dropping_the_runtime_unwinds(|| {
        let (server, _) = listener();
        let _ = server.accept();
    });
}

#[test]
fn dropping_the_runtime_unwinds_a_blocked_connect() {
    let (addr, _full) = address_that_never_answers();
    dropping_the_runtime_unwinds(move || {
        let _ = TcpStream::connect(addr);
    });
}

#[test]
fn dropping_the_runtime_closes_the_sockets_of_its_coroutines() {
    with_each_runtime(|runtime| {
        let (server, addr) = listener();
        let blocked = Counter::default();
        let announce = blocked.clone();
        runtime.spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            announce.add();
            let _ = stream.read(&mut [0]);
        });
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        blocked.wait_for(1);
        drop(runtime);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let refused = std::net::TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn sockets_outlive_the_runtime_they_were_made_on() {
    with_each_runtime(|runtime| {
        let (mut client, mut server) = runtime.run(|| {
            let (mut client, mut server) = pair();
            // Used there, so that the runtime's pollers know them.
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            (client, server)
        });
        drop(runtime);
        client.write_all(b"later").unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"later");
    });
}
