use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use filature::poller::Source;
use socket2::SockRef;

use super::timeout::{Timeouts, deadline_after, nonzero};
use super::{into_blocking, socket_for};
use crate::addr;

/// A TCP connection, as [`std::net::TcpStream`].
///
/// [`Read`] and [`Write`] are implemented both for `TcpStream` and for `&TcpStream`, so that one
/// coroutine can read while another writes without a lock or a clone. Reads see the bytes in
/// order, but how two readers of one stream share them is left to chance; the same for two
/// writers whose calls need more than one step.
///
/// Dropping the last handle closes the connection: what has been written is still delivered. See
/// the [crate's page](crate) for what holds for every socket.
///
/// # Blocking, timeouts, shutdown
///
/// `read` and its kin suspend the coroutine until there is at least one byte, the peer has ended its
/// side (`Ok(0)`), or the connection has failed. `write` and its kin suspend it until the system
/// has taken at least one byte. On a plain thread they block the thread.
///
/// With a [read](Self::set_read_timeout) or [write timeout](Self::set_write_timeout) the call
/// ends with [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut) when it has waited that long. (std
/// says `WouldBlock` or `TimedOut`, depending on the platform.) A call that ends so has read or
/// written nothing.
///
/// A coroutine that is blocked when its runtime shuts down is unwound; see the crate's page.
///
/// # Examples
///
/// ```
/// use filature_net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
/// use std::sync::Arc;
///
/// # fn main() -> std::io::Result<()> {
/// filature::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let client = Arc::new(TcpStream::connect(listener.local_addr()?)?);
///     let (mut server, _) = listener.accept()?;
///
///     let writer = Arc::clone(&client);
///     filature::spawn(move || {
///         (&*writer).write_all(b"read and written at once")?;
///         writer.shutdown(Shutdown::Write)
///     });
///     filature::spawn(move || std::io::copy(&mut server.try_clone()?, &mut server));
///
///     let mut echoed = String::new();
///     (&*client).read_to_string(&mut echoed)?;
///     assert_eq!(echoed, "read and written at once");
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpStream {
    source: Source,
    timeouts: Timeouts,
}

impl TcpStream {
    /// Connects to `addr`. Where it yields several addresses, each is tried in turn.
    ///
    /// The coroutine suspends until the connection stands or has failed; a plain thread blocks.
    /// How long that may take is the system's choice, often more than two minutes;
    /// [`connect_timeout`](Self::connect_timeout) sets a limit.
    ///
    /// A host name is looked up by a call that blocks the thread; see the [crate's page](crate).
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) (no local port is left) or another of
    /// the system's for the last address tried;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where `addr` yields no address or is none at
    /// all.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        addr::first_success(addr, |addr| TcpStream::connect_by(&addr, None))
    }

    /// Connects to one address and gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), [`TimedOut`](io::ErrorKind::TimedOut) when the time is
    /// over, and [`InvalidInput`](io::ErrorKind::InvalidInput) for a `timeout` of zero.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_by(addr, deadline_after(nonzero(timeout)?))
    }

    fn connect_by(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let source = Source::from(OwnedFd::from(socket_for(addr)?));
        source.connect(&(*addr).into(), deadline)?;
        Ok(TcpStream::from_source(source))
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) where the connection is no more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        addr::ip(&self.socket().peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// The system's; none is expected.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::ip(&self.socket().local_addr()?)
    }

    /// Ends reading, writing or both, for all clones of the stream. Never suspends.
    ///
    /// Coroutines and threads that are blocked on what has ended wake up at once, whichever handle
    /// they use: reads return what had arrived and then `Ok(0)`, writes fail with
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe). After `Shutdown::Write` the peer reads what was
    /// written, then the end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) where the connection is no more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// Ends the connection for this handle, all its [clones](Self::try_clone) and the peer. Never
    /// suspends, and may be called from any thread.
    ///
    /// Every coroutine and thread that is blocked on it wakes up at once. Reads and peeks find the
    /// end, `Ok(0)`; writes fail with [`BrokenPipe`](io::ErrorKind::BrokenPipe); and so does
    /// everything later. The peer reads what has been written so far, then the end. Closing twice
    /// is closing once. The descriptors go when the handles are dropped.
    ///
    /// It is [`shutdown`](Self::shutdown) of both sides that cannot fail. On this handle it also
    /// forgets what has arrived and was not read.
    pub fn close(&self) {
        self.source.close();
    }

    /// Another handle on the same connection, with a descriptor of its own.
    ///
    /// Options are shared, the timeouts among them, and so is the end: [`close`](Self::close) and
    /// [`shutdown`](Self::shutdown) are felt by all handles. To share without a second descriptor,
    /// borrow the stream or put it into an `Arc`: `&TcpStream` reads and writes too.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` where descriptors have run out.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream {
            source: self.source.try_clone()?,
            timeouts: self.timeouts.share(),
        })
    }

    /// Limits how long one read or peek may wait; `None`, as at first, lets it wait for ever.
    ///
    /// May be set from any thread and counts for calls that start afterwards, on this handle and
    /// its clones. A call over its time fails with [`TimedOut`](io::ErrorKind::TimedOut).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a duration of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts.set_read(timeout)
    }

    /// The limit set by [`set_read_timeout`](Self::set_read_timeout).
    ///
    /// # Errors
    ///
    /// None; it returns a `Result` because std's does.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.timeouts.read().get())
    }

    /// Limits how long one write may wait; `None`, as at first, lets it wait for ever.
    ///
    /// May be set from any thread and counts for calls that start afterwards, on this handle and
    /// its clones. A call over its time fails with [`TimedOut`](io::ErrorKind::TimedOut). A
    /// `write_all` may have written a part by then.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a duration of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts.set_write(timeout)
    }

    /// The limit set by [`set_write_timeout`](Self::set_write_timeout).
    ///
    /// # Errors
    ///
    /// None; it returns a `Result` because std's does.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.timeouts.write().get())
    }

    /// Reads without taking: the next read or peek sees the same bytes again.
    ///
    /// Suspends, times out and ends as a read does.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source
            .recv(buf, libc::MSG_PEEK, self.timeouts.read().deadline())
    }

    /// Sends small writes at once instead of gathering them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's; none is expected.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket().set_tcp_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// The system's; none is expected.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket().tcp_nodelay()
    }

    /// Sets the time-to-live of the packets that this connection sends.
    ///
    /// # Errors
    ///
    /// The system's: [`InvalidInput`](io::ErrorKind::InvalidInput) outside 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_ttl_v4(ttl)
    }

    /// The time-to-live of the packets that this connection sends.
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

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(super) fn from_source(source: Source) -> TcpStream {
        TcpStream {
            source,
            timeouts: Timeouts::default(),
        }
    }

    /// The descriptor, in blocking mode. Clones do not mind: none but `connect` relies on the mode,
    /// and that is over before there are any.
    pub(super) fn into_fd(self) -> OwnedFd {
        into_blocking(self.source.into_fd())
    }
}

impl Read for &TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.recv(buf, 0, self.timeouts.read().deadline())
    }

    #[inline]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.source
            .recv_vectored(bufs, 0, self.timeouts.read().deadline())
    }
}

impl Write for &TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.source.send(buf, 0, self.timeouts.write().deadline())
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.source
            .send_vectored(bufs, 0, self.timeouts.write().deadline())
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[inline]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            out.field("peer", &peer);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}
