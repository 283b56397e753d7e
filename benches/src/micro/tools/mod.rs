//! What programs are written with: locks, channels, select, timeouts, cancellation; on one worker, where what is
//! measured is the operation and not the way to another core.

mod on_filature;
mod on_may;
mod on_std;
mod on_tokio;

use crate::case::Case;
use crate::child::Reading;

/// The benches.
pub const BENCHES: [&str; 6] = [
    "channel_round_trip",
    "channel_throughput",
    "mutex",
    "select",
    "timeout",
    "cancel",
];

/// Channels in a select.
const ARMS: usize = 8;
/// Messages that a channel has room for, where they are not handed over one by one.
const ROOM: usize = 256;
/// Coroutines that are cancelled one after the other.
const BATCH: usize = 1_000;

/// Measures one case in this process.
pub fn measure(case: &Case) -> Result<Reading, String> {
    match case.on.as_str() {
        "filature" => on_filature::measure(case),
        "may" => on_may::measure(case),
        "tokio" | "tokio_current_thread" => on_tokio::measure(case),
        "std" => on_std::measure(case),
        unknown => Err(format!("there is no runtime {unknown:?}")),
    }
}
