//! TCP for [filature]'s coroutines, shaped as [`std::net`] shapes it.
//!
//! Code written against `std::net` works here with the path changed. Where a call of std blocks
//! the thread, the same call here suspends the coroutine, and its worker runs others meanwhile:
//!
//! ```
//! use filature_net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! # fn main() -> std::io::Result<()> {
//! let greeting = filature::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let addr = listener.local_addr()?;
//!
//!     filature::spawn(move || {
//!         for stream in listener.incoming() {
//!             let mut stream = stream.expect("accept");
//!             filature::spawn(move || stream.write_all(b"hello"));
//!         }
//!     });
//!
//!     let mut greeting = String::new();
//!     TcpStream::connect(addr)?.read_to_string(&mut greeting)?;
//!     std::io::Result::Ok(greeting)
//! })?;
//! assert_eq!(greeting, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # What holds for every socket
//!
//! **Where it may be used.** From any coroutine on any worker of any runtime, and from any plain
//! thread, which then simply blocks. A socket may be moved between them at any time, and a shared
//! one (`&TcpStream`, an `Arc`, a clone) may be used by several at once: one reads while another
//! writes, several accept from one listener.
//!
//! **Shutdown.** When a runtime shuts down, a coroutine of it that is blocked in a call here does
//! not return from the call: it is unwound where it stands, its destructors run, and its sockets
//! are closed. The kernel has let go of the caller's buffer by then. Bytes that an interrupted
//! write already handed over stay sent.
//!
//! **Errors** are the operating system's, as with std: [`raw_os_error`](std::io::Error::raw_os_error)
//! and [`kind`](std::io::Error::kind) say what std's would. The exception is a timeout, which is
//! always [`ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut). Writing to a connection that the
//! peer has closed is an error, never a `SIGPIPE`.
//!
//! **Host names block.** Everything that takes [`ToSocketAddrs`] resolves
//! it by std, and so a *host name* (`"example.com:80"`, `"localhost:80"`) is looked up by a call
//! that blocks the worker, with every coroutine at home on it, until the resolver answers. A
//! [`SocketAddr`], a pair of address and port and a literal
//! (`"127.0.0.1:80"`, `"[::1]:80"`) never block.
//!
//! **There is no `set_nonblocking`.** Blocking costs a coroutine nothing but its stack, so what a
//! non-blocking socket is for in std is done otherwise here: spawn a coroutine for what should go
//! on meanwhile, or bound the wait with [`TcpStream::set_read_timeout`],
//! [`TcpStream::set_write_timeout`] and [`TcpStream::connect_timeout`], or end it from outside
//! with [`TcpStream::close`], [`TcpStream::shutdown`] and [`TcpListener::close`].
//!
//! **Options that std does not have** (keep-alive, buffer sizes, linger, ...) are a
//! `socket2::SockRef::from(&stream)` away, since every socket here implements
//! [`AsFd`](std::os::fd::AsFd).

mod addr;
mod tcp;

pub use tcp::{Incoming, IntoIncoming, TcpListener, TcpStream};

// So that callers need only one `use` for the types that appear in signatures here.
pub use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
