//! TCP: [`listener`](TcpListener) accepts, [`stream`](TcpStream) talks, [`timeout`] bounds the talk,
//! `convert` goes to and from descriptors and std's types.

mod convert;
mod listener;
mod stream;
mod timeout;

pub use listener::{Incoming, IntoIncoming, TcpListener};
pub use stream::TcpStream;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// A new TCP socket, close-on-exec, for an address of `addr`'s family.
fn socket_for(addr: &SocketAddr) -> io::Result<Socket> {
    Socket::new(
        Domain::for_address(*addr),
        Type::STREAM,
        Some(Protocol::TCP),
    )
}

/// Hands a descriptor over to code that expects what std gives: blocking mode.
fn into_blocking(fd: OwnedFd) -> OwnedFd {
    // Cannot fail on a descriptor that is open, which an `OwnedFd` is.
    let _ = socket2::SockRef::from(&fd).set_nonblocking(false);
    fd
}
