//! No more stacks to be had: the spawner is told, and everybody else goes on.

mod common;

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use common::{Child, Counter, Gate, pollers};
use filature::poller::Source;
use filature::{
    Builder, Guard, JoinError, JoinHandle, JoinState, Runtime, current, is_coroutine, park, sleep,
    spawn, try_spawn, yield_now,
};

const PAGE: usize = 4096;

/// Where stacks are short, one that must stay on its worker starts there or not
/// at all.
fn a_local_one_stays_here() {
    let here = std::thread::current().id();
    let spawned = Builder::new().spawn_local(|| std::thread::current().id());
    match spawned.map(JoinHandle::join) {
        Ok(Ok(thread)) => assert_eq!(thread, here),
        Ok(Err(JoinError::NotStarted(error))) | Err(error) => {
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        }
        Ok(Err(other)) => panic!("{other}"),
    }
}

/// Spawns coroutines that park until a spawn is refused; gives the parked ones,
/// and what the joins of those said that could not start and then the spawn.
fn park_until_there_are_no_more(runtime: &Runtime) -> (Vec<JoinHandle<()>>, [String; 2]) {
    // More than there will be, since it could not grow in a process without room.
    let mut parked = Vec::with_capacity(40_000);
    let started = Counter::new();
    let mut at_join = String::new();
    loop {
        let went_on = started.get();
        let spawned = runtime.spawn_with(Builder::new(), {
            let started = started.clone();
            move || {
                started.up();
                park();
                a_local_one_stays_here();
            }
        });
        let handle = match spawned {
            Ok(handle) => handle,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                return (parked, [at_join, error.to_string()]);
            }
        };
        while started.get() == went_on && !handle.is_finished() {
            std::thread::yield_now();
        }
        if started.get() > went_on {
            parked.push(handle);
            continue;
        }
        assert_eq!(handle.state(), JoinState::Done);
        match handle.join().unwrap_err() {
            JoinError::NotStarted(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                at_join = error.to_string();
            }
            other => panic!("one that never ran ended otherwise: {other}"),
        }
    }
}

/// A stack comes back a little after its coroutine's end, or lies with a worker
/// that has not heard yet that others have none.
fn spawn_when_possible(runtime: &Runtime, value: usize) -> usize {
    loop {
        let spawned = runtime.spawn_with(Builder::new(), move || value);
        let error = match spawned.map(JoinHandle::join) {
            Ok(Ok(value)) => return value,
            Ok(Err(JoinError::NotStarted(error))) | Err(error) => error,
            Ok(Err(other)) => panic!("{other}"),
        };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        std::thread::yield_now();
    }
}

/// After the limit was hit: all those that have started go on, and once some have
/// ended there is room again.
fn recover(runtime: &Runtime, mut parked: Vec<JoinHandle<()>>) {
    // What those used that end can be had again, be it one or many.
    for (end, start) in [(1, 1), (1, 3), (100, 200)] {
        let some = parked.split_off(parked.len() - end);
        some.iter().for_each(|h| h.coroutine().unpark());
        some.into_iter().for_each(|h| h.join().unwrap());
        for i in 0..start {
            assert_eq!(spawn_when_possible(runtime, i), i);
        }
    }
    parked.iter().for_each(|h| h.coroutine().unpark());
    parked.into_iter().for_each(|h| h.join().unwrap());
}

#[test]
fn without_mappings_for_more_guards_the_spawner_is_told_and_the_rest_goes_on() {
    let name = "without_mappings_for_more_guards_the_spawner_is_told_and_the_rest_goes_on";
    for io in pollers() {
        for workers in ["1", "2"] {
            let child = Child::of(name, || {
                let runtime = Runtime::builder().guard(Guard::Mprotect).build().unwrap();
                let (parked, errors) = park_until_there_are_no_more(&runtime);
                for error in errors {
                    assert!(error.contains("vm.max_map_count"), "{error}");
                    assert!(error.contains("coroutine stacks"), "{error}");
                }
                recover(&runtime, parked);
            });
            let ended = child
                .env("FILATURE_IO", io.to_string())
                .env("FILATURE_WORKERS", workers)
                // So that the limit is reached with less memory.
                .env("FILATURE_STACK_SIZE", "32768")
                .run();
            ended.succeeded();
        }
    }
}

fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    pages * PAGE as u64
}

#[test]
fn without_address_space_for_more_stacks_the_spawner_is_told_and_the_rest_goes_on() {
    let name = "without_address_space_for_more_stacks_the_spawner_is_told_and_the_rest_goes_on";
    for io in pollers() {
        let child = Child::of(name, || {
            let runtime = Runtime::builder().stack_size(1 << 20).build().unwrap();
            // Whatever is made at the first use is there.
            runtime.run(|| {
                (0..100)
                    .map(|_| spawn(|| ()))
                    .for_each(|h| h.join().unwrap())
            });
            let limit = address_space() + (512 << 20);
            let limit = libc::rlimit {
                rlim_cur: limit,
                rlim_max: limit,
            };
            // SAFETY: `limit` is a valid `rlimit` that lives for the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
            let (parked, errors) = park_until_there_are_no_more(&runtime);
            for error in errors {
                let shortage = "no memory for another stack of 1048576 bytes";
                assert!(error.contains(shortage), "{error}");
                assert!(error.contains("ulimit -v"), "{error}");
            }
            recover(&runtime, parked);
        });
        let ended = child
            .env("FILATURE_IO", io.to_string())
            .env("FILATURE_WORKERS", "2")
            .env("MALLOC_ARENA_MAX", "1")
            .run();
        ended.succeeded();
    }
}

/// What a coroutine captures. Dropped by a worker, unrun, it waits in all ways that
/// there are.
struct Unrun {
    ran: bool,
    /// Who gets it back if the spawn is refused.
    spawner: ThreadId,
    /// One that is parked.
    parked: Arc<Mutex<Option<JoinHandle<()>>>>,
    waited: Counter,
}

impl Drop for Unrun {
    fn drop(&mut self) {
        let home = std::thread::current().id();
        if self.ran || home == self.spawner {
            return;
        }
        assert!(is_coroutine());
        yield_now();
        sleep(Duration::from_micros(100));
        current().unpark();
        park();
        let (reader, _writer) = std::io::pipe().unwrap();
        let soon = Instant::now() + Duration::from_micros(100);
        let read = Source::new(reader.into()).read(&mut [0; 8], Some(soon));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        let parked = self.parked.lock().unwrap().take();
        if let Some(parked) = parked {
            parked.coroutine().unpark();
            parked.join().unwrap();
        }
        assert_eq!(home, std::thread::current().id());
        self.waited.up();
    }
}

#[test]
fn destructors_of_those_that_cannot_start_may_wait() {
    let name = "destructors_of_those_that_cannot_start_may_wait";
    for io in pollers() {
        for workers in ["1", "2"] {
            let child = Child::of(name, || {
                let runtime = Runtime::builder().guard(Guard::Mprotect).build().unwrap();
                let (started, waited) = (Counter::new(), Counter::new());
                let to_join = Arc::new(Mutex::new(None));
                let spawn_one = || {
                    let started = started.clone();
                    let unrun = Unrun {
                        ran: false,
                        spawner: std::thread::current().id(),
                        parked: to_join.clone(),
                        waited: waited.clone(),
                    };
                    runtime.spawn_with(Builder::new(), move || {
                        let mut unrun = unrun;
                        unrun.ran = true;
                        started.up();
                        park();
                    })
                };
                let mut parked = Vec::with_capacity(40_000);
                let mut refused = Vec::new();
                while refused.is_empty() {
                    let before = started.get();
                    // So that several meet the limit at once.
                    let batch: Vec<_> = (0..20).map_while(|_| spawn_one().ok()).collect();
                    let ended = || batch.iter().filter(|h| h.is_finished()).count();
                    while started.get() - before + ended() < batch.len() {
                        std::thread::yield_now();
                    }
                    let (over, waiting) = batch.into_iter().partition(JoinHandle::is_finished);
                    refused = over;
                    parked.extend::<Vec<_>>(waiting);
                    to_join
                        .lock()
                        .unwrap()
                        .get_or_insert_with(|| parked.pop().unwrap());
                }
                assert_eq!(waited.get(), refused.len());
                for handle in refused {
                    let error = handle.join().unwrap_err();
                    assert!(matches!(error, JoinError::NotStarted(_)), "{error}");
                }
                recover(&runtime, parked);
            });
            let ended = child
                .env("FILATURE_IO", io.to_string())
                .env("FILATURE_WORKERS", workers)
                // So that the limit is reached with less memory.
                .env("FILATURE_STACK_SIZE", "32768")
                .run();
            ended.succeeded();
        }
    }
}

#[test]
fn a_detached_coroutine_that_cannot_start_is_told_of_by_the_panic_hook() {
    let name = "a_detached_coroutine_that_cannot_start_is_told_of_by_the_panic_hook";
    let child = Child::of(name, || {
        let runtime = Runtime::builder().guard(Guard::Mprotect).build().unwrap();
        let told = Gate::new();
        let opener = told.clone();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("{info}");
            opener.open();
        }));
        while !told.is_open() {
            drop(runtime.spawn_with(Builder::new().name("unlucky"), park));
        }
    });
    let ended = child.env("FILATURE_STACK_SIZE", "32768").run();
    ended.succeeded().says(&[
        "'unlucky'",
        "could not start",
        "vm.max_map_count",
        "exhaustion.rs",
    ]);
}

/// Joins, as it is dropped, what it has.
struct Joins(Option<JoinHandle<()>>);

impl Drop for Joins {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = handle.join();
        }
    }
}

#[test]
fn those_that_cannot_start_may_wait_for_each_other_once_there_are_stacks_again() {
    let name = "those_that_cannot_start_may_wait_for_each_other_once_there_are_stacks_again";
    for io in pollers() {
        let child = Child::of(name, || {
            let runtime = Runtime::builder().guard(Guard::Mprotect).build().unwrap();
            // Triples: one that takes a stack, one that is joined, and one whose
            // closure joins that as it is dropped.
            let all = runtime.run(|| {
                let mut all = Vec::with_capacity(60_000);
                let mut triple = || {
                    all.push(try_spawn(park)?);
                    let joined = try_spawn(|| ())?;
                    let joins = Joins(Some(joined));
                    all.push(try_spawn(move || drop(joins))?);
                    Ok::<_, std::io::Error>(())
                };
                // Not many at a time: a worker that is short of time starts few.
                while triple().is_ok() {
                    yield_now();
                }
                all
            });
            while !all.iter().all(JoinHandle::is_finished) {
                all.iter().for_each(|handle| handle.coroutine().unpark());
                std::thread::yield_now();
            }
            drop(runtime);
        });
        let ended = child
            .env("FILATURE_IO", io.to_string())
            .env("FILATURE_WORKERS", "1")
            .env("FILATURE_STACK_SIZE", "32768")
            .run();
        ended.succeeded();
    }
}
