//! [`select!`](macro@crate::channel::select) and what it expands to.

use std::time::Duration;

use crate::channel::arm::{self, Arm};
use crate::channel::chan::Until;
use crate::channel::errors::{RecvError, SendError};
use crate::channel::receiver::{Receiver, RecvArm};
use crate::channel::select::{How, select};
use crate::channel::sender::Sender;
use crate::scheduler::wait::give_way;

/// Waits until one of several channel operations is ready, does it, and evaluates to its arm.
///
/// ```
/// use filature::channel::{select, unbounded};
/// use std::time::Duration;
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = unbounded();
/// s1.send(10).unwrap();
///
/// let text = select! {
///     recv(r1) -> msg => format!("received {}", msg.unwrap()),
///     send(s2, 20) -> res => {
///         res.unwrap();
///         assert_eq!(r2.recv(), Ok(20));
///         String::from("sent")
///     }
///     default(Duration::from_secs(1)) => String::from("too late"),
/// };
/// assert!(text == "received 10" || text == "sent");
/// ```
///
/// - `recv(receiver) -> pattern => arm` binds what [`Receiver::recv`](crate::channel::Receiver::recv) would return,
///   `send(sender, message) -> pattern => arm` what [`Sender::send`](crate::channel::Sender::send) would. Senders and
///   receivers may be any expressions that dereference to one; they are evaluated once, in their order, before
///   anything is waited for. The message is evaluated only if the send is chosen; until it is there, a receiver of a
///   channel without capacity waits for it.
/// - `default => arm` is for when none is ready, `default(timeout) => arm` for when none becomes ready within that
///   [`Duration`](std::time::Duration).
/// - An operation is ready if it need not wait; also if it would fail because the channel is disconnected. Of several
///   that are ready, any is chosen, each as likely as the others; with [`select_biased!`](crate::channel::select_biased)
///   the first of them.
/// - Arms are separated by commas, which blocks can do without. `break`, `continue`, `return` and `?` work in them.
///
/// Waiting is a suspension of a coroutine, and blocks a plain thread. A coroutine that is cancelled there has neither
/// sent nor received.
#[macro_export]
macro_rules! select {
    ($($tokens:tt)*) => {
        $crate::__channel_select_arms!(false [] [] $($tokens)*)
    };
}

/// [`select!`](macro@crate::channel::select), but of several operations that are ready it chooses the first.
///
/// ```
/// use filature::channel::{select_biased, unbounded};
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = unbounded();
/// s1.send(1).unwrap();
/// s2.send(2).unwrap();
/// select_biased! {
///     recv(r2) -> msg => assert_eq!(msg, Ok(2)),
///     recv(r1) -> _ => unreachable!(),
/// }
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($tokens:tt)*) => {
        $crate::__channel_select_arms!(true [] [] $($tokens)*)
    };
}

/// Sorts the tokens of a `select!` into operations and the default:
/// `biased [operations] [default] tokens`.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select_arms {
    // All are sorted.
    ($biased:tt [] []) => {
        ::core::compile_error!("an empty `select!`: it would wait for ever")
    };
    ($biased:tt [$($operation:tt)*] [$($default:tt)*]) => {
        $crate::__channel_select_run!($biased [] [] [$($operation)*] [$($default)*])
    };
    // The comma after the last arm.
    ($biased:tt $operations:tt $default:tt , $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased $operations $default $($rest)*)
    };

    ($biased:tt [$($operation:tt)*] $default:tt recv($r:expr $(,)?) -> $res:pat => $body:block $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased [$($operation)* (recv ($r) ($res) $body)] $default $($rest)*)
    };
    ($biased:tt [$($operation:tt)*] $default:tt recv($r:expr $(,)?) -> $res:pat => $body:expr, $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased [$($operation)* (recv ($r) ($res) { $body })] $default $($rest)*)
    };
    ($biased:tt [$($operation:tt)*] $default:tt recv($r:expr $(,)?) -> $res:pat => $body:expr) => {
        $crate::__channel_select_arms!($biased [$($operation)* (recv ($r) ($res) { $body })] $default)
    };

    ($biased:tt [$($operation:tt)*] $default:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:block $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased [$($operation)* (send ($s, $m) ($res) $body)] $default $($rest)*)
    };
    ($biased:tt [$($operation:tt)*] $default:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:expr, $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased [$($operation)* (send ($s, $m) ($res) { $body })] $default $($rest)*)
    };
    ($biased:tt [$($operation:tt)*] $default:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:expr) => {
        $crate::__channel_select_arms!($biased [$($operation)* (send ($s, $m) ($res) { $body })] $default)
    };

    ($biased:tt $operations:tt [] default => $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased $operations [] default() => $($rest)*)
    };
    ($biased:tt $operations:tt [] default($($timeout:expr $(,)?)?) => $body:block $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased $operations [($($timeout)?) $body] $($rest)*)
    };
    ($biased:tt $operations:tt [] default($($timeout:expr $(,)?)?) => $body:expr, $($rest:tt)*) => {
        $crate::__channel_select_arms!($biased $operations [($($timeout)?) { $body }] $($rest)*)
    };
    ($biased:tt $operations:tt [] default($($timeout:expr $(,)?)?) => $body:expr) => {
        $crate::__channel_select_arms!($biased $operations [($($timeout)?) { $body }])
    };
    ($biased:tt $operations:tt [$($default:tt)+] default $($rest:tt)*) => {
        ::core::compile_error!("a `select!` can have but one `default`")
    };

    ($biased:tt $operations:tt $default:tt $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv(receiver) -> result => arm`, `send(sender, message) -> result => arm`, ",
            "`default => arm` or `default(timeout) => arm`, and commas between arms that are not blocks; found `",
            ::core::stringify!($($rest)+),
            "`",
        ))
    };
}

/// Evaluates the senders and receivers, one after the other, and selects:
/// `biased [number] [operations that are ready to run] [the rest] [default]`. Each
/// expansion has an `operation` of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select_run {
    ($biased:tt [$($number:tt)*] [$($ready:tt)*] [(recv ($r:expr) $res:tt $body:block) $($rest:tt)*] $default:tt) => {
        match &$r {
            receiver => {
                let mut operation = $crate::channel::macros::receive(receiver);
                $crate::__channel_select_run!(
                    $biased
                    [$($number)* + 1]
                    [$($ready)* ((0 $($number)*) operation [operation.take()] $res $body)]
                    [$($rest)*]
                    $default
                )
            }
        }
    };
    ($biased:tt [$($number:tt)*] [$($ready:tt)*] [(send ($s:expr, $m:expr) $res:tt $body:block) $($rest:tt)*] $default:tt) => {
        match &$s {
            sender => {
                let mut operation = $crate::channel::macros::send(sender);
                $crate::__channel_select_run!(
                    $biased
                    [$($number)* + 1]
                    [$($ready)* ((0 $($number)*) operation [operation.take().send($m)] $res $body)]
                    [$($rest)*]
                    $default
                )
            }
        }
    };


    ($biased:tt $count:tt [$($ready:tt)*] [] []) => {
        $crate::__channel_select_run!(
            @ $biased [$($ready)*] ($crate::channel::macros::never()) {
                $crate::channel::macros::nothing_was_chosen()
            }
        )
    };
    ($biased:tt $count:tt [$($ready:tt)*] [] [() $body:block]) => {
        $crate::__channel_select_run!(@ $biased [$($ready)*] ($crate::channel::macros::now()) $body)
    };
    ($biased:tt $count:tt [$($ready:tt)*] [] [($timeout:expr) $body:block]) => {
        $crate::__channel_select_run!(
            @ $biased [$($ready)*] ($crate::channel::macros::after($timeout)) $body
        )
    };

    (@ $biased:tt [$(($number:tt $operation:ident [$($take:tt)*] ($res:pat) $body:block))*] $until:tt $default:block) => {
        match $crate::channel::macros::run([$($operation.part()),*], $biased, $until) {
            chosen => $(
                if chosen == ::core::option::Option::Some($number) {
                    let $res = $($take)*;
                    $body
                } else
            )* $default
        }
    };
}

/// What the macros call: a receive, to be selected and then taken. Public for them alone.
pub struct Receive<'a, T>(RecvArm<'a, T>);

/// As [`Receive`].
pub struct Send<'a, T>(arm::Send<'a, T>);

/// As [`Receive`].
pub struct Chosen<'a, T>(arm::Chosen<'a, T>);

/// As [`Receive`].
pub struct Part<'a>(&'a (dyn Arm + 'a));

/// As [`Receive`].
pub struct Limit(Until);

pub fn receive<T>(receiver: &Receiver<T>) -> Receive<'_, T> {
    Receive(receiver.arm())
}

pub fn send<T>(sender: &Sender<T>) -> Send<'_, T> {
    Send(sender.arm())
}

impl<T> Receive<'_, T> {
    // Exclusive, as an operation waits in one place at a time.
    pub fn part(&mut self) -> Part<'_> {
        Part(self.0.get())
    }

    pub fn take(&self) -> Result<T, RecvError> {
        self.0.take()
    }
}

impl<'a, T> Send<'a, T> {
    // As for `Receive`.
    pub fn part(&mut self) -> Part<'_> {
        Part(&self.0)
    }

    pub fn take(&self) -> Chosen<'a, T> {
        Chosen(self.0.take())
    }
}

impl<T> Chosen<'_, T> {
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message).map_err(SendError)
    }
}

pub fn now() -> Limit {
    Limit(Until::Now)
}

pub fn after(timeout: Duration) -> Limit {
    Limit(Until::after(timeout))
}

pub fn never() -> Limit {
    Limit(Until::Never)
}

pub fn run<const N: usize>(parts: [Part<'_>; N], biased: bool, limit: Limit) -> Option<usize> {
    let how = How {
        biased,
        watch: false,
    };
    let chosen = select(&parts.map(|part| part.0), &mut [0; N], how, limit.0);
    give_way();
    chosen
}

pub fn nothing_was_chosen() -> ! {
    unreachable!("a select without a deadline does not end before it has chosen")
}
