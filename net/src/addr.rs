//! Between std's addresses and the kernel's.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::SockAddr;

/// Tries `f` on each address in turn and returns its first success, or else its last error.
pub(crate) fn first_success<T>(
    addrs: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addrs.to_socket_addrs()? {
        match f(addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any address",
        )
    }))
}

/// An address that the kernel returned for what should be an IP socket.
///
/// It is not one when a descriptor of another family was converted into a socket of this crate.
pub(crate) fn ip(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket is neither IPv4 nor IPv6",
        )
    })
}
