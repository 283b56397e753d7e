//! The load generator: a coroutine for each client, in the process of the server.

mod client;
mod progress;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use filature::{JoinError, JoinHandle, Runtime};
use filature_examples::cli::{self, Failure};
use filature_examples::per_worker::PerWorker;
use filature_examples::{format, limits, signals};
use hdrhistogram::Histogram;

use crate::options::{Options, Plan};
use crate::report::say;
use crate::server::Server;
use progress::Progress;

/// How long all together may take to connect, and after the end to finish their last message,
/// before they count as stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many failures are told one by one.
const TOLD: usize = 3;

/// What clients share.
struct Demo {
    plan: Plan,
    /// Set when all have connected: when they may begin, and when to end.
    clock: OnceLock<(Instant, Instant)>,
    stopped: AtomicBool,
    measured: PerWorker<Measured>,
}

/// What the clients at home on one worker have measured.
struct Measured {
    messages: AtomicU64,
    /// In nanoseconds. Never contended: its coroutines take turns, and hold it over no wait.
    latency: Mutex<Histogram<u64>>,
}

/// Nanoseconds up to an hour, three digits of each.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(3_600_000_000_000, 3).expect("within what a histogram can hold")
}

impl Default for Measured {
    fn default() -> Self {
        Measured {
            messages: AtomicU64::new(0),
            latency: Mutex::new(new_histogram()),
        }
    }
}

impl Measured {
    fn record(&self, latency: Duration) {
        let nanos = latency.as_nanos().try_into().unwrap_or(u64::MAX);
        let mut histogram = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(nanos);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

impl Demo {
    fn messages(&self) -> u64 {
        let each = self.measured.iter();
        each.map(|m| m.messages.load(Ordering::Relaxed)).sum()
    }

    fn latency(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        for measured in self.measured.iter() {
            let one = measured.latency.lock();
            all.add(&*one.unwrap_or_else(PoisonError::into_inner))
                .expect("they have the same bounds");
        }
        all
    }
}

/// What the main thread waits for.
enum Event {
    Connected,
    Ended,
    Interrupted,
}

type Client = JoinHandle<Result<(), String>>;

pub fn run(options: &Options, plan: &Plan) -> Result<(), Failure> {
    check_descriptors(plan)?;
    let runtime = options.runtime.start()?;
    let server = Server::start(&runtime, &options.addresses)?;
    let (events, inbox) = mpsc::channel();
    let interrupted = events.clone();
    signals::watch(move || drop(interrupted.send(Event::Interrupted)))?;
    say(format_args!(
        "echo demo: {}, messages of {}, {} s, {}",
        format::count(plan.connections as u64, "connection"),
        format::count(plan.size as u64, "byte"),
        plan.duration.as_secs(),
        cli::describe(&runtime),
    ));

    let demo = Arc::new(Demo {
        plan: *plan,
        clock: OnceLock::new(),
        stopped: AtomicBool::new(false),
        measured: PerWorker::new(runtime.workers()),
    });
    let clients = start_clients(&runtime, &demo, &server, &events);
    let elapsed = supervise(&demo, &clients, &inbox)?;
    let failures = collect(clients);
    server.stop(Duration::from_secs(1));
    let steals = runtime.stats().workers.iter().map(|w| w.steals).sum();
    drop(runtime);

    if demo.messages() > 0 {
        print_results(&demo, &server, elapsed, steals);
    }
    verdict(plan, failures, demo.messages())
}

/// Two for each connection, and some for the runtime and the rest of the process.
fn check_descriptors(plan: &Plan) -> Result<(), Failure> {
    const OTHERS: u64 = 256;
    let limit = limits::raise_descriptors()
        .map_err(|error| Failure::to("raise the limit of open descriptors", error))?;
    let needed = 2 * plan.connections as u64 + OTHERS;
    if needed > limit {
        let most = limit.saturating_sub(OTHERS) / 2;
        let advice = match most {
            0 => "raise `ulimit -Hn`".to_owned(),
            most => format!("raise `ulimit -Hn`, or run with --connections {most}"),
        };
        return Err(Failure::Run(format!(
            "{} need {} open descriptors, but this process may have {}: {advice}",
            format::count(plan.connections as u64, "connection"),
            format::grouped(needed),
            format::grouped(limit),
        )));
    }
    Ok(())
}

fn start_clients(
    runtime: &Runtime,
    demo: &Arc<Demo>,
    server: &Server,
    events: &Sender<Event>,
) -> Vec<Client> {
    let addr = server.addr();
    let start = |id| {
        let (demo, events) = (Arc::clone(demo), events.clone());
        runtime.spawn(move || client::run(id, addr, &demo, &events))
    };
    (0..demo.plan.connections).map(start).collect()
}

/// Sees the clients through: all connect, all begin together, all end. Returns how long it took.
fn supervise(
    demo: &Demo,
    clients: &[Client],
    inbox: &Receiver<Event>,
) -> Result<Duration, Failure> {
    let (mut connected, mut ended) = (0, 0);
    let mut progress = Progress::new();
    let mut give_up = Instant::now() + PATIENCE;
    while ended < clients.len() {
        match inbox.recv_timeout(progress.until_next()) {
            Ok(Event::Connected) => connected += 1,
            Ok(Event::Ended) => ended += 1,
            Ok(Event::Interrupted) => demo.stopped.store(true, Ordering::Relaxed),
            Err(RecvTimeoutError::Timeout) => match demo.clock.get() {
                None => progress.connecting(connected, clients.len()),
                Some((begin, _)) => progress.running(demo.messages(), begin.elapsed(), &demo.plan),
            },
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // A client that could not connect has ended: the others need not begin.
        if demo.clock.get().is_none() && connected + ended >= clients.len() {
            if ended > 0 {
                demo.stopped.store(true, Ordering::Relaxed);
            }
            let begin = Instant::now();
            let end = begin + demo.plan.duration;
            demo.clock.get_or_init(|| (begin, end));
            give_up = end + PATIENCE;
            clients.iter().for_each(|c| c.coroutine().unpark());
            progress.restart();
        }
        if Instant::now() > give_up {
            progress.clear();
            eprintln!("{}", filature::dump());
            return Err(Failure::Run(format!(
                "{} got no answer; above is what they wait for",
                format::count((clients.len() - ended) as u64, "connection")
            )));
        }
    }
    progress.clear();
    let begun = demo.clock.get();
    Ok(begun.map_or(Duration::ZERO, |(begin, _)| begin.elapsed()))
}

fn collect(clients: Vec<Client>) -> Vec<String> {
    let outcome = |client: Client| match client.join() {
        Ok(result) => result.err(),
        Err(JoinError::Panicked(_)) => Some("a client panicked".to_owned()),
        Err(error) => Some(format!("a client did not run: {error}")),
    };
    clients.into_iter().filter_map(outcome).collect()
}

fn print_results(demo: &Demo, server: &Server, elapsed: Duration, steals: u64) {
    let messages = demo.messages();
    let latency = demo.latency();
    let quantile = |q| format::duration(Duration::from_nanos(latency.value_at_quantile(q)));
    let counts = server.counts();
    let opened: Vec<_> = counts.iter().map(|c| c.opened).collect();
    let served: Vec<_> = counts.iter().map(|c| c.messages).collect();
    say(format_args!(
        "  throughput   {} messages/s, {} each way",
        format::grouped(format::rate(messages, elapsed)),
        format::throughput(messages * demo.plan.size as u64, elapsed),
    ));
    say(format_args!(
        "  latency      p50 {}, p99 {}, p99.9 {}",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
    ));
    say(format_args!(
        "  connections  {} by worker, load {}",
        format::spread(&opened),
        format::shares(&served),
    ));
    say(format_args!("  steals       {}", format::grouped(steals)));
}

fn verdict(plan: &Plan, failures: Vec<String>, messages: u64) -> Result<(), Failure> {
    if failures.is_empty() {
        say(format_args!(
            "  checked      {} bytes in {}: every one came back right",
            format::grouped(messages * plan.size as u64),
            format::count(messages, "message"),
        ));
        return Ok(());
    }
    for failure in failures.iter().take(TOLD) {
        eprintln!("echo: {failure}");
    }
    Err(Failure::Run(format!(
        "{} of {} failed",
        format::grouped(failures.len() as u64),
        format::count(plan.connections as u64, "connection"),
    )))
}
