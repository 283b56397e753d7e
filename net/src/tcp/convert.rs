//! Descriptors and std's types, both ways.
//!
//! Coming in, a descriptor may be in blocking or non-blocking mode. Going out, it is in blocking
//! mode, which is what std and everybody who takes a descriptor from it expect, but for a listener
//! whose clones live and rely on the other mode. Nothing is in flight when a socket is taken apart, since every call borrows it until the kernel is done.

use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use filature::poller::Source;

use super::{TcpListener, TcpStream};

macro_rules! descriptors {
    ($socket:ident) => {
        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.source().as_raw_fd()
            }
        }

        impl From<OwnedFd> for $socket {
            /// Takes over a descriptor, in blocking or non-blocking mode. It is not checked that
            /// it is a socket of this kind: where it is not, calls fail with the system's errors.
            fn from(fd: OwnedFd) -> Self {
                Self::from_source(Source::from(fd))
            }
        }

        impl FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller promises, as `FromRawFd` asks, that `fd` is open and that its
                // ownership goes over to us.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl From<$socket> for OwnedFd {
            /// The descriptor, in blocking mode, except for a listener whose clones live.
            fn from(socket: $socket) -> Self {
                socket.into_fd()
            }
        }

        impl IntoRawFd for $socket {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}

descriptors!(TcpListener);
descriptors!(TcpStream);

impl From<net::TcpListener> for TcpListener {
    fn from(listener: net::TcpListener) -> Self {
        OwnedFd::from(listener).into()
    }
}

impl From<TcpListener> for net::TcpListener {
    /// The listener, in blocking mode; while [clones](TcpListener::try_clone) of it live, in
    /// whichever mode these need.
    fn from(listener: TcpListener) -> Self {
        OwnedFd::from(listener).into()
    }
}

impl From<net::TcpStream> for TcpStream {
    /// Takes over the connection with its timeouts.
    fn from(stream: net::TcpStream) -> Self {
        let read = stream.read_timeout().unwrap_or_default();
        let write = stream.write_timeout().unwrap_or_default();
        let stream = TcpStream::from(OwnedFd::from(stream));
        // std never returns a timeout of zero, the only one that is refused here.
        let _ = stream.set_read_timeout(read);
        let _ = stream.set_write_timeout(write);
        stream
    }
}

impl From<TcpStream> for net::TcpStream {
    /// The connection, in blocking mode and with its timeouts.
    fn from(stream: TcpStream) -> Self {
        let timeouts = stream.timeouts();
        let (read, write) = (timeouts.read().get(), timeouts.write().get());
        let stream = net::TcpStream::from(OwnedFd::from(stream));
        // Cannot fail: neither is zero, and std cuts off what is too long for the system.
        let _ = stream.set_read_timeout(read);
        let _ = stream.set_write_timeout(write);
        stream
    }
}
