//! The upper-casing server under the client it was written for: five hundred threads of std.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{POLLERS, Running, assert_fails};

const CLIENTS: usize = 500;
const ROUNDS: usize = 5;

fn serving(poller: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upper"));
    Running::start(command.args(["--addr", "127.0.0.1:0", "--io", poller]))
}

/// Says hello with its thread's name, a few times.
fn client(addr: SocketAddr) {
    let mut stream = TcpStream::connect(addr).unwrap();
    for _ in 0..ROUNDS {
        let said = format!("{} say hello", thread::current().name().unwrap());
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = vec![0; said.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), said.to_uppercase());
    }
}

#[test]
fn five_hundred_threads_are_answered_in_upper_case() {
    for poller in POLLERS {
        let mut server = serving(poller);
        let addr = server.listening();
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                let thread = thread::Builder::new().name(format!("Thread-{number}"));
                thread.spawn(move || client(addr)).unwrap()
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        server.signal(libc::SIGINT);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn a_client_that_resets_its_connection_harms_nobody_else() {
    for poller in POLLERS {
        let mut server = serving(poller);
        let addr = server.listening();
        for _ in 0..20 {
            let stream = TcpStream::connect(addr).unwrap();
            reset_on_close(&stream);
        }
        let named = thread::Builder::new().name("the last".to_owned());
        let last = named.spawn(move || client(addr)).unwrap();
        last.join().unwrap();
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().0.code(), Some(0));
    }
}

/// Makes closing the stream reset the connection.
fn reset_on_close(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_bad_command_line_is_one_clear_line() {
    let upper = || Command::new(env!("CARGO_BIN_EXE_upper"));
    assert_fails(upper().arg("--demo"), 2, &["--demo", "--help"]);
    assert_fails(upper().args(["--addr", "here"]), 2, &["here", "HOST:PORT"]);
}
