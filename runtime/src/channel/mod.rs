//! Channels between coroutines and plain threads in any mix, and waiting for several of them at once; names, errors,
//! macros and behaviour are those of crossbeam-channel.
//!
//! ```
//! use filature::channel::{after, bounded, select};
//! use filature::go;
//! use std::time::Duration;
//!
//! filature::run(|| {
//!     let (s, r) = bounded(1);
//!     go!(move || {
//!         for i in 0..3 {
//!             s.send(i).unwrap();
//!         }
//!     });
//!     assert_eq!(r.iter().collect::<Vec<_>>(), [0, 1, 2]);
//!
//!     select! {
//!         recv(r) -> msg => assert!(msg.is_err(), "the sender is gone"),
//!         recv(after(Duration::from_secs(1))) -> _ => unreachable!(),
//!     }
//! });
//! ```
//!
//! [`bounded`] channels hold so many messages and no more, those of capacity 0 none at all: there sender and receiver
//! meet. [`unbounded`] ones hold as many as there is memory for. [`after`], [`at`], [`tick`] and [`never`](never()) make
//! receivers that hear only the clock. Both sides can be cloned; a channel whose senders are all gone is *disconnected*:
//! what is in it can still be received, and then receiving fails. Where all receivers are gone sending fails.
//!
//! Messages are received in the order in which they were sent, and those that wait get their turn in the order in which
//! they came. A coroutine that goes on without ever having to wait, or that tries in a loop what must not wait, lets others
//! run now and then; it is not unwound there.

// To be read in this order: `chan`, what the two sides share (over `backlog` and `place`); `select`, how one waits for
// several (over `arm`, and `clock` for times); then what users call: `sender`, `receiver`, `iter`, `selector`, `macros`,
// `errors`.

mod arm;
mod backlog;
mod chan;
mod clock;
mod errors;
mod iter;
#[doc(hidden)]
#[allow(missing_docs, reason = "for the macros alone")]
pub mod macros;
mod place;
mod random;
mod receiver;
mod select;
mod selector;
mod sender;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chan::Chan;
use clock::Clock;

pub use crate::{select, select_biased};
pub use errors::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use selector::{Select, SelectedOperation};
pub use sender::Sender;

/// A channel for any number of messages: sending never waits.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(None)
}

/// A channel for `cap` messages at a time: where it is full, sending waits. With 0 a send waits for a receive.
///
/// Room for the messages is allocated here.
///
/// # Panics
///
/// If so many messages would not fit into the address space.
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    channel(Some(cap))
}

fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan::new(capacity));
    (Sender::new(chan.clone()), Receiver::of_channel(chan))
}

/// A receiver of one message, the time at which it was due, `duration` from now. Nothing runs for it meanwhile.
///
/// ```
/// use filature::channel::{after, select, unbounded};
/// use std::time::Duration;
///
/// let (_s, r) = unbounded::<()>();
/// select! {
///     recv(r) -> _ => unreachable!(),
///     recv(after(Duration::from_millis(10))) -> _ => println!("timed out"),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(when) => at(when),
        None => never(),
    }
}

/// A receiver of one message, `when` itself, at that time.
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver::of_clock(Clock::new(when, None))
}

/// A receiver of a message every `duration`, the time at which it was due. It holds one: those that come due while that
/// one is not taken are left out.
pub fn tick(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(first) => Receiver::of_clock(Clock::new(first, Some(duration))),
        None => never(),
    }
}

/// A receiver that never receives anything: an arm of a [`select!`](macro@select) that is switched off.
///
/// ```
/// use filature::channel::{after, never, select, unbounded};
/// use std::time::Duration;
///
/// let (s, r) = unbounded();
/// s.send(1).unwrap();
/// let limit = None;
/// select! {
///     recv(r) -> msg => assert_eq!(msg, Ok(1)),
///     recv(limit.map_or(never(), after)) -> _ => println!("timed out"),
/// }
/// # let _: Option<Duration> = limit;
/// ```
pub fn never<T>() -> Receiver<T> {
    Receiver::of_nothing()
}
