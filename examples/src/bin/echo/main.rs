//! A multicore echo server, and a load generator that checks every byte of it.
//!
//! Read [`server`] first: accepting and echoing are its first thirty lines.

mod demo;
mod options;
mod report;
mod server;

use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use filature_examples::cli::{self, Failure};
use filature_examples::{limits, signals};
use options::Options;
use report::{Report, say};
use server::Server;

/// How long connections may take to end by themselves once they have been asked to.
const GRACE: Duration = Duration::from_secs(1);

fn run() -> Result<(), Failure> {
    let Some(options) = Options::from_env()? else {
        say(options::HELP);
        return Ok(());
    };
    if let Some(plan) = &options.demo {
        return demo::run(&options, plan);
    }

    // Where it cannot be raised, it serves as many as it may.
    let _ = limits::raise_descriptors();
    let runtime = options.runtime.start()?;
    let server = Server::start(&runtime, &options.addresses)?;
    let (stop, stopped) = mpsc::channel();
    signals::watch(move || {
        let _ = stop.send(());
    })?;
    say(format_args!(
        "echo: listening on {} with {}, pid {}. Ctrl-C stops, Ctrl-\\ dumps.",
        server.addr(),
        cli::describe(&runtime),
        std::process::id(),
    ));

    let mut report = Report::new(&server);
    while stopped.recv_timeout(report.until_next()).is_err() {
        say(report.next_line(&server));
    }
    let left = server.stop(GRACE);
    drop(runtime);
    say(report.summary(&server, left));
    Ok(())
}

fn main() -> ExitCode {
    cli::finish("echo", run())
}
