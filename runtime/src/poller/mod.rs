//! Waiting for IO: [`Source`], the descriptor that coroutines and threads wait
//! on. Sockets are built on it, those of the crate `filature-net` and anybody's.
//!
//! ```
//! use filature::poller::Source;
//! use std::os::unix::net::UnixStream;
//!
//! let (ours, theirs) = UnixStream::pair()?;
//! let (ours, theirs) = (Source::new(ours.into()), Source::new(theirs.into()));
//! filature::run(move || -> std::io::Result<()> {
//!     let reader = filature::spawn(move || {
//!         let mut buf = [0; 16];
//!         theirs.recv(&mut buf, 0, None)
//!     });
//!     ours.send(b"hello", 0, None)?;
//!     assert_eq!(reader.join().unwrap()?, 5);
//!     Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Each worker has one poller, an io_uring or an epoll instance; [`Io`] says
//! which.

// Read in this order:
//
// | file | what it is |
// |---|---|
// | `source.rs` | `Source`, what sockets are built on: one method an operation |
// | `config.rs` | `Io`, which poller to use |
// | `operate.rs` | the three ways in which an operation is carried out |
// | `connect.rs` | the one operation that does not fit |
// | `nap.rs` | waiting for what the kernel tells nobody of |
// | `op.rs` | one io_uring operation from submission to completion, and why borrowed buffers are sound |
// | `ring.rs` | the io_uring itself: submit, wait, reap |
// | `setup.rs` | making one, with what the kernel has |
// | `epoll.rs` | the other poller: readiness by edge-triggered epoll |
// | `readiness.rs` | what an epoll poller remembers about one source, and who waits for it |
// | `thread.rs` | the same operations for callers that are plain threads |
// | `book.rs` | which pollers know a source, so that close and drop can tell them |
// | `mode.rs` | what kind of descriptor it is, and its `O_NONBLOCK` mode |
// | `message.rs` | calls with several buffers, and with addresses |
// | `remote.rs` | the half of a poller that other threads reach: wake-ups and notices |
// | `sys.rs` | the system calls, in terms of `io::Result` |
//
// The poller knows nothing of coroutines but a `Key` each, which it hands
// back when something happened. How a coroutine is suspended and made to run
// again is `scheduler::wait`'s affair.

mod book;
mod config;
mod connect;
mod epoll;
mod message;
mod mode;
mod nap;
mod op;
mod operate;
mod readiness;
mod remote;
mod ring;
mod setup;
mod source;
mod sys;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

pub use config::{Io, ParseIoError};
pub use source::Source;

pub(crate) use epoll::Epoll;
pub(crate) use remote::Waker;
pub(crate) use ring::Ring;

/// Names a waiting coroutine to its own worker. The poller never looks behind
/// the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(NonNull<()>);

impl Key {
    #[inline]
    pub(crate) const fn new(pointer: NonNull<()>) -> Self {
        Self(pointer)
    }

    #[inline]
    pub(crate) const fn pointer(self) -> NonNull<()> {
        self.0
    }
}

/// What a worker sleeps in. Belongs to the thread that created it.
///
/// Dropping it is only right once nothing is in flight ([`Poller::waiting`] is
/// zero): whoever waits would wait for ever.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a worker, and it stays where it is"
)]
pub(crate) enum Poller {
    Ring(Ring),
    Epoll(Epoll),
}

impl Poller {
    /// A poller for the calling thread. `entries` is how many submissions fit
    /// into one batch of an io_uring, and how many events into one of epoll.
    ///
    /// # Errors
    ///
    /// The poller asked for cannot be had. With [`Io::Auto`] an io_uring that
    /// cannot be had is not an error as long as epoll can.
    pub(crate) fn new(io: Io, entries: u32) -> io::Result<Self> {
        match io {
            Io::Epoll => Epoll::new(entries).map(Self::Epoll),
            Io::IoUring => Ring::new(entries).map(Self::Ring).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!(
                        "io_uring was asked for and cannot be had ({error}): allow it \
                         (sysctl kernel.io_uring_disabled, the container's seccomp profile, \
                         RLIMIT_MEMLOCK, Linux 5.19 or newer) or set FILATURE_IO=auto or epoll"
                    ),
                )
            }),
            Io::Auto => match Ring::new(entries) {
                Ok(ring) => Ok(Self::Ring(ring)),
                Err(error) => {
                    log::debug!("no io_uring here ({error}), epoll it is");
                    Epoll::new(entries).map(Self::Epoll)
                }
            },
        }
    }

    /// Which of the two it is; never [`Io::Auto`].
    pub(crate) fn io(&self) -> Io {
        match self {
            Self::Ring(_) => Io::IoUring,
            Self::Epoll(_) => Io::Epoll,
        }
    }

    /// A handle by which any thread ends this poller's sleep.
    pub(crate) fn waker(&self) -> Waker {
        match self {
            Self::Ring(ring) => ring.waker(),
            Self::Epoll(epoll) => epoll.waker(),
        }
    }

    /// Submits what is queued, waits up to `timeout` for something to happen
    /// (`None`: for ever, zero: not at all) and calls `ready` for every
    /// coroutine that has something to look at. Returns how many there were.
    ///
    /// May come back early with nothing: a signal, a wake-up, a short supply
    /// of kernel memory. `ready` must not call into this poller, nor panic.
    ///
    /// # Errors
    ///
    /// Only what no retry cures.
    #[inline]
    pub(crate) fn poll(
        &self,
        timeout: Option<Duration>,
        ready: &mut impl FnMut(Key),
    ) -> io::Result<usize> {
        match self {
            Self::Ring(ring) => ring.poll(timeout, ready),
            Self::Epoll(epoll) => epoll.poll(timeout, ready),
        }
    }

    /// Whether a visit may bring something; looks at memory only. For an
    /// io_uring a definite answer; for epoll only whether anybody waits, so
    /// the caller bounds how often it believes it.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_work(),
            Self::Epoll(epoll) => epoll.has_work(),
        }
    }

    /// How many coroutines wait for IO here.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.waiting(),
            Self::Epoll(epoll) => epoll.waiting(),
        }
    }
}

/// Which way the data goes that an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}
