//! The time limit of a blocking call, settable while calls are under way.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The limits of a connection. One pair for all clones of a stream, as the socket option is in std; most connections
/// have neither limits nor clones, and then there is nothing to look up.
#[derive(Debug, Default)]
pub(crate) struct Timeouts(OnceLock<Arc<Pair>>);

#[derive(Debug, Default)]
struct Pair {
    read: Timeout,
    write: Timeout,
}

static NONE: Timeout = Timeout(AtomicU64::new(0));

impl Timeouts {
    fn pair(&self) -> &Arc<Pair> {
        self.0.get_or_init(Arc::default)
    }

    /// For a clone of the stream.
    pub(crate) fn share(&self) -> Timeouts {
        Timeouts(OnceLock::from(Arc::clone(self.pair())))
    }

    #[inline]
    pub(crate) fn read(&self) -> &Timeout {
        self.0.get().map_or(&NONE, |pair| &pair.read)
    }

    #[inline]
    pub(crate) fn write(&self) -> &Timeout {
        self.0.get().map_or(&NONE, |pair| &pair.write)
    }

    pub(crate) fn set_read(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set(limit, |pair| &pair.read)
    }

    pub(crate) fn set_write(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set(limit, |pair| &pair.write)
    }

    fn set(&self, limit: Option<Duration>, which: fn(&Pair) -> &Timeout) -> io::Result<()> {
        if limit.is_none() && self.0.get().is_none() {
            return Ok(());
        }
        which(self.pair()).set(limit)
    }
}

/// An optional duration. Every call reads it as it starts and is not affected by later changes.
///
/// Nanoseconds; 0 is "none". A `u64` of them is 584 years, at which longer durations saturate.
/// All accesses are Relaxed: the value stands alone and publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Timeout(AtomicU64);

impl Timeout {
    fn set(&self, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(limit) => nonzero(limit)?.as_nanos().try_into().unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// When a call that starts now has to give up.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.get().and_then(deadline_after)
    }
}

/// Refuses the zero duration, which could mean both "do not wait" and "wait for ever".
pub(crate) fn nonzero(limit: Duration) -> io::Result<Duration> {
    if limit.is_zero() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "cannot set a 0 duration timeout",
        ));
    }
    Ok(limit)
}

/// `None`, no deadline, where `limit` from now is further than the clock can tell.
pub(crate) fn deadline_after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}
