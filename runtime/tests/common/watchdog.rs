//! What ends a test that hangs.

use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How long a test may take on one setup before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the process with a dump when it lives for too long.
pub struct Watchdog {
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    pub fn new(what: String) -> Watchdog {
        let (alive, watched) = mpsc::channel();
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                if watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    // Not by `eprintln`, which libtest captures and an abort loses.
                    let text = format!("{test} hangs with {what}\n{}\n", filature::dump());
                    let _ = std::io::stderr().write_all(text.as_bytes());
                    std::process::abort();
                }
            })
            .expect("a thread for the watchdog");
        Watchdog { _alive: alive }
    }
}
