//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use filature_examples::cli::{self, Failure, RuntimeOptions};
use lexopt::Arg::{Long, Short};

pub const HELP: &str = "\
echo: a multicore echo server on filature

    echo [--addr HOST:PORT]       serves until Ctrl-C, with a line a second
    echo --demo                   serves itself for some seconds and checks every byte

Options:
    --addr HOST:PORT     where to listen; default: 127.0.0.1:9090, for the demo a free port
    --workers N          worker threads; default: one a core, or FILATURE_WORKERS
    --io KIND            io_uring, epoll or auto; default: auto, or FILATURE_IO

Demo:
    --connections N      clients, each with a connection; default: 500
    --size BYTES         length of a message; default: 64
    --seconds S          how long to run; default: 5

The server counts what it reads at once as one message; the demo counts whole messages.
MB/s are 10^6 bytes a second in one direction. Ctrl-\\ (SIGQUIT) prints what every coroutine
and worker is doing. A second Ctrl-C ends the server at once.";

/// What the command line asks for.
pub struct Options {
    pub runtime: RuntimeOptions,
    pub addresses: Vec<SocketAddr>,
    pub demo: Option<Plan>,
}

/// What the demo is to do.
#[derive(Clone, Copy)]
pub struct Plan {
    pub connections: usize,
    pub size: usize,
    pub duration: Duration,
}

impl Options {
    /// `None` where help was asked for.
    pub fn from_env() -> Result<Option<Options>, Failure> {
        let mut runtime = RuntimeOptions::default();
        let mut addresses = None;
        let mut demo = false;
        let mut needs_demo = None;
        let (mut connections, mut size, mut seconds) = (500, 64, 5);

        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("addr") => addresses = Some(cli::addresses(&mut parser, "--addr")?),
                Long("workers") => runtime.read_workers(&mut parser)?,
                Long("io") => runtime.read_io(&mut parser)?,
                Long("demo") => demo = true,
                Long("connections") => {
                    connections = cli::number(&mut parser, "--connections", 1..=1_000_000)?;
                    needs_demo = Some("--connections");
                }
                Long("size") => {
                    size = cli::number(&mut parser, "--size", 1..=1 << 30)?;
                    needs_demo = Some("--size");
                }
                Long("seconds") => {
                    seconds = cli::number(&mut parser, "--seconds", 1..=86_400)?;
                    needs_demo = Some("--seconds");
                }
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(arg.unexpected().into()),
            }
        }
        if let (Some(option), false) = (needs_demo, demo) {
            return Err(Failure::Usage(format!("{option} goes with --demo")));
        }
        let default_port = if demo { 0 } else { 9090 };
        Ok(Some(Options {
            runtime,
            addresses: addresses
                .unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], default_port))]),
            demo: demo.then_some(Plan {
                connections: connections as usize,
                size: size as usize,
                duration: Duration::from_secs(seconds),
            }),
        }))
    }
}
