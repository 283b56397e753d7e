use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use filature::poller::Source;
use socket2::SockRef;

use super::{TcpStream, into_blocking, socket_for};
use crate::addr;

/// How many connections may wait to be accepted. The kernel cuts it down to
/// `net.core.somaxconn`, which is 4,096 unless somebody changed it.
const BACKLOG: i32 = 4096;

/// A TCP socket that accepts connections, as [`std::net::TcpListener`].
///
/// Dropping it closes it. See the [crate's page](crate) for what holds for every socket.
///
/// # Examples
///
/// One coroutine a connection:
///
/// ```no_run
/// use filature_net::TcpListener;
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// filature::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:9090")?;
///     loop {
///         let (mut stream, _) = listener.accept()?;
///         filature::spawn(move || {
///             let mut buf = [0; 1024];
///             while let Ok(n @ 1..) = stream.read(&mut buf) {
///                 if stream.write_all(&buf[..n].to_ascii_uppercase()).is_err() {
///                     break;
///                 }
///             }
///         });
///     }
/// })
/// # }
/// ```
pub struct TcpListener {
    source: Source,
    /// For [`Incoming`] to tell the end from an error; one for all clones, like the end. Goes after
    /// the source, as `into_fd` relies on.
    closed: Arc<AtomicBool>,
}

impl TcpListener {
    /// Binds to `addr` and listens there. Never suspends.
    ///
    /// Port 0 lets the system choose a free port, which [`local_addr`](Self::local_addr) then
    /// tells. Where `addr` yields several addresses, the first that can be bound is taken. As with
    /// std the address may be one that connections of an earlier process still linger on
    /// (`SO_REUSEADDR`). Up to 4,096 connections wait to be accepted, or as many as
    /// `net.core.somaxconn` allows if that is less.
    ///
    /// A host name is looked up by a call that blocks the thread; see the [crate's page](crate).
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse), [`PermissionDenied`](io::ErrorKind::PermissionDenied),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) or another of the system's for the
    /// last address tried; [`InvalidInput`](io::ErrorKind::InvalidInput) where `addr` yields no
    /// address or is no address at all.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        addr::first_success(addr, |addr| {
            let socket = socket_for(&addr)?;
            socket.set_reuse_address(true)?;
            socket.bind(&addr.into())?;
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from(OwnedFd::from(socket)))
        })
    }

    /// Waits for a connection and returns it with the address of its peer.
    ///
    /// The coroutine suspends while there is none; a plain thread blocks. Several coroutines and
    /// threads may accept from one listener at once: each connection goes to exactly one of them.
    ///
    /// # Errors
    ///
    /// The system's. Two do not mean that the listener is done for, and a server goes on after
    /// them: [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), where a peer gave up before it
    /// was accepted, and `EMFILE`/`ENFILE`, where descriptors have run out: the connection stays in
    /// the queue, so wait a little (or until some descriptor has been closed) before you try again.
    ///
    /// After [`close`](Self::close) it fails at once and for ever.
    ///
    /// # Shutdown
    ///
    /// A coroutine that is blocked here when its runtime shuts down is unwound. A connection that
    /// was being accepted at that moment is closed, not leaked.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, peer) = self.source.accept(None)?;
        Ok((TcpStream::from(fd), addr::ip(&peer)?))
    }

    /// The connections as they come: an iterator over [`accept`](Self::accept).
    ///
    /// It ends once this listener has been [closed](Self::close), and never before. Errors are
    /// items, and those of `accept` that pass are worth going on after.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// As [`incoming`](Self::incoming), by an iterator that owns the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    /// Stops listening, for this handle and all its [clones](Self::try_clone). Never suspends, and
    /// may be called from any thread.
    ///
    /// Every coroutine and thread that is blocked in [`accept`](Self::accept) returns from it with
    /// an error, and so does every later call; [`incoming`](Self::incoming) ends. What waits in
    /// the queue is reset, and new connections are refused. Streams that have been accepted are
    /// not affected. Closing twice is closing once. The port is free for others when the handles
    /// have been dropped.
    pub fn close(&self) {
        // Ordering: Release pairs with the Acquire in `is_closed`. Whoever sees an `accept` fail
        // because of the next line also sees the flag, since it is set first.
        self.closed.store(true, Ordering::Release);
        self.source.close();
    }

    /// The address and port that this listener is bound to.
    ///
    /// # Errors
    ///
    /// The system's, as with std; none is expected of a listener that came from
    /// [`bind`](Self::bind).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::ip(&self.socket().local_addr()?)
    }

    /// Another handle on the same socket, with a descriptor of its own.
    ///
    /// Each connection goes to whichever handle accepts it, and [`close`](Self::close) ends all of
    /// them. To share without a second descriptor, borrow the listener or put it into an `Arc`.
    ///
    /// Blocking mode is the socket's, not the handle's: what is converted into a descriptor or
    /// std's listener while clones live may be in non-blocking mode, and only the last is
    /// converted back to blocking mode.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` where descriptors have run out.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener {
            source: self.source.try_clone()?,
            closed: Arc::clone(&self.closed),
        })
    }

    /// Sets the time-to-live of the packets of connections accepted later.
    ///
    /// # Errors
    ///
    /// The system's: [`InvalidInput`](io::ErrorKind::InvalidInput) outside 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_ttl_v4(ttl)
    }

    /// The time-to-live of the packets of connections accepted later.
    ///
    /// # Errors
    ///
    /// The system's; none is expected.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl_v4()
    }

    /// Takes the error that is pending on the socket, if there is one (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, where the question itself failed; none is expected.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    fn is_closed(&self) -> bool {
        // Ordering: see `close`.
        self.closed.load(Ordering::Acquire)
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn from_source(source: Source) -> TcpListener {
        TcpListener {
            source,
            closed: Arc::default(),
        }
    }

    /// The descriptor, in blocking mode unless clones rely on the other: to
    /// accept without blocking takes the mode of the open file, which is theirs too.
    pub(super) fn into_fd(self) -> OwnedFd {
        let fd = self.source.into_fd();
        match Arc::into_inner(self.closed) {
            // This was the last handle, the sources of the others are gone.
            Some(_) => into_blocking(fd),
            None => fd,
        }
    }

    /// One step of the iterators.
    fn next_incoming(&self) -> Option<io::Result<TcpStream>> {
        match self.accept() {
            Ok((stream, _)) => Some(Ok(stream)),
            Err(_) if self.is_closed() => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}

/// The connections of a listener as they come; from [`TcpListener::incoming`].
///
/// Ends only when the listener has been [closed](TcpListener::close).
#[derive(Debug)]
#[must_use = "iterators are lazy: nothing is accepted until it is asked"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        self.listener.next_incoming()
    }
}

impl FusedIterator for Incoming<'_> {}

/// The connections of a listener that it owns; from [`TcpListener::into_incoming`].
///
/// Ends only when a [clone](TcpListener::try_clone) of the listener is
/// [closed](TcpListener::close).
#[derive(Debug)]
#[must_use = "iterators are lazy: nothing is accepted until it is asked"]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        self.listener.next_incoming()
    }
}

impl FusedIterator for IntoIncoming {}
