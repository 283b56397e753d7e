//! Measures filature against its rivals: `micro` for single operations of the scheduler, `echo` for a server.
//!
//! Reading order: `micro/mod.rs` and `echo/mod.rs` say what is measured, `child.rs` how (each measurement in a process
//! of its own), `report.rs` what is made of the rounds.

mod case;
mod child;
mod echo;
mod go;
mod micro;
mod report;
mod sys;

use std::ffi::OsString;
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::case::Case;
use crate::child::Reading;
use crate::report::Row;

const USAGE: &str = "\
Usage: filature-benches micro [NAME...] [--rounds N] [--coroutines N] [--quick] [--json]
       filature-benches echo [--connections N,N...] [--size BYTES] [--seconds S] [--rounds N] [--quick] [--json]

micro  yield, park_unpark, spawn_join, spawn_join_serial, skynet, skynet_cold, wake, cross_worker,
       parked_memory, idle, spread, channel_round_trip, channel_throughput, mutex, select,
       timeout, cancel: on filature, may and tokio (and Go) in turn; all of them if none is named
echo   what a message costs a server with one worker on one core, with the client on another core

--rounds N       measure everything N times and report medians (5)
--coroutines N   instead of each bench's own number
--quick          rough figures in a fraction of the time; one round unless --rounds says otherwise
--json           one JSON object a line on standard output, and nothing else";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = if args.is_empty() {
        String::new()
    } else {
        args.remove(0).to_string_lossy().into_owned()
    };
    let result = match command.as_str() {
        "micro" | "echo" => run(&command, args),
        "measure" => measure(args),
        "serve" => serve(args),
        "-h" | "--help" | "help" => {
            println!("{USAGE}");
            Ok(())
        }
        "" => Err(format!("what to measure is missing\n\n{USAGE}")),
        unknown => Err(format!("there is no command {unknown:?}\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &str, args: Vec<OsString>) -> Result<(), String> {
    let line = Line::parse(command, args).map_err(|error| format!("{error}\n\n{USAGE}"))?;
    let finished = |rows: &[Row]| {
        if line.json {
            rows.iter().for_each(|row| println!("{}", row.json()));
        } else {
            report::print_table(rows);
        }
    };
    let rounds = line.rounds.unwrap_or(if line.quick { 1 } else { 5 });
    if command == "micro" {
        let options = micro::Options {
            names: line.names,
            rounds,
            coroutines: line.coroutines,
            quick: line.quick,
        };
        micro::run(&options, finished)
    } else {
        let options = echo::Options {
            connections: line.connections,
            size: line.size,
            seconds: line.seconds.unwrap_or(if line.quick { 0.5 } else { 2.0 }),
            rounds,
            quick: line.quick,
        };
        echo::run(&options, finished);
        Ok(())
    }
}

/// A command line.
struct Line {
    names: Vec<String>,
    connections: Vec<usize>,
    size: usize,
    seconds: Option<f64>,
    rounds: Option<usize>,
    coroutines: Option<usize>,
    quick: bool,
    json: bool,
}

impl Line {
    fn parse(command: &str, args: Vec<OsString>) -> Result<Self, lexopt::Error> {
        let micro = command == "micro";
        let mut line = Line {
            names: Vec::new(),
            connections: vec![64, 1000],
            size: 64,
            seconds: None,
            rounds: None,
            coroutines: None,
            quick: false,
            json: false,
        };
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Value(name) if micro => line.names.push(name.string()?),
                Long("coroutines") if micro => line.coroutines = Some(positive(&mut parser)?),
                Long("connections") if !micro => {
                    let list = parser.value()?.string()?;
                    line.connections = list
                        .split(',')
                        .map(|n| parse_positive(n.trim()))
                        .collect::<Result<_, _>>()?;
                }
                Long("size") if !micro => line.size = positive(&mut parser)?,
                Long("seconds") if !micro => line.seconds = Some(parser.value()?.parse()?),
                Long("rounds") => line.rounds = Some(positive(&mut parser)?),
                Long("quick") => line.quick = true,
                Long("json") => line.json = true,
                _ => return Err(arg.unexpected()),
            }
        }
        if line
            .seconds
            .is_some_and(|seconds| !(seconds > 0.0 && seconds < 50.0))
        {
            return Err("--seconds must be more than 0 and less than 50".into());
        }
        Ok(line)
    }
}

fn positive(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    parse_positive(&parser.value()?.string()?)
}

fn parse_positive(text: &str) -> Result<usize, lexopt::Error> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text:?} is not a positive number").into()),
    }
}

/// The child process of one measurement.
fn measure(args: Vec<OsString>) -> Result<(), String> {
    sys::forbid_core_dumps();
    sys::die_with_parent();
    Reading::reply_to_panics();
    let case = Case::from_args(args).map_err(|error| error.to_string())?;
    Reading::reply(if case.bench.starts_with("echo") {
        echo::measure(&case)
    } else {
        micro::measure(&case)
    });
    // A runtime that holds a million coroutines need not take them down one by one.
    std::process::exit(0)
}

/// The server process of one measurement of the echo.
fn serve(mut args: Vec<OsString>) -> Result<(), String> {
    sys::forbid_core_dumps();
    let core = args
        .remove(0)
        .to_string_lossy()
        .parse()
        .map_err(|_| "the core is not a number".to_owned())?;
    let case = Case::from_args(args).map_err(|error| error.to_string())?;
    echo::serve(core, &case)
}
