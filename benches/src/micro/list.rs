//! Which benches there are, on which runtimes and at which sizes.

use crate::case::Case;
use crate::micro::Options;

const ALL: [&str; 3] = ["filature", "may", "tokio"];
/// tokio's other scheduler has one thread, nobody to steal from it and thus less to pay for.
const ON_ONE_WORKER: [&str; 4] = ["filature", "may", "tokio", "tokio_current_thread"];
const TALKERS: [&str; 5] = ["filature", "may", "tokio", "tokio_current_thread", "go"];
const WITH_GO: [&str; 4] = ["filature", "may", "tokio", "go"];

/// A bench: cases that are measured in turn, round by round.
pub struct Bench {
    pub name: &'static str,
    /// `"ns"`, or the unit of figures that are not nanoseconds.
    pub unit: &'static str,
    pub cases: Vec<Case>,
}

impl Bench {
    fn new(name: &'static str, unit: &'static str) -> Self {
        Bench {
            name,
            unit,
            cases: Vec::new(),
        }
    }

    /// Adds a case for each of some runtimes.
    fn on(mut self, runtimes: &[&str], workers: usize, coroutines: Option<usize>) -> Self {
        self.cases.extend(runtimes.iter().map(|on| Case {
            bench: self.name.to_owned(),
            on: on.to_string(),
            workers,
            coroutines,
            ..Case::default()
        }));
        self
    }

    /// Gives connections to all the cases so far.
    fn with_connections(mut self, connections: usize) -> Self {
        self.cases
            .iter_mut()
            .for_each(|case| case.connections = Some(connections));
        self
    }
}

/// All the benches.
pub fn benches(options: &Options) -> Vec<Bench> {
    let few = options.coroutines.map_or(vec![2, 100, 10_000], |n| vec![n]);
    let million = options.coroutines.unwrap_or(1_000_000);
    // Two mappings a stack, where a process may have 65,530.
    let held_by_may = million.min(30_000);

    let each_few = |bench: Bench, &n: &usize| bench.on(&ON_ONE_WORKER, 1, Some(n));
    let spawning = |name| {
        Bench::new(name, "ns")
            .on(&ON_ONE_WORKER, 1, None)
            .on(&ALL, 2, None)
    };
    let tree = |name| {
        Bench::new(name, "ms")
            .on(&WITH_GO, 1, Some(million))
            .on(&WITH_GO, 2, Some(million))
    };
    let mut benches = vec![
        few.iter().fold(Bench::new("yield", "ns"), each_few),
        Bench::new("park_unpark", "ns").on(&ON_ONE_WORKER, 1, None),
        spawning("spawn_join"),
        spawning("spawn_join_serial"),
        tree("skynet"),
        tree("skynet_cold"),
        Bench::new("wake", "ns")
            .on(&["bare"], 2, None)
            .on(&ALL, 2, None),
        Bench::new("cross_worker", "ns").on(&ALL, 2, None),
        Bench::new("parked_memory", "bytes")
            .on(&WITH_GO, 1, Some(million))
            .on(&["may"], 1, Some(held_by_may)),
        Bench::new("idle", "us")
            .on(&ALL, 2, Some(10_000))
            .with_connections(10_000),
        Bench::new("spread", "percent")
            .on(&["filature"], 2, None)
            .on(&["filature"], 8, None)
            .with_connections(10_000),
        Bench::new("channel_round_trip", "ns").on(&TALKERS, 1, None),
        Bench::new("channel_throughput", "ns")
            .on(&TALKERS, 1, None)
            .on(&WITH_GO, 2, None),
        Bench::new("mutex", "ns").on(&["filature", "std", "may", "tokio"], 1, None),
        Bench::new("select", "ns").on(
            &["filature", "tokio", "tokio_current_thread", "go"],
            1,
            None,
        ),
        Bench::new("timeout", "ns").on(&["filature", "tokio", "tokio_current_thread"], 1, None),
        // may's hangs.
        Bench::new("cancel", "ns").on(&["filature", "tokio", "tokio_current_thread"], 1, None),
    ];
    for case in benches.iter_mut().flat_map(|bench| &mut bench.cases) {
        case.quick = options.quick;
    }
    benches
}
