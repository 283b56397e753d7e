//! What channels return instead of success, shaped as crossbeam-channel's.

use std::error::Error;
use std::fmt;

/// A message could not be sent, because there is no receiver any more. It is in the error.
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct SendError<T>(pub T);

/// Why [`Sender::try_send`](super::Sender::try_send) did not send. The message is in the error.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// The channel is full; if it has no capacity, no receiver was waiting.
    Full(T),
    /// There is no receiver any more.
    Disconnected(T),
}

/// Why [`Sender::send_timeout`](super::Sender::send_timeout) did not send. The message is in the error.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// The channel was full for all of the time; if it has no capacity, no receiver came.
    Timeout(T),
    /// There is no receiver any more.
    Disconnected(T),
}

/// No message could be received, because the channel is empty and there is no sender any more.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct RecvError;

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) received nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// The channel is empty; if it has no capacity, no sender was waiting.
    Empty,
    /// It is empty, and there is no sender any more.
    Disconnected,
}

/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) received nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// The channel was empty for all of the time; if it has no capacity, no sender came.
    Timeout,
    /// It is empty, and there is no sender any more.
    Disconnected,
}

/// None of the operations was ready, in [`Select::try_select`](super::Select::try_select).
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TrySelectError;

/// None of the operations became ready in time, in [`Select::select_timeout`](super::Select::select_timeout).
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct SelectTimeoutError;

/// None of the operations was ready, in [`Select::try_ready`](super::Select::try_ready).
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TryReadyError;

/// None of the operations became ready in time, in [`Select::ready_timeout`](super::Select::ready_timeout).
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct ReadyTimeoutError;

/// `Debug` without the message, which need not have any; and `Display`.
macro_rules! says {
    ($error:ident<T> { $($variant:ident: $text:literal,)+ }) => {
        impl<T> fmt::Debug for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($error::$variant(_) => concat!(stringify!($variant), "(..)"),)+
                })
            }
        }
        impl<T> fmt::Display for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($error::$variant(_) => $text,)+
                })
            }
        }
        impl<T: Send> Error for $error<T> {}
    };
    ($error:ident { $($variant:ident: $text:literal,)+ }) => {
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($error::$variant => $text,)+
                })
            }
        }
        impl Error for $error {}
    };
    ($error:ident: $text:literal) => {
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }
        impl Error for $error {}
    };
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel has no receiver any more")
    }
}

impl<T: Send> Error for SendError<T> {}

says!(TrySendError<T> {
    Full: "the channel is full",
    Disconnected: "the channel has no receiver any more",
});
says!(SendTimeoutError<T> {
    Timeout: "the channel stayed full until the deadline",
    Disconnected: "the channel has no receiver any more",
});
says!(RecvError: "the channel is empty and has no sender any more");
says!(TryRecvError {
    Empty: "the channel is empty",
    Disconnected: "the channel is empty and has no sender any more",
});
says!(RecvTimeoutError {
    Timeout: "the channel stayed empty until the deadline",
    Disconnected: "the channel is empty and has no sender any more",
});
says!(TrySelectError: "none of the operations is ready");
says!(SelectTimeoutError: "none of the operations was ready before the deadline");
says!(TryReadyError: "none of the operations is ready");
says!(ReadyTimeoutError: "none of the operations was ready before the deadline");

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        }
    }

    /// Whether the channel was full.
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }

    /// Whether there is no receiver any more.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TrySendError::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(message) | SendTimeoutError::Disconnected(message) => message,
        }
    }

    /// Whether it was too late.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Whether there is no receiver any more.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendTimeoutError::Disconnected(_))
    }
}

impl TryRecvError {
    /// Whether the channel was empty.
    pub fn is_empty(&self) -> bool {
        *self == TryRecvError::Empty
    }

    /// Whether there is no sender any more.
    pub fn is_disconnected(&self) -> bool {
        *self == TryRecvError::Disconnected
    }
}

impl RecvTimeoutError {
    /// Whether it was too late.
    pub fn is_timeout(&self) -> bool {
        *self == RecvTimeoutError::Timeout
    }

    /// Whether there is no sender any more.
    pub fn is_disconnected(&self) -> bool {
        *self == RecvTimeoutError::Disconnected
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        TrySendError::Disconnected(error.0)
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> Self {
        SendTimeoutError::Disconnected(error.0)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> Self {
        TryRecvError::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> Self {
        RecvTimeoutError::Disconnected
    }
}
