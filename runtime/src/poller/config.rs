//! Which poller the workers use.

use std::fmt;
use std::str::FromStr;

/// Which of the kernel's interfaces the workers wait on.
///
/// ```
/// # use filature::poller::Io;
/// assert_eq!("epoll".parse(), Ok(Io::Epoll));
/// assert_eq!(Io::IoUring.to_string(), "io_uring");
/// assert!("kqueue".parse::<Io>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Io {
    /// io_uring where the kernel allows it and is Linux 5.19 or newer, else
    /// epoll.
    #[default]
    Auto,
    /// io_uring; building the runtime fails where it cannot be had.
    IoUring,
    /// epoll.
    Epoll,
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

impl FromStr for Io {
    type Err = ParseIoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::IoUring),
            "epoll" => Ok(Self::Epoll),
            other => Err(ParseIoError(other.into())),
        }
    }
}

/// A text that names no [`Io`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIoError(Box<str>);

impl fmt::Display for ParseIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} names no poller; allowed are auto, io_uring and epoll",
            self.0
        )
    }
}

impl std::error::Error for ParseIoError {}
