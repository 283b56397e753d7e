//! Command lines: options, their errors, and what a program ends with.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use filature::{Io, Runtime};
use filature_net::TcpListener;
use lexopt::{Parser, ValueExt};

/// Why a program ends without having done what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// It did not work: exit code 1.
    Run(String),
}

impl Failure {
    /// A failure to do something, with the reason.
    pub fn to(what: impl Display, why: impl Display) -> Failure {
        Failure::Run(format!("cannot {what}: {why}"))
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Failure::Usage(error.to_string())
    }
}

/// Ends a program called `name`: one line on stderr if it has failed, and the exit code.
pub fn finish(name: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("{name}: {message} (try {name} --help)");
            ExitCode::from(2)
        }
        Err(Failure::Run(message)) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The value of the option just read, as a whole number.
pub fn number(
    parser: &mut Parser,
    option: &str,
    allowed: RangeInclusive<u64>,
) -> Result<u64, Failure> {
    let value = parser.value()?.string()?;
    match value.parse() {
        Ok(number) if allowed.contains(&number) => Ok(number),
        _ => Err(Failure::Usage(format!(
            "{option} takes a number from {} to {}, not '{value}'",
            format_bound(*allowed.start()),
            format_bound(*allowed.end()),
        ))),
    }
}

fn format_bound(bound: u64) -> String {
    crate::format::grouped(bound)
}

/// The value of the option just read, as addresses to listen on.
pub fn addresses(parser: &mut Parser, option: &str) -> Result<Vec<SocketAddr>, Failure> {
    let value = parser.value()?.string()?;
    match value.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Failure::Usage(format!(
            "{option} takes HOST:PORT, such as 127.0.0.1:9090, not '{value}': {error}"
        ))),
    }
}

/// Listens, or says on what it cannot and what to do.
pub fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, Failure> {
    TcpListener::bind(addresses).map_err(|error| {
        let wanted: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let wanted = wanted.join(" or ");
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; stop the program that uses it, or choose another with --addr"
            }
            _ => "",
        };
        Failure::to(
            format_args!("listen on {wanted}"),
            format_args!("{error}{advice}"),
        )
    })
}

/// The options that every example has for its runtime.
#[derive(Debug, Default)]
pub struct RuntimeOptions {
    workers: Option<usize>,
    io: Option<Io>,
}

impl RuntimeOptions {
    /// Their part of the `--help` text.
    pub const HELP: &str = "  \
  --workers N          worker threads; default: one a core, or FILATURE_WORKERS
  --io KIND            io_uring, epoll or auto; default: auto, or FILATURE_IO";

    /// Reads the value of `--workers`.
    pub fn read_workers(&mut self, parser: &mut Parser) -> Result<(), Failure> {
        self.workers = Some(number(parser, "--workers", 1..=1024)? as usize);
        Ok(())
    }

    /// Reads the value of `--io`.
    pub fn read_io(&mut self, parser: &mut Parser) -> Result<(), Failure> {
        let value = parser.value()?.string()?;
        let io = value.parse().map_err(|_| {
            Failure::Usage(format!("--io takes io_uring, epoll or auto, not '{value}'"))
        })?;
        self.io = Some(io);
        Ok(())
    }

    /// Starts the runtime. What has not been given here, the environment decides.
    pub fn start(&self) -> Result<Runtime, Failure> {
        let mut builder = Runtime::builder();
        if let Some(workers) = self.workers {
            builder = builder.workers(workers);
        }
        if let Some(io) = self.io {
            builder = builder.io(io);
        }
        builder
            .build()
            .map_err(|error| Failure::to("start the runtime", error))
    }
}

/// What a runtime runs on, in words: `2 workers on io_uring`.
pub fn describe(runtime: &Runtime) -> String {
    let workers = crate::format::count(runtime.workers() as u64, "worker");
    format!("{workers} on {}", runtime.io())
}
