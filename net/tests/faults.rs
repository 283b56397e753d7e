//! Peers that misbehave and resources that run out.

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};

use common::{everywhere, listener, pair, reset_on_close, with_each_runtime};
use filature_net::TcpStream;

#[test]
fn a_reset_is_an_error_of_the_read() {
    everywhere(|| {
        let (client, mut server) = pair();
        let reading = filature::spawn(move || server.read(&mut [0]).unwrap_err().kind());
        filature::yield_now();
        reset_on_close(&client);
        drop(client);
        assert_eq!(reading.join().unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_is_an_error_of_the_write() {
    everywhere(|| {
        let (client, mut server) = pair();
        let writing = filature::spawn(move || {
            let chunk = [0; 64 << 10];
            loop {
                if let Err(error) = server.write(&chunk) {
                    return error.kind();
                }
            }
        });
        filature::yield_now();
        reset_on_close(&client);
        drop(client);
        let kind = writing.join().unwrap();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{kind:?}"
        );
    });
}

#[test]
fn the_pending_error_of_a_reset_can_be_taken() {
    everywhere(|| {
        let (client, server) = pair();
        reset_on_close(&client);
        drop(client);
        // On the loopback the reset has arrived when closing returns.
        let error = server.take_error().unwrap().expect("a pending error");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(server.take_error().unwrap().is_none());
    });
}

#[test]
fn a_server_goes_on_after_connections_reset_in_its_queue() {
    everywhere(|| {
        let (server, addr) = listener();
        for _ in 0..10 {
            let client = TcpStream::connect(addr).unwrap();
            reset_on_close(&client);
        }
        let last = TcpStream::connect(addr).unwrap();
        loop {
            match server.accept() {
                Ok((_, peer)) if peer == last.local_addr().unwrap() => break,
                Ok((mut stream, _)) => {
                    let error = stream.read(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
            }
        }
    });
}

#[test]
fn resets_in_the_middle_leave_other_connections_alone() {
    everywhere(|| {
        let (server, addr) = listener();
        let serving = filature::spawn(move || {
            let handlers: Vec<_> = (0..40)
                .map(|_| {
                    let (stream, _) = server.accept().unwrap();
                    filature::spawn(move || std::io::copy(&mut &stream, &mut &stream).is_ok())
                })
                .collect();
            let ends = handlers.into_iter().map(|h| h.join().unwrap());
            ends.filter(|&well| well).count()
        });
        let clients: Vec<_> = (0..40u8)
            .map(|id| {
                filature::spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(&[id; 512]).unwrap();
                    if id % 2 == 0 {
                        // What comes back is never read: a reset by any means.
                        reset_on_close(&stream);
                        return;
                    }
                    let mut got = [0; 512];
                    stream.read_exact(&mut got).unwrap();
                    assert_eq!(got, [id; 512]);
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        assert!(serving.join().unwrap() >= 20);
    });
}

#[test]
fn a_half_closed_connection_carries_a_long_answer() {
    const LENGTH: usize = 4 << 20;
    everywhere(|| {
        let (mut client, mut server) = pair();
        let answering = filature::spawn(move || {
            let mut question = Vec::new();
            server.read_to_end(&mut question).unwrap();
            server.write_all(&vec![question[0]; LENGTH]).unwrap();
        });
        client.write_all(&[42]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), LENGTH);
        assert!(answer.iter().all(|&byte| byte == 42));
        answering.join().unwrap();
    });
}

/// Set in the process that [`a_server_goes_on_after_descriptors_ran_out`] starts.
const CHILD: &str = "FILATURE_NET_TEST_CHILD";
const CONNECTIONS: usize = 64;

/// The server, in a process of its own: the limit is the whole process's.
///
/// Greets every connection with a byte, keeps them all open until descriptors run out, closes them
/// then and goes on.
fn serve_with_few_descriptors() {
    with_each_runtime(|runtime| {
        runtime.run(|| {
            let (server, addr) = listener();
            let unlimited = common::descriptor_limit();
            let mut limit = unlimited;
            // Those that are open stay so. The next one would be `lowest`; ten may follow.
            let lowest = std::fs::File::open("/dev/null").unwrap();
            limit.rlim_cur = std::os::fd::AsRawFd::as_raw_fd(&lowest) as libc::rlim_t + 10;
            drop(lowest);
            common::set_descriptor_limit(limit);
            println!("listening {addr}");

            let (mut held, mut greeted, mut exhausted) = (Vec::new(), 0, 0);
            while greeted < CONNECTIONS {
                match server.accept() {
                    Ok((mut stream, _)) => {
                        stream.write_all(b"!").unwrap();
                        greeted += 1;
                        held.push(stream);
                    }
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                        assert!(!held.is_empty(), "closing has freed nothing");
                        held.clear();
                        exhausted += 1;
                    }
                }
            }
            common::set_descriptor_limit(unlimited);
            println!("exhausted {exhausted}");
        });
    });
}

#[test]
fn a_server_goes_on_after_descriptors_ran_out() {
    if std::env::var_os(CHILD).is_some() {
        return serve_with_few_descriptors();
    }
    let _watchdog = common::Watchdog::new("a child process".to_owned());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["a_server_goes_on_after_descriptors_ran_out", "--exact"])
        .arg("--nocapture")
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut runs = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The harness prints a line's beginning of its own before the first.
        if let Some((_, addr)) = line.split_once("listening ") {
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|_| std::net::TcpStream::connect(addr).unwrap())
                .collect();
            for mut client in clients {
                let mut greeting = [0];
                client.read_exact(&mut greeting).unwrap();
                assert_eq!(&greeting, b"!");
            }
        } else if let Some((_, times)) = line.split_once("exhausted ") {
            assert_ne!(times.parse::<u32>().unwrap(), 0);
            runs += 1;
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(runs >= 3, "only {runs} setups have run");
}
