//! A million coroutines: each spawns ten, down to the leaves, whose numbers are summed on the way
//! back up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use filature::Runtime;
use filature_examples::cli::{self, Failure, RuntimeOptions};
use filature_examples::format;
use lexopt::Arg::{Long, Short};

const CHILDREN: u64 = 10;
const WARM_RUNS: usize = 5;

/// The sum of the `leaves` numbers from `first` on.
fn sum(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let children = CHILDREN.min(leaves);
    let handles: [_; CHILDREN as usize] = std::array::from_fn(|child| {
        let child = child as u64;
        // Even shares, and none where there are fewer leaves than children.
        let begin = leaves * child.min(children) / children;
        let end = leaves * (child + 1).min(children) / children;
        (begin < end).then(|| filature::spawn(move || sum(first + begin, end - begin)))
    });
    let sums = handles.into_iter().flatten().map(|handle| {
        handle
            .join()
            .unwrap_or_else(|error| panic!("a coroutine did not finish: {error}"))
    });
    sums.sum()
}

/// One run: the sum, and how long it took.
fn run_once(runtime: &Runtime, leaves: u64) -> (u64, Duration) {
    let begin = Instant::now();
    let total = runtime.run(move || sum(0, leaves));
    (total, begin.elapsed())
}

fn started(runtime: &Runtime) -> u64 {
    runtime.stats().workers.iter().map(|w| w.started).sum()
}

fn run() -> Result<(), Failure> {
    let mut options = RuntimeOptions::default();
    let mut leaves = 1_000_000;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("leaves") => leaves = cli::number(&mut parser, "--leaves", 1..=100_000_000)?,
            Long("workers") => options.read_workers(&mut parser)?,
            Long("io") => options.read_io(&mut parser)?,
            Long("help") | Short('h') => {
                println!(
                    "skynet: each coroutine spawns ten, down to a million leaves, and sums\n\n\
                     Options:\n    \
                     --leaves N           how many leaves; default: 1,000,000\n{}",
                    RuntimeOptions::HELP
                );
                return Ok(());
            }
            _ => return Err(arg.unexpected().into()),
        }
    }

    let runtime = options.start()?;
    println!(
        "skynet: {} leaves, {}",
        format::grouped(leaves),
        cli::describe(&runtime)
    );
    let (total, cold) = run_once(&runtime, leaves);
    println!("sum         {total}");
    let expected = leaves * (leaves - 1) / 2;
    if total != expected {
        return Err(Failure::Run(format!("the sum should be {expected}")));
    }
    println!("coroutines  {}", format::grouped(started(&runtime)));
    println!("cold        {}", format::duration(cold));

    let mut warm: Vec<_> = (0..WARM_RUNS)
        .map(|_| run_once(&runtime, leaves).1)
        .collect();
    warm.sort_unstable();
    println!(
        "warm        {} ({} to {}, {WARM_RUNS} runs)",
        format::duration(warm[WARM_RUNS / 2]),
        format::duration(warm[0]),
        format::duration(warm[WARM_RUNS - 1]),
    );
    let stats = runtime.stats();
    let by_worker: Vec<_> = stats.workers.iter().map(|w| w.started).collect();
    let steals = stats.workers.iter().map(|w| w.steals).sum();
    println!("by worker   {}", format::shares(&by_worker));
    println!("steals      {}", format::grouped(steals));
    Ok(())
}

fn main() -> ExitCode {
    cli::finish("skynet", run())
}
