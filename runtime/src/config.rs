//! How a runtime is configured: builder methods, each with an environment
//! variable behind it.

use std::fmt::Display;
use std::io;
use std::str::FromStr;

use crate::coroutine::guard::Guard;
use crate::coroutine::stack::{DEFAULT_STACK_SIZE, MAX_STACK_SIZE, MIN_STACK_SIZE};
use crate::poller::Io;
use crate::runtime::Runtime;

/// More workers than any machine has cores.
const MOST_WORKERS: usize = 1024;

/// What a runtime was built with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) pin: bool,
    pub(crate) stack_size: usize,
    pub(crate) io: Io,
    pub(crate) guard: Guard,
    pub(crate) thread_name: String,
    pub(crate) chaos: Option<u64>,
}

/// Configures a [`Runtime`]; made by [`Runtime::builder`].
///
/// What no method sets comes from the environment, and what that does not set
/// from the default:
///
/// | method | variable | default |
/// |---|---|---|
/// | [`workers`](RuntimeBuilder::workers) | `FILATURE_WORKERS` | the cores that the process may use |
/// | [`pin`](RuntimeBuilder::pin) | `FILATURE_PIN` | `0` |
/// | [`stack_size`](RuntimeBuilder::stack_size) | `FILATURE_STACK_SIZE` | `262144` |
/// | [`io`](RuntimeBuilder::io) | `FILATURE_IO` | `auto` |
/// | [`guard`](RuntimeBuilder::guard) | `FILATURE_GUARD` | `auto` |
/// | [`thread_name`](RuntimeBuilder::thread_name) | `FILATURE_THREAD_NAME` | `filature` |
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    pin: Option<bool>,
    stack_size: Option<usize>,
    io: Option<Io>,
    guard: Option<Guard>,
    thread_name: Option<String>,
    chaos: Option<u64>,
}

impl RuntimeBuilder {
    /// How many workers, each a thread: 1 to 1024. By default as many as there
    /// are cores that the process may use, after its affinity mask and its
    /// cgroup's quota.
    pub fn workers(mut self, workers: usize) -> RuntimeBuilder {
        self.workers = Some(workers);
        self
    }

    /// Whether worker *n* is pinned to the *n*-th core that the process may use.
    ///
    /// Off by default: threads that a coroutine starts inherit the affinity of
    /// its worker, so that a thread pool started from within one would find
    /// itself on a single core. Turn it on for programs that leave all their
    /// work to the runtime. A worker that cannot be pinned says so in the log
    /// and goes on.
    pub fn pin(mut self, pin: bool) -> RuntimeBuilder {
        self.pin = Some(pin);
        self
    }

    /// The size of a coroutine's stack in bytes, its guard page not included,
    /// rounded up to whole pages: 16 KiB to 1 GiB.
    ///
    /// It is address space; memory is committed as a stack is first used, a
    /// page at a time. [`Builder::stack_size`](crate::Builder::stack_size)
    /// overrides it for one coroutine.
    pub fn stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.stack_size = Some(bytes);
        self
    }

    /// Which poller the workers use.
    pub fn io(mut self, io: Io) -> RuntimeBuilder {
        self.io = Some(io);
        self
    }

    /// How the guard page below each stack is made.
    pub fn guard(mut self, guard: Guard) -> RuntimeBuilder {
        self.guard = Some(guard);
        self
    }

    /// The name of the workers' threads; worker *n* is called `name-n`.
    pub fn thread_name(mut self, name: impl Into<String>) -> RuntimeBuilder {
        self.thread_name = Some(name.into());
        self
    }

    /// For tests: makes the scheduler take random turns that are allowed but
    /// rare (starts the oldest coroutine instead of the newest, lets parks
    /// return for no reason), from this seed.
    pub fn chaos(mut self, seed: u64) -> RuntimeBuilder {
        self.chaos = Some(seed);
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) for a value out of range;
    ///   if it came from the environment the message names the variable.
    /// - What the system says where a thread, a poller or a worker's first stack
    ///   cannot be had.
    pub fn build(self) -> io::Result<Runtime> {
        Runtime::start(self.resolve()?)
    }

    fn resolve(self) -> io::Result<Config> {
        let workers = number(
            "FILATURE_WORKERS",
            self.workers,
            1..=MOST_WORKERS,
            num_cpus::get,
        )?;
        let stack_size = number(
            "FILATURE_STACK_SIZE",
            self.stack_size,
            MIN_STACK_SIZE..=MAX_STACK_SIZE,
            || DEFAULT_STACK_SIZE,
        )?;
        let pin = match self.pin {
            Some(pin) => pin,
            None => match variable("FILATURE_PIN")?.as_deref() {
                None | Some("0") => false,
                Some("1") => true,
                Some(other) => return Err(bad("FILATURE_PIN", other, "0 and 1")),
            },
        };
        Ok(Config {
            workers,
            pin,
            stack_size,
            io: choice("FILATURE_IO", self.io)?,
            guard: choice("FILATURE_GUARD", self.guard)?,
            thread_name: match self.thread_name {
                Some(name) => name,
                None => variable("FILATURE_THREAD_NAME")?.unwrap_or_else(|| "filature".into()),
            },
            chaos: self.chaos,
        })
    }
}

/// An environment variable's value; an empty one counts as not set.
fn variable(name: &str) -> io::Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(value)) => {
            Err(bad(name, &value.to_string_lossy(), "text in UTF-8"))
        }
    }
}

fn bad(name: &str, value: &str, allowed: impl Display) -> io::Error {
    let message = format!("{name} is {value:?}; allowed are {allowed}");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn number(
    name: &str,
    given: Option<usize>,
    range: std::ops::RangeInclusive<usize>,
    default: impl FnOnce() -> usize,
) -> io::Result<usize> {
    let allowed = || format!("numbers from {} to {}", range.start(), range.end());
    if let Some(given) = given {
        if range.contains(&given) {
            return Ok(given);
        }
        let method = name.trim_start_matches("FILATURE_").to_lowercase();
        return Err(bad(
            &format!("RuntimeBuilder::{method}"),
            &given.to_string(),
            allowed(),
        ));
    }
    match variable(name)? {
        None => Ok(default()),
        Some(text) => match text.parse() {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => Err(bad(name, &text, allowed())),
        },
    }
}

fn choice<T>(name: &str, given: Option<T>) -> io::Result<T>
where
    T: FromStr<Err: Display> + Default,
{
    match given {
        Some(given) => Ok(given),
        None => match variable(name)? {
            None => Ok(T::default()),
            Some(text) => text.parse().map_err(|e: T::Err| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {e}"))
            }),
        },
    }
}
