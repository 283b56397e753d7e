//! One thing to measure, as the parent hands it to the child process that measures it.

use std::ffi::OsString;

use lexopt::prelude::*;

/// A bench, the runtime that it runs on, and the sizes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// Which bench.
    pub bench: String,
    /// Which runtime, or `bare` for none.
    pub on: String,
    /// Worker threads of the runtime.
    pub workers: usize,
    /// How many coroutines, tasks or leaves, where that varies.
    pub coroutines: Option<usize>,
    /// How many connections, for the benches that have any.
    pub connections: Option<usize>,
    /// Bytes in a message.
    pub size: Option<usize>,
    /// How long the measured window is.
    pub seconds: Option<f64>,
    /// Whether a rough figure will do.
    pub quick: bool,
}

impl Case {
    /// The command line of the child process that measures this case.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = vec![self.bench.clone(), self.on.clone()];
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([format!("--{name}"), value]);
            }
        };
        option("workers", Some(self.workers.to_string()));
        option("coroutines", self.coroutines.map(|n| n.to_string()));
        option("connections", self.connections.map(|n| n.to_string()));
        option("size", self.size.map(|n| n.to_string()));
        option("seconds", self.seconds.map(|s| s.to_string()));
        if self.quick {
            args.push("--quick".to_owned());
        }
        args
    }

    /// The reverse of [`to_args`](Self::to_args).
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut case = Case::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Value(value) if case.bench.is_empty() => case.bench = value.string()?,
                Value(value) if case.on.is_empty() => case.on = value.string()?,
                Long("workers") => case.workers = parser.value()?.parse()?,
                Long("coroutines") => case.coroutines = Some(parser.value()?.parse()?),
                Long("connections") => case.connections = Some(parser.value()?.parse()?),
                Long("size") => case.size = Some(parser.value()?.parse()?),
                Long("seconds") => case.seconds = Some(parser.value()?.parse()?),
                Long("quick") => case.quick = true,
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(case)
    }

    /// `coroutines`, for a bench whose cases always carry it.
    pub fn coroutines(&self) -> usize {
        self.coroutines.expect("this bench needs --coroutines")
    }

    /// `connections`, for a bench whose cases always carry it.
    pub fn connections(&self) -> usize {
        self.connections.expect("this bench needs --connections")
    }
}
