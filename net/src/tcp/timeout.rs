//! The time limit of a blocking call, settable while calls are under way.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limits of a connection. One pair for all clones of a stream, as the socket option is in std.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    pub(crate) read: Timeout,
    pub(crate) write: Timeout,
}

/// An optional duration. Every call reads it as it starts and is not affected by later changes.
///
/// Nanoseconds; 0 is "none". A `u64` of them is 584 years, at which longer durations saturate.
/// All accesses are Relaxed: the value stands alone and publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Timeout(AtomicU64);

impl Timeout {
    pub(crate) fn set(&self, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(limit) => nonzero(limit)?.as_nanos().try_into().unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }

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
