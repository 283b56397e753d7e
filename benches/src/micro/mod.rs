//! The small benches: what one operation of the scheduler costs, on each runtime in turn.
//!
//! `list.rs` says what is measured at which sizes; the programs are in one file for each runtime (`on_*.rs`), and what
//! they share in one file for each idea.

mod clock;
mod idle;
mod list;
mod memory;
mod on_filature;
mod on_filature_parked;
mod on_may;
mod on_tokio;
mod spread;
mod tools;
mod turns;
mod wake;

use crate::case::Case;
use crate::child::{self, Reading};
use crate::go;
use crate::report::Row;

/// What to measure, and how well.
pub struct Options {
    /// The benches to run; all of them if empty.
    pub names: Vec<String>,
    /// How many times each case is measured.
    pub rounds: usize,
    /// Overrides how many coroutines, tasks or leaves there are.
    pub coroutines: Option<usize>,
    /// Whether rough figures will do.
    pub quick: bool,
}

/// Runs the benches, handing over the rows of each as soon as it is finished.
pub fn run(options: &Options, mut finished: impl FnMut(&[Row])) -> Result<(), String> {
    let benches = list::benches(options);
    if let Some(unknown) = options
        .names
        .iter()
        .find(|name| benches.iter().all(|bench| bench.name != **name))
    {
        let names: Vec<_> = benches.iter().map(|bench| bench.name).collect();
        return Err(format!(
            "there is no bench {unknown:?}; there are {}",
            names.join(", ")
        ));
    }
    for bench in benches {
        if options.names.is_empty() || options.names.iter().any(|name| name == bench.name) {
            let rows = measure_in_turn(bench.cases, bench.unit, options.rounds, measure_apart);
            finished(&rows);
        }
    }
    Ok(())
}

/// Measures every case once a round, so that what the machine does meanwhile falls on all of them alike. A case that
/// failed is not tried again.
pub fn measure_in_turn(
    cases: Vec<Case>,
    unit: &'static str,
    rounds: usize,
    measure: impl Fn(&Case) -> Result<Reading, String>,
) -> Vec<Row> {
    let mut results: Vec<Vec<Result<Reading, String>>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (case, results) in cases.iter().zip(&mut results) {
            if !results.iter().any(Result::is_err) {
                eprintln!("round {round} of {rounds}: {} on {}", case.bench, case.on);
                results.push(measure(case));
            }
        }
    }
    cases
        .into_iter()
        .zip(results)
        .map(|(case, results)| Row::new(case, unit, results))
        .collect()
}

fn measure_apart(case: &Case) -> Result<Reading, String> {
    match (case.on.as_str(), case.bench.as_str()) {
        ("go", "parked_memory") => go::measure("parked_memory", case),
        ("go", bench) if tools::BENCHES.contains(&bench) => go::measure("tools", case),
        ("go", _) => go::measure("skynet", case),
        _ => child::measure(case),
    }
}

/// Measures one case in this process.
pub fn measure(case: &Case) -> Result<Reading, String> {
    if tools::BENCHES.contains(&case.bench.as_str()) {
        return tools::measure(case);
    }
    match case.on.as_str() {
        "filature" => on_filature::measure(case),
        "may" => on_may::measure(case),
        "tokio" | "tokio_current_thread" => on_tokio::measure(case),
        "bare" => wake::measure_bare(case),
        unknown => Err(format!("there is no runtime {unknown:?}")),
    }
}
