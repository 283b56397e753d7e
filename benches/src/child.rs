//! Every measurement runs in a process of its own: runtimes do not disturb one another, a cold start is cold, and a
//! rival that crashes or hangs costs one row.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::Case;

/// How long one measurement may take before it counts as failed.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The figures of one measurement.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The figure that the bench is about.
    pub main: f64,
    /// Figures to report beside it, by field name.
    pub extra: Vec<(String, Value)>,
}

impl Reading {
    /// A measurement with one figure.
    pub fn of(main: f64) -> Self {
        Reading {
            main,
            extra: Vec::new(),
        }
    }

    /// Adds a figure to report beside the main one.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.push((name.to_owned(), value.into()));
        self
    }

    /// Prints a measurement, or why there is none, for the parent process to read.
    pub fn reply(result: Result<Reading, String>) {
        match result {
            Ok(reading) => println!(
                "{}",
                json!({ "main": reading.main, "extra": reading.extra })
            ),
            Err(error) => println!("{}", json!({ "error": error })),
        }
    }

    fn parse(reply: &str) -> Option<Result<Reading, String>> {
        let reply: Value = serde_json::from_str(reply).ok()?;
        if let Some(error) = reply.get("error") {
            return Some(Err(error.as_str()?.to_owned()));
        }
        let main = reply.get("main")?.as_f64()?;
        let extra = reply.get("extra").cloned().unwrap_or_else(|| json!([]));
        Some(Ok(Reading {
            main,
            extra: serde_json::from_value(extra).ok()?,
        }))
    }

    /// Has any panic in this process reply that the measurement failed and end the process at once: after a panic a
    /// runtime may hang, and may panics once for every coroutine that it has no memory for.
    pub fn reply_to_panics() {
        std::panic::set_hook(Box::new(|panic| {
            Reading::reply(Err(panic.to_string().replace('\n', " ")));
            // SAFETY: ends the process without running anything else in it.
            unsafe { libc::_exit(1) };
        }));
    }
}

/// Has a fresh process of this program measure a case.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let mut command =
        this_program().map_err(|error| format!("the bench cannot find itself: {error}"))?;
    command.arg("measure").args(case.to_args());
    read_from(command)
}

/// A command that runs this very program.
pub fn this_program() -> io::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// Runs a command that replies with one measurement on standard output.
pub fn read_from(mut command: Command) -> Result<Reading, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{:?} cannot be started: {error}", command.get_program()))?;
    let mut output = child.stdout.take().expect("standard output is piped");
    let errors = child.stderr.take().expect("standard error is piped");
    let output = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let complaint = thread::spawn(move || last_line(BufReader::new(errors)));

    let status =
        wait_at_most(&mut child, TIME_LIMIT).map_err(|error| format!("waiting failed: {error}"))?;
    let output = output.join().ok().and_then(Result::ok).unwrap_or_default();
    let complaint = complaint.join().unwrap_or_default();
    match status {
        None => Err(
            format!("no result within {} s {complaint}", TIME_LIMIT.as_secs())
                .trim_end()
                .to_owned(),
        ),
        Some(status) => output
            .lines()
            .rev()
            .find_map(Reading::parse)
            .filter(|result| status.success() || result.is_err())
            .unwrap_or_else(|| Err(format!("{status}: {complaint}"))),
    }
}

fn wait_at_most(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The last line of what a dying process wrote.
fn last_line(errors: impl BufRead) -> String {
    errors
        .lines()
        .map_while(Result::ok)
        .filter(|line| !line.trim().is_empty())
        .last()
        .unwrap_or_default()
}
