//! A line a second, and the summary at the end.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

use filature_examples::format;

use crate::server::{Counts, Server};

const EVERY: Duration = Duration::from_secs(1);

/// Prints a line. A reader who has gone away does not stop the program.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What was counted when the last line was printed.
pub struct Report {
    begin: Instant,
    at: Instant,
    lines: u32,
    counts: Vec<Counts>,
}

impl Report {
    pub fn new(server: &Server) -> Report {
        let now = Instant::now();
        Report {
            begin: now,
            at: now,
            lines: 0,
            counts: server.counts(),
        }
    }

    /// How long until the next line is due. Counted from the beginning, so that lines do not
    /// drift.
    pub fn until_next(&self) -> Duration {
        (self.begin + EVERY * (self.lines + 1)).saturating_duration_since(Instant::now())
    }

    pub fn next_line(&mut self, server: &Server) -> String {
        let (now, counts) = (Instant::now(), server.counts());
        let elapsed = now - self.at;
        let since = |what: fn(&Counts) -> u64| -> Vec<u64> {
            let pairs = counts.iter().zip(&self.counts);
            pairs.map(|(new, old)| what(new) - what(old)).collect()
        };
        let open: Vec<_> = counts.iter().map(Counts::open).collect();
        let messages = since(|c| c.messages);
        let line = format!(
            "{:>5} s  {:>7} open ({})  {:>10} messages/s ({})  {:>10}",
            (now - self.begin).as_secs(),
            format::grouped(open.iter().sum()),
            format::spread(&open),
            format::grouped(format::rate(messages.iter().sum(), elapsed)),
            format::shares(&messages),
            format::throughput(since(|c| c.bytes).iter().sum(), elapsed),
        );
        (self.at, self.counts) = (now, counts);
        self.lines += 1;
        line
    }

    /// All of it, where `left` connections had to be cut off.
    pub fn summary(&self, server: &Server, left: usize) -> String {
        let counts = server.counts();
        let total = |what: fn(&Counts) -> u64| counts.iter().map(what).sum::<u64>();
        let cut = match left {
            0 => String::new(),
            left => format!(", {} cut off", format::grouped(left as u64)),
        };
        format!(
            "echo: stopped after {} s: {}{cut}, {}, {:.1} MB",
            self.begin.elapsed().as_secs(),
            format::count(total(|c| c.opened), "connection"),
            format::count(total(|c| c.messages), "message"),
            total(|c| c.bytes) as f64 / 1e6,
        )
    }
}

impl Counts {
    pub fn open(&self) -> u64 {
        // The two are not read at one instant.
        self.opened.saturating_sub(self.closed)
    }
}
