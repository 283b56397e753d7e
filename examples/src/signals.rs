//! Ctrl-C stops, twice stops at once, `SIGQUIT` (Ctrl-\) dumps.

use std::sync::Once;

use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Failure;

/// Calls `stop` on the first `SIGINT` or `SIGTERM`; the second ends the process. `SIGQUIT` prints
/// what every coroutine and worker is doing.
///
/// Signals are waited for by a plain thread of their own, so that they are answered even when every
/// worker is busy or stuck, which is when a dump is wanted most.
pub fn watch(stop: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::to("watch for signals", error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGQUIT]).map_err(fail)?;
    let first = Once::new();
    let answer = move || {
        for signal in signals.forever() {
            match signal {
                SIGQUIT => eprintln!("{}", filature::dump()),
                _ if first.is_completed() => std::process::exit(128 + signal),
                _ => first.call_once(&stop),
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(answer).map_err(fail)?;
    Ok(())
}
