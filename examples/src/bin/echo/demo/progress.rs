//! The live line: on a terminal one line that changes, elsewhere a line a second.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use filature_examples::format;

use crate::options::Plan;

const EVERY: Duration = Duration::from_secs(1);

pub struct Progress {
    terminal: bool,
    next: Instant,
    /// Messages and time at the last line.
    last: (u64, Duration),
    shown: bool,
}

impl Progress {
    pub fn new() -> Progress {
        Progress {
            terminal: std::io::stderr().is_terminal(),
            next: Instant::now() + EVERY,
            last: (0, Duration::ZERO),
            shown: false,
        }
    }

    /// Counts the seconds from now on.
    pub fn restart(&mut self) {
        self.next = Instant::now() + EVERY;
    }

    pub fn until_next(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    pub fn connecting(&mut self, connected: usize, of: usize) {
        self.show(format_args!(
            "connected {} of {}",
            format::grouped(connected as u64),
            format::grouped(of as u64),
        ));
    }

    pub fn running(&mut self, messages: u64, elapsed: Duration, plan: &Plan) {
        let (before, since) = self.last;
        self.last = (messages, elapsed);
        let (messages, elapsed_now) = (messages - before, elapsed - since);
        self.show(format_args!(
            "{} of {} s, {} messages/s",
            elapsed.as_secs(),
            plan.duration.as_secs(),
            format::grouped(format::rate(messages, elapsed_now)),
        ));
    }

    /// Takes the changing line away before something else is printed.
    pub fn clear(&mut self) {
        if self.terminal && self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }

    fn show(&mut self, line: std::fmt::Arguments<'_>) {
        let mut stderr = std::io::stderr();
        let _ = match self.terminal {
            true => write!(stderr, "\r\x1b[K  {line}"),
            false => writeln!(stderr, "  {line}"),
        };
        self.shown = true;
        self.next += EVERY;
    }
}
