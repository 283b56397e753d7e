//! The echo server, run as a user would.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;

use common::{POLLERS, Running, assert_fails, run, text};

fn echo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo"));
    command.args(args);
    command
}

fn serving(poller: &str) -> Running {
    Running::start(&mut echo(&["--addr", "127.0.0.1:0", "--io", poller]))
}

#[test]
fn help_tells_of_every_option() {
    let output = run(&mut echo(&["--help"]));
    assert!(output.status.success());
    let options = [
        "addr",
        "workers",
        "io",
        "demo",
        "connections",
        "size",
        "seconds",
    ];
    for option in options {
        let option = format!("--{option}");
        assert!(text(&output.stdout).contains(&option), "{option}");
    }
}

#[test]
fn a_bad_command_line_is_one_clear_line() {
    assert_fails(&mut echo(&["--frobnicate"]), 2, &["--frobnicate", "--help"]);
    assert_fails(&mut echo(&["serve"]), 2, &["serve", "--help"]);
    assert_fails(&mut echo(&["--addr"]), 2, &["--addr", "missing"]);
    assert_fails(&mut echo(&["--workers", "0"]), 2, &["--workers", "0"]);
    assert_fails(&mut echo(&["--io", "kqueue"]), 2, &["kqueue", "epoll"]);
    assert_fails(&mut echo(&["--demo", "--size", "x"]), 2, &["--size", "x"]);
    assert_fails(&mut echo(&["--size", "9"]), 2, &["--size", "--demo"]);
    assert_fails(&mut echo(&["--demo=yes"]), 2, &["--demo"]);
}

#[test]
fn a_bad_address_is_one_clear_line() {
    for addr in ["nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        assert_fails(&mut echo(&["--addr", addr]), 2, &[addr, "HOST:PORT"]);
    }
    let elsewhere = ["--addr", "192.0.2.1:80"];
    assert_fails(&mut echo(&elsewhere), 1, &["cannot listen", "192.0.2.1:80"]);
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = used.local_addr().unwrap().to_string();
    assert_fails(
        &mut echo(&["--addr", &addr]),
        1,
        &[&addr, "in use", "--addr"],
    );
}

#[test]
fn a_bad_value_in_the_environment_names_its_variable() {
    let mut command = echo(&["--demo"]);
    command.env("FILATURE_IO", "kqueue");
    assert_fails(&mut command, 1, &["FILATURE_IO", "kqueue", "epoll"]);
}

#[test]
fn it_echoes_and_counts_and_stops_on_ctrl_c() {
    for poller in POLLERS {
        let mut server = serving(poller);
        let mut client = TcpStream::connect(server.listening()).unwrap();
        client.write_all(b"hello").unwrap();
        let mut got = [0; 5];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        while !server.line().contains("  1 open ") {}

        server.signal(libc::SIGINT);
        // The connection is ended by the server, and properly.
        assert_eq!(client.read(&mut got).unwrap(), 0);
        let mut rest = String::new();
        server.stdout.read_to_string(&mut rest).unwrap();
        let summary = rest.lines().last().unwrap();
        assert!(summary.contains("1 connection, 1 message"), "{summary}");
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

/// Until the peer's system has acknowledged all that was sent.
fn wait_until_arrived(stream: &TcpStream) {
    loop {
        let mut left: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the call writes an int.
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
        assert_eq!(result, 0);
        if left == 0 {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_has_arrived_before_ctrl_c_is_still_echoed() {
    // The buffers of the way back take all of it, so that all of it can arrive.
    const LENGTH: usize = 256 << 10;
    for poller in POLLERS {
        let mut server = serving(poller);
        let mut client = TcpStream::connect(server.listening()).unwrap();
        let sent: Vec<u8> = (0..LENGTH).map(|index| index as u8).collect();
        let (mut writer, message) = (client.try_clone().unwrap(), sent.clone());
        let writing = std::thread::spawn(move || {
            writer.write_all(&message).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = vec![0; LENGTH];
        client.read_exact(&mut got[..1]).unwrap();
        // Until then nobody reads more than one byte here: most of it is on its way back.
        writing.join().unwrap();
        wait_until_arrived(&client);
        server.signal(libc::SIGINT);
        client.read_exact(&mut got[1..]).unwrap();
        assert!(got == sent);
        assert_eq!(server.wait().0.code(), Some(0));
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_it_from_stopping() {
    for poller in POLLERS {
        let mut server = serving(poller);
        let mut client = TcpStream::connect(server.listening()).unwrap();
        client.set_nonblocking(true).unwrap();
        // Until the server is stuck in writing to us, and then until we are in writing to it.
        let chunk = [0; 64 << 10];
        let mut refused = 0;
        while refused < 100 {
            match client.write(&chunk) {
                Ok(_) => refused = 0,
                Err(_) => refused += 1,
            }
            std::thread::yield_now();
        }
        server.signal(libc::SIGINT);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut server = serving("epoll");
    let addr = server.listening();
    let mut idle = TcpStream::connect(addr).unwrap();
    assert!(is_served(&idle));
    let mut stuck = TcpStream::connect(addr).unwrap();
    stuck.set_nonblocking(true).unwrap();
    let chunk = [0; 64 << 10];
    while stuck.write(&chunk).is_ok() {}
    server.signal(libc::SIGINT);
    // It has begun to stop when the idle connection ends, and waits for the other one.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    server.signal(libc::SIGINT);
    // 0 where this machine was so slow that the second came when it had stopped.
    assert!(matches!(server.wait().0.code(), Some(130 | 0)));
}

/// Whether what the client says comes back.
fn is_served(mut client: &TcpStream) -> bool {
    client.write_all(b"?").is_ok() && client.read(&mut [0]).is_ok_and(|n| n == 1)
}

#[test]
fn sigquit_prints_a_dump_and_the_server_goes_on() {
    for poller in POLLERS {
        let mut server = serving(poller);
        let addr = server.listening();
        let idle = TcpStream::connect(addr).unwrap();
        assert!(is_served(&idle));
        server.signal(libc::SIGQUIT);
        assert!(is_served(&TcpStream::connect(addr).unwrap()));
        // Signals are answered in order, and the dump comes before the stop.
        while !server.line().contains(" open ") {}
        server.signal(libc::SIGINT);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(!stderr.trim().is_empty(), "no dump");
    }
}

#[test]
fn the_demo_succeeds_on_both_pollers() {
    for poller in POLLERS {
        let mut command = echo(&["--demo", "--connections", "50", "--seconds", "1"]);
        command.env("FILATURE_IO", poller);
        let output = run(&mut command);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        let expected = [
            poller,
            "messages/s",
            "p50",
            "p99.9",
            "steals",
            "came back right",
        ];
        for word in expected {
            assert!(stdout.contains(word), "no {word:?} in {stdout}");
        }
        // No round trip over a socket takes nanoseconds.
        assert!(!stdout.contains(" ns"), "{stdout}");
    }
}

#[test]
fn the_demo_takes_messages_larger_than_every_buffer() {
    let args = [
        "--demo",
        "--connections",
        "3",
        "--seconds",
        "1",
        "--size",
        "20000000",
    ];
    let output = run(&mut echo(&args));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_demo_ends_early_on_ctrl_c_with_what_it_has() {
    let mut demo = Running::start(&mut echo(&[
        "--demo",
        "--connections",
        "5",
        "--seconds",
        "3600",
    ]));
    assert!(demo.line().contains("5 connections"));
    demo.signal(libc::SIGINT);
    let (status, stderr) = demo.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[test]
fn the_demo_says_when_descriptors_do_not_suffice() {
    let script = format!("ulimit -n 400; exec {} --demo", env!("CARGO_BIN_EXE_echo"));
    let mut command = Command::new("sh");
    let words = [
        "500 connections",
        "1,256",
        "400",
        "--connections 72",
        "ulimit",
    ];
    assert_fails(command.args(["-c", &script]), 1, &words);
}
