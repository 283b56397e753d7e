//! Descriptors and std's types, both ways.

mod common;

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use common::{everywhere, listener, on_a_thread, pair};
use filature_net::{TcpListener, TcpStream};

/// `one` and `other` are the ends of one connection that works.
fn assert_connected(one: &mut (impl Read + Write), other: &mut (impl Read + Write)) {
    let mut got = [0; 4];
    one.write_all(b"over").unwrap();
    other.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"over");
    other.write_all(b"back").unwrap();
    one.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"back");
}

fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: F_GETFL reads the flags of a descriptor that the borrow keeps open.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn a_stream_goes_to_std_and_back() {
    everywhere(|| {
        let (client, mut server) = pair();
        let std = std::net::TcpStream::from(client);
        let mut client = TcpStream::from(std);
        assert_connected(&mut client, &mut server);
    });
}

#[test]
fn a_stream_that_has_waited_works_as_stds_on_a_thread() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        // Both ends have been waited on by the poller.
        let reading = filature::spawn(move || {
            client.read_exact(&mut [0]).unwrap();
            client
        });
        filature::yield_now();
        server.write_all(&[1]).unwrap();
        let client = reading.join().unwrap();
        let (mut client, mut server) = (
            std::net::TcpStream::from(client),
            std::net::TcpStream::from(server),
        );
        on_a_thread(move || assert_connected(&mut client, &mut server));
    });
}

#[test]
fn std_gets_sockets_in_blocking_mode() {
    everywhere(|| {
        let (client, server) = pair();
        for stream in [client, server] {
            assert!(!is_nonblocking(&std::net::TcpStream::from(stream)));
        }
        let (listener, _) = listener();
        assert!(!is_nonblocking(&std::net::TcpListener::from(listener)));
    });
}

#[test]
fn a_clone_that_becomes_stds_does_not_have_the_others_block_their_worker() {
    everywhere(|| {
        let (one, addr) = listener();
        let other = one.try_clone().unwrap();
        for listener in [&one, &other] {
            let _client = TcpStream::connect(addr).unwrap();
            listener.accept().unwrap();
        }
        let std = std::net::TcpListener::from(other);
        let accepting = filature::spawn_local(move || one.accept().unwrap());
        filature::yield_now();
        // On the worker that accepts, and so it goes on only if that does not block.
        let connecting = filature::spawn_local(move || TcpStream::connect(addr).unwrap());
        connecting.join().unwrap();
        accepting.join().unwrap();
        drop(std);
    });
}

#[test]
fn the_last_clone_gives_std_blocking_mode() {
    everywhere(|| {
        let (one, addr) = listener();
        let other = one.try_clone().unwrap();
        let _client = TcpStream::connect(addr).unwrap();
        one.accept().unwrap();
        let one = std::net::TcpListener::from(one);
        assert!(is_nonblocking(&one));
        let other = std::net::TcpListener::from(other);
        assert!(!is_nonblocking(&one));
        assert!(!is_nonblocking(&other));
    });
}

#[test]
fn a_std_listener_becomes_ours() {
    everywhere(|| {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = std.local_addr().unwrap();
        let server = TcpListener::from(std);
        let accepting = filature::spawn(move || server.accept().unwrap().0);
        filature::yield_now();
        let mut client = TcpStream::connect(addr).unwrap();
        assert_connected(&mut client, &mut accepting.join().unwrap());
    });
}

#[test]
fn our_listener_becomes_stds() {
    everywhere(|| {
        let (server, addr) = listener();
        let std = std::net::TcpListener::from(server);
        let mut client = TcpStream::connect(addr).unwrap();
        let mut server = TcpStream::from(std.accept().unwrap().0);
        assert_connected(&mut client, &mut server);
    });
}

#[test]
fn nonblocking_sockets_of_std_block_here() {
    everywhere(|| {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(true).unwrap();
        let addr = std.local_addr().unwrap();
        let server = TcpListener::from(std);
        let serving = filature::spawn(move || {
            let (stream, _) = server.accept().unwrap();
            let std = std::net::TcpStream::from(stream);
            std.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from(std);
            let mut got = [0; 2];
            stream.read_exact(&mut got).unwrap();
            got
        });
        filature::yield_now();
        let mut client = TcpStream::connect(addr).unwrap();
        filature::yield_now();
        client.write_all(b"ok").unwrap();
        assert_eq!(&serving.join().unwrap(), b"ok");
    });
}

#[test]
fn timeouts_go_to_std_and_back() {
    everywhere(|| {
        let (client, _server) = pair();
        let read = Some(Duration::from_secs(7));
        let write = Some(Duration::from_secs(8));
        client.set_read_timeout(read).unwrap();
        client.set_write_timeout(write).unwrap();
        let std = std::net::TcpStream::from(client);
        assert_eq!(std.read_timeout().unwrap(), read);
        assert_eq!(std.write_timeout().unwrap(), write);
        let client = TcpStream::from(std);
        assert_eq!(client.read_timeout().unwrap(), read);
        assert_eq!(client.write_timeout().unwrap(), write);
        client.set_read_timeout(None).unwrap();
        let std = std::net::TcpStream::from(client);
        assert_eq!(std.read_timeout().unwrap(), None);
    });
}

#[test]
fn an_owned_descriptor_becomes_a_stream_and_back() {
    everywhere(|| {
        let (client, mut server) = pair();
        let raw = client.as_raw_fd();
        assert_eq!(client.as_fd().as_raw_fd(), raw);
        let fd = OwnedFd::from(client);
        assert_eq!(fd.as_raw_fd(), raw);
        let mut client = TcpStream::from(fd);
        assert_connected(&mut client, &mut server);
    });
}

#[test]
fn a_raw_descriptor_becomes_a_stream_and_back() {
    everywhere(|| {
        let (client, mut server) = pair();
        let raw = client.into_raw_fd();
        // SAFETY: `into_raw_fd` has just given up the ownership of `raw`, which we pass on.
        let mut client = unsafe { TcpStream::from_raw_fd(raw) };
        assert_connected(&mut client, &mut server);
        let (listener, addr) = listener();
        let raw = listener.into_raw_fd();
        // SAFETY: as above.
        let listener = unsafe { TcpListener::from_raw_fd(raw) };
        assert_eq!(listener.local_addr().unwrap(), addr);
    });
}

#[test]
fn what_is_no_socket_fails_with_an_error() {
    everywhere(|| {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let mut stream = TcpStream::from(null());
        assert!(stream.read(&mut [0]).is_err());
        assert!(stream.write(&[0]).is_err());
        assert!(stream.peer_addr().is_err());
        assert!(TcpListener::from(null()).accept().is_err());
    });
}

#[test]
fn descriptors_are_closed_on_exec() {
    everywhere(|| {
        let (server, addr) = listener();
        let client = TcpStream::connect(addr).unwrap();
        let (accepted, _) = server.accept().unwrap();
        let clone = accepted.try_clone().unwrap();
        let fds = [
            server.as_raw_fd(),
            client.as_raw_fd(),
            accepted.as_raw_fd(),
            clone.as_raw_fd(),
        ];
        for fd in fds {
            // SAFETY: F_GETFD reads the flags of a descriptor whose owner is alive above.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            assert_ne!(flags & libc::FD_CLOEXEC, 0);
        }
    });
}
