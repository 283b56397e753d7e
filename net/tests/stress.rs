//! Many coroutines, random sizes, random scheduling, every byte checked.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use common::{Random, everywhere_at_random, listener, pair};
use filature_net::{TcpListener, TcpStream};

/// How much work a debug build does in reasonable time on two cores.
const STREAMS: usize = 64;
const BYTES: usize = 128 << 10;

/// Sends `total` bytes of `random` in pieces of random size.
fn send(mut stream: &TcpStream, mut random: Random, mut sizes: Random, total: usize) {
    let mut buf = vec![0; 16 << 10];
    let mut sent = 0;
    while sent < total {
        // Pieces are whole words, except for the last, so that both sides draw the same words.
        let size = (8 + sizes.below(buf.len() / 8) * 8).min(total - sent);
        let piece = &mut buf[..size];
        random.fill(piece);
        stream.write_all(piece).unwrap();
        sent += piece.len();
        if sizes.below(8) == 0 {
            filature::yield_now();
        }
    }
}

/// Expects what [`send`] sends, in pieces of its own random size.
fn receive(mut stream: &TcpStream, mut random: Random, mut sizes: Random, total: usize) {
    let (mut buf, mut expected) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut received = 0;
    while received < total {
        let size = (8 + sizes.below(buf.len() / 8) * 8).min(total - received);
        stream.read_exact(&mut buf[..size]).unwrap();
        random.fill(&mut expected[..size]);
        assert!(
            buf[..size] == expected[..size],
            "wrong bytes after {received} of {total}"
        );
        received += size;
        if sizes.below(8) == 0 {
            filature::yield_now();
        }
    }
}

/// Both ends send and receive at once, each direction with bytes of its own.
fn exchange(stream: TcpStream, sending: Random, receiving: Random, mut sizes: Random) {
    let stream = Arc::new(stream);
    let writer = Arc::clone(&stream);
    let writer_sizes = sizes.fork();
    let writing = filature::spawn(move || {
        send(&writer, sending, writer_sizes, BYTES);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    receive(&stream, receiving, sizes, BYTES);
    assert_eq!((&*stream).read(&mut [0]).unwrap(), 0);
    writing.join().unwrap();
}

#[test]
fn random_streams_arrive_byte_for_byte_in_both_directions() {
    everywhere_at_random(|mut random| {
        let ends: Vec<_> = (0..STREAMS)
            .flat_map(|_| {
                let (client, server) = pair();
                let (there, back) = (random.fork(), random.fork());
                [
                    (client, there.clone(), back.clone(), random.fork()),
                    (server, back, there, random.fork()),
                ]
            })
            .map(|(stream, sending, receiving, sizes)| {
                filature::spawn(move || exchange(stream, sending, receiving, sizes))
            })
            .collect();
        ends.into_iter().for_each(|end| end.join().unwrap());
    });
}

/// Echoes every connection in a coroutine of its own until the listener is closed.
fn echo(server: &TcpListener) {
    for stream in server.incoming() {
        let stream = stream.unwrap();
        filature::spawn(move || std::io::copy(&mut &stream, &mut &stream));
    }
}

/// Connects, says a little, expects it back, and leaves; again and again.
fn come_and_go(addr: SocketAddr, mut random: Random, times: usize) {
    for _ in 0..times {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut sent = vec![0; 1 + random.below(2000)];
        random.fill(&mut sent);
        let mut got = vec![0; sent.len()];
        stream.write_all(&sent).unwrap();
        stream.read_exact(&mut got).unwrap();
        assert!(got == sent);
    }
}

#[test]
fn connections_that_come_and_go_are_all_served() {
    everywhere_at_random(|mut random| {
        let (server, addr) = listener();
        let server = Arc::new(server);
        let serving = {
            let server = Arc::clone(&server);
            filature::spawn(move || echo(&server))
        };
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let random = random.fork();
                filature::spawn(move || come_and_go(addr, random, 10))
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        server.close();
        serving.join().unwrap();
    });
}

#[test]
fn closing_at_random_moments_hangs_nobody() {
    everywhere_at_random(|mut random| {
        let rounds: Vec<_> = (0..100)
            .map(|_| {
                let mut random = random.fork();
                filature::spawn(move || {
                    let (client, server) = pair();
                    let (client, server) = (Arc::new(client), Arc::new(server));
                    let writer = Arc::clone(&server);
                    let writing = filature::spawn(move || {
                        let chunk = [0; 8 << 10];
                        while (&*writer).write(&chunk).is_ok() {}
                    });
                    let reader = Arc::clone(&client);
                    let reading = filature::spawn(move || {
                        let mut buf = [0; 8 << 10];
                        while (&*reader).read(&mut buf).is_ok_and(|n| n > 0) {}
                    });
                    for _ in 0..random.below(20) {
                        filature::yield_now();
                    }
                    match random.below(3) {
                        0 => client.close(),
                        1 => server.close(),
                        _ => server.shutdown(Shutdown::Both).unwrap(),
                    }
                    drop((client, server));
                    // Each ends by its own close, or by what the other's end did to it.
                    reading.join().unwrap();
                    writing.join().unwrap();
                })
            })
            .collect();
        rounds.into_iter().for_each(|r| r.join().unwrap());
    });
}
