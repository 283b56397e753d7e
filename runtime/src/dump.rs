//! Looking at what runs: every coroutine and worker, at any moment, from any
//! thread, without stopping anybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::coroutine::control::{Control, Phase};
use crate::coroutine::slab;
use crate::facade::Ordering;
use crate::poller::Io;
use crate::runtime::runtimes;
use crate::scheduler::remote::Remote;
use crate::scheduler::shared::Shared;
use crate::scheduler::wait::{Wait, worker};

/// What a coroutine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Spawned, not yet started.
    Queued,
    /// Running on its worker.
    Running,
    /// Waiting for its turn.
    Ready,
    /// Waiting for what the name says (`park`, `join`, `sleep`, `recv`, ...),
    /// for about as long: to a millisecond, and for up to 26 days.
    Waiting(&'static str, Duration),
}

/// One coroutine in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoroutineInfo {
    /// Its number, unique in the process.
    pub id: u64,
    /// Its name, if it was given one.
    pub name: Option<Arc<str>>,
    /// What it is doing.
    pub state: State,
    /// Where it was spawned.
    pub spawned_at: &'static std::panic::Location<'static>,
    /// The worker that it is at home on, once it has started.
    pub worker: Option<usize>,
}

/// One worker's counters since its start.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Coroutines that it has started.
    pub started: u64,
    /// Of these, the ones that have ended.
    pub finished: u64,
    /// Of these, the ones that have not.
    pub live: u64,
    /// How often a coroutine of its has waited for something.
    pub parks: u64,
    /// How often it has looked at its poller.
    pub polls: u64,
    /// How often it has gone to sleep.
    pub sleeps: u64,
    /// How often it has taken unstarted coroutines from another worker.
    pub steals: u64,
    /// How many those were.
    pub stolen: u64,
    /// Unstarted coroutines that it gave to a less laden worker.
    pub handed_over: u64,
    /// Unstarted coroutines in its deque now.
    pub queued: usize,
    /// Started coroutines in its run queue when it last looked.
    pub ready: usize,
}

/// The workers' counters of one runtime.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// By the worker's number.
    pub workers: Vec<WorkerStats>,
    /// Coroutines spawned from outside that no worker has taken yet.
    pub injected: usize,
}

impl Stats {
    pub(crate) fn of(shared: &Shared) -> Stats {
        let workers = shared
            .remotes
            .iter()
            .map(|remote| {
                let c = &remote.counters;
                let finished = c.finished.load(Ordering::Relaxed);
                let started = c.started.load(Ordering::Relaxed);
                WorkerStats {
                    started,
                    finished,
                    live: started.saturating_sub(finished),
                    parks: c.parks.load(Ordering::Relaxed),
                    polls: c.polls.load(Ordering::Relaxed),
                    sleeps: c.sleeps.load(Ordering::Relaxed),
                    steals: c.steals.load(Ordering::Relaxed),
                    stolen: c.stolen.load(Ordering::Relaxed),
                    handed_over: c.handed_over.load(Ordering::Relaxed),
                    queued: remote.stealer.len(),
                    ready: c.ready.load(Ordering::Relaxed) as usize,
                }
            })
            .collect();
        Stats {
            workers,
            injected: shared.injector.len(),
        }
    }
}

/// The counters of the current runtime's workers: inside a coroutine its own
/// runtime's, else the process-wide one's; empty if that has not been started.
pub fn stats() -> Stats {
    // SAFETY: a worker's pointer is only set while it lives, on its thread.
    if let Some(worker) = unsafe { worker().as_ref() } {
        return Stats::of(&worker.shared);
    }
    crate::runtime::started_default()
        .map(|runtime| runtime.stats())
        .unwrap_or_default()
}

/// One runtime in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// The name of its threads.
    pub thread_name: String,
    /// Its poller.
    pub io: Io,
    /// Its workers' counters.
    pub stats: Stats,
    /// Its coroutines, by number.
    pub coroutines: Vec<CoroutineInfo>,
}

/// A picture of runtimes, their workers and all their coroutines, made by
/// [`dump`] or [`Runtime::dump`](crate::Runtime::dump). Shown by `Display`.
///
/// It is taken while everybody goes on, so what it shows of one coroutine is
/// from about one moment, and of two may be from two.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The runtimes, in the order in which they were started.
    pub runtimes: Vec<RuntimeInfo>,
}

/// Every runtime of the process, with its workers and coroutines. From any
/// thread, while they work.
pub fn dump() -> Dump {
    Dump::of(runtimes())
}

impl Dump {
    pub(crate) fn of(shared: Vec<Arc<Shared>>) -> Dump {
        let mut runtimes: Vec<RuntimeInfo> = shared
            .iter()
            .map(|shared| RuntimeInfo {
                thread_name: shared.config.thread_name.clone(),
                io: shared.io.get().copied().unwrap_or_default(),
                stats: Stats::of(shared),
                coroutines: Vec::new(),
            })
            .collect();
        slab::for_each(|control| {
            let runtime = control.runtime.load(Ordering::Relaxed);
            let Some(at) = shared.iter().position(|shared| shared.id == runtime) else {
                return;
            };
            runtimes[at]
                .coroutines
                .extend(look_at(control, &shared[at]));
        });
        for runtime in &mut runtimes {
            runtime.coroutines.sort_unstable_by_key(|c| c.id);
        }
        Dump { runtimes }
    }
}

/// What a block shows, unless it is free or changed hands as it was looked at.
fn look_at(control: &Control, shared: &Shared) -> Option<CoroutineInfo> {
    let id = control.id();
    if id == 0 {
        return None;
    }
    let home = control.home.load(Ordering::Relaxed).cast::<Remote>();
    // Only compared, never dereferenced: the block may have changed hands.
    let home = shared
        .remotes
        .iter()
        .find(|remote| std::ptr::eq(*remote, home));
    let state = match control.phase() {
        Phase::Free | Phase::Finished => return None,
        Phase::Queued => State::Queued,
        Phase::Started if control.token.is_parked() || control.claim.is_open() => {
            let wait = Wait::describe(control.wait.load(Ordering::Relaxed));
            State::Waiting(wait, control.parked_for(shared.now()))
        }
        Phase::Started => {
            let running = home.map(|home| home.counters.running.load(Ordering::Relaxed));
            match running {
                Some(running) if std::ptr::eq(running, control) => State::Running,
                _ => State::Ready,
            }
        }
    };
    let info = CoroutineInfo {
        id,
        name: control.name(),
        state,
        spawned_at: control.site()?,
        worker: home.map(|home| home.index),
    };
    (control.id() == id).then_some(info)
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Queued => f.write_str("queued"),
            State::Running => f.write_str("running"),
            State::Ready => f.write_str("ready"),
            State::Waiting(what, since) => write!(f, "waiting: {what}, {since:.1?}"),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runtimes.is_empty() {
            return writeln!(f, "no filature runtime");
        }
        for runtime in &self.runtimes {
            writeln!(
                f,
                "runtime {}: workers {} on {}, coroutines {}, in the injector {}",
                runtime.thread_name,
                runtime.stats.workers.len(),
                runtime.io,
                runtime.coroutines.len(),
                runtime.stats.injected,
            )?;
            for (index, w) in runtime.stats.workers.iter().enumerate() {
                writeln!(
                    f,
                    "  worker {index}: {} live, {} ready, {} queued; started {}, finished {}, \
                     steals {} ({} coroutines), handed over {}, parks {}, polls {}, sleeps {}",
                    w.live,
                    w.ready,
                    w.queued,
                    w.started,
                    w.finished,
                    w.steals,
                    w.stolen,
                    w.handed_over,
                    w.parks,
                    w.polls,
                    w.sleeps,
                )?;
            }
            for c in &runtime.coroutines {
                write!(f, "  coroutine {}", c.id)?;
                if let Some(name) = &c.name {
                    write!(f, " '{name}'")?;
                }
                if let Some(worker) = c.worker {
                    write!(f, " on worker {worker}")?;
                }
                writeln!(f, ": {} (spawned at {})", c.state, c.spawned_at)?;
            }
        }
        Ok(())
    }
}
