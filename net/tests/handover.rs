//! Sockets that change hands between coroutines, workers and threads.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;

use common::{Counter, everywhere, on_a_thread, pair};
use filature_net::TcpStream;

/// Echoes until the end, on a plain thread, so that the test depends on no worker for it.
fn echo_on_a_thread(stream: TcpStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    })
}

fn round_trip(mut stream: &TcpStream, byte: u8) {
    stream.write_all(&[byte; 100]).unwrap();
    let mut got = [0; 100];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, [byte; 100]);
}

#[test]
fn a_stream_wanders_from_coroutine_to_coroutine() {
    everywhere(|| {
        let (mut client, server) = pair();
        let echo = echo_on_a_thread(server);
        for byte in 0..100 {
            client = filature::spawn(move || {
                round_trip(&client, byte);
                client
            })
            .join()
            .unwrap();
        }
        drop(client);
        echo.join().unwrap();
    });
}

#[test]
fn a_stream_wanders_between_coroutines_and_threads() {
    everywhere(|| {
        let (mut client, server) = pair();
        let echo = echo_on_a_thread(server);
        for byte in 0..20 {
            let turn = move || {
                round_trip(&client, byte);
                client
            };
            client = match byte % 2 {
                0 => on_a_thread(turn),
                _ => filature::spawn(turn).join().unwrap(),
            };
        }
        drop(client);
        echo.join().unwrap();
    });
}

#[test]
fn a_shared_stream_is_used_from_every_worker_in_turn() {
    everywhere(|| {
        let (client, server) = pair();
        let client = Arc::new(client);
        let echo = echo_on_a_thread(server);
        // All at once, so that they settle on every worker, but each waits for its turn.
        let turn = Counter::default();
        let users: Vec<_> = (0..32)
            .map(|byte| {
                let (client, turn) = (Arc::clone(&client), turn.clone());
                filature::spawn(move || {
                    turn.wait_for(usize::from(byte) + 1);
                    round_trip(&client, byte);
                })
            })
            .collect();
        for user in users {
            turn.add();
            user.join().unwrap();
        }
        drop(client);
        echo.join().unwrap();
    });
}

#[test]
fn readers_on_different_workers_take_turns_at_one_stream() {
    everywhere(|| {
        let (client, mut server) = pair();
        let client = Arc::new(client);
        let mut readers = Vec::new();
        for _ in 0..16 {
            let client = Arc::clone(&client);
            readers.push(filature::spawn(move || {
                let mut got = [0];
                (&*client).read_exact(&mut got).unwrap();
                got[0]
            }));
        }
        let mut expected: Vec<u8> = (0..16).collect();
        server.write_all(&expected).unwrap();
        let mut got: Vec<u8> = readers.into_iter().map(|r| r.join().unwrap()).collect();
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected);
    });
}

#[test]
fn a_coroutine_of_one_runtime_talks_to_one_of_another() {
    everywhere(|| {
        let (client, server) = pair();
        let other = filature::Runtime::builder().workers(1).build().unwrap();
        let echo = other.spawn(move || std::io::copy(&mut &server, &mut &server).unwrap());
        for byte in 0..20 {
            round_trip(&client, byte);
        }
        drop(client);
        assert_eq!(echo.join().unwrap(), 20 * 100);
        on_a_thread(move || drop(other));
    });
}
