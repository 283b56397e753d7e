//! Binding, listening and accepting.

mod common;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use common::{everywhere, has_ipv6, listener, raise_descriptor_limit};
use filature_net::{TcpListener, TcpStream};

#[test]
fn port_zero_gets_a_free_port() {
    everywhere(|| {
        let (_one, one) = listener();
        let (_other, other) = listener();
        assert_ne!(one.port(), 0);
        assert_ne!(one, other);
    });
}

#[test]
fn a_port_in_use_cannot_be_bound_again() {
    everywhere(|| {
        let (_listener, addr) = listener();
        let error = TcpListener::bind(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    everywhere(|| {
        let error = TcpListener::bind("192.0.2.1:0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn what_is_no_address_cannot_be_bound() {
    everywhere(|| {
        for addr in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999"] {
            let error = TcpListener::bind(addr).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{addr:?}: {error}");
        }
    });
}

#[test]
fn binding_to_no_address_is_an_error() {
    everywhere(|| {
        let none: &[SocketAddr] = &[];
        let error = TcpListener::bind(none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn the_first_address_that_can_be_bound_is_taken() {
    everywhere(|| {
        let (_used, used) = listener();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound = TcpListener::bind(&[used, free][..]).unwrap();
        assert_ne!(bound.local_addr().unwrap(), used);
    });
}

#[test]
fn a_port_can_be_bound_again_right_after_a_server_ended_its_connections() {
    everywhere(|| {
        let (server, addr) = listener();
        let mut client = TcpStream::connect(addr).unwrap();
        let (stream, _) = server.accept().unwrap();
        // The side that ends first keeps the address lingering.
        drop(stream);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        drop(server);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn accept_tells_who_has_connected() {
    everywhere(|| {
        let (server, addr) = listener();
        let client = TcpStream::connect(addr).unwrap();
        let (stream, peer) = server.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.peer_addr().unwrap(), peer);
        assert_eq!(stream.local_addr().unwrap(), addr);
    });
}

#[test]
fn ipv6_works_like_ipv4() {
    if !has_ipv6() {
        return;
    }
    everywhere(|| {
        let server = TcpListener::bind("[::1]:0").unwrap();
        let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (mut stream, peer) = server.accept().unwrap();
        assert!(peer.is_ipv6());
        assert_eq!(peer, client.local_addr().unwrap());
        stream.write_all(b"six").unwrap();
        let mut got = [0; 3];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"six");
    });
}

#[test]
fn an_accept_waits_for_a_connection_that_comes_later() {
    everywhere(|| {
        let (server, addr) = listener();
        let accepting = filature::spawn(move || server.accept().unwrap().1);
        filature::yield_now();
        let client = TcpStream::connect(addr).unwrap();
        let peer = accepting.join().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn a_thousand_connections_wait_in_the_queue() {
    raise_descriptor_limit();
    everywhere(|| {
        let (server, addr) = listener();
        let clients: Vec<_> = (0..1024)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        let mut expected: HashSet<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        for _ in 0..clients.len() {
            let (_, peer) = server.accept().unwrap();
            assert!(expected.remove(&peer), "{peer} was accepted twice");
        }
    });
}

#[test]
fn several_acceptors_share_the_connections_of_one_listener() {
    const ACCEPTORS: usize = 8;
    const EACH: usize = 16;
    everywhere(|| {
        let (server, addr) = listener();
        let server = Arc::new(server);
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let server = Arc::clone(&server);
                filature::spawn(move || {
                    let accepted = (0..EACH).map(|_| server.accept().unwrap());
                    accepted.map(|(_, peer)| peer).collect::<Vec<_>>()
                })
            })
            .collect();
        let clients: Vec<_> = (0..ACCEPTORS * EACH)
            .map(|_| filature::spawn(move || TcpStream::connect(addr).unwrap()))
            .collect();
        let clients: Vec<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        let expected: HashSet<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();

        let accepted: Vec<_> = acceptors
            .into_iter()
            .flat_map(|a| a.join().unwrap())
            .collect();
        assert_eq!(accepted.len(), ACCEPTORS * EACH);
        assert_eq!(accepted.into_iter().collect::<HashSet<_>>(), expected);
    });
}

#[test]
fn clones_of_a_listener_accept_while_one_another_wait() {
    everywhere(|| {
        let (server, addr) = listener();
        let clone = server.try_clone().unwrap();
        let accepting = [server, clone].map(|l| filature::spawn(move || l.accept().unwrap().1));
        let clients = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        let accepted: HashSet<_> = accepting.map(|a| a.join().unwrap()).into();
        let expected: HashSet<_> = clients.map(|c| c.local_addr().unwrap()).into();
        assert_eq!(accepted, expected);
    });
}

#[test]
fn incoming_yields_every_connection() {
    everywhere(|| {
        let (server, addr) = listener();
        let serving = filature::spawn(move || {
            let streams = server.incoming().take(10).map(Result::unwrap);
            streams.map(|s| s.peer_addr().unwrap()).collect::<Vec<_>>()
        });
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let expected: Vec<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        assert_eq!(serving.join().unwrap(), expected);
    });
}

#[test]
fn into_incoming_keeps_the_listener_alive() {
    everywhere(|| {
        let (server, addr) = listener();
        let mut incoming = server.into_incoming();
        for _ in 0..3 {
            let client = TcpStream::connect(addr).unwrap();
            let stream = incoming.next().unwrap().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        }
    });
}

#[test]
fn a_plain_thread_can_serve_coroutines() {
    everywhere(|| {
        let (server, addr) = listener();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.write_all(b"from a thread").unwrap();
        });
        let mut got = String::new();
        TcpStream::connect(addr)
            .unwrap()
            .read_to_string(&mut got)
            .unwrap();
        assert_eq!(got, "from a thread");
        thread.join().unwrap();
    });
}

#[test]
fn the_time_to_live_can_be_set() {
    everywhere(|| {
        let (server, _) = listener();
        server.set_ttl(100).unwrap();
        assert_eq!(server.ttl().unwrap(), 100);
        assert_eq!(
            server.set_ttl(1000).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_healthy_listener_has_no_pending_error() {
    everywhere(|| assert!(listener().0.take_error().unwrap().is_none()));
}

#[test]
fn debug_shows_address_and_descriptor_as_std_does() {
    everywhere(|| {
        let (server, _) = listener();
        let ours = format!("{server:?}");
        let std = std::net::TcpListener::from(server);
        assert_eq!(ours, format!("{std:?}"));
    });
}

#[test]
fn a_listener_can_go_anywhere() {
    fn anywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    anywhere::<TcpListener>();
    anywhere::<filature_net::Incoming<'static>>();
    anywhere::<filature_net::IntoIncoming>();
}
