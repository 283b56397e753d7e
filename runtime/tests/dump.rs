//! The dump and the counters: what they show, and that they show it at any
//! moment.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, Setup, everywhere, on_workers};
use filature::{
    Builder, CoroutineInfo, Runtime, State, current, park, park_timeout, sleep, spawn, yield_now,
};

/// What the dump shows of the coroutine of that number.
fn shown(runtime: &Runtime, id: u64) -> Option<CoroutineInfo> {
    let mut dump = runtime.dump();
    assert_eq!(dump.runtimes.len(), 1);
    let mut all = dump.runtimes.pop().unwrap().coroutines;
    all.retain(|c| c.id == id);
    assert!(all.len() <= 1);
    all.pop()
}

/// Until the dump shows it in such a state.
fn wait_until_shown(runtime: &Runtime, id: u64, is_it: impl Fn(State) -> bool) -> CoroutineInfo {
    loop {
        match shown(runtime, id) {
            Some(info) if is_it(info.state) => return info,
            _ => yield_now(),
        }
    }
}

fn waits_for(what: &'static str) -> impl Fn(State) -> bool {
    move |state| matches!(state, State::Waiting(for_what, _) if for_what == what)
}

#[test]
fn a_coroutine_is_shown_with_its_name_place_and_home() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let ada = Builder::new().name("Ada");
        let (line, named) = (line!(), runtime.spawn_with(ada, park).unwrap());
        let info = wait_until_shown(&runtime, named.id(), waits_for("park"));
        assert_eq!(info.id, named.id());
        assert_eq!(info.name.as_deref(), Some("Ada"));
        assert_eq!(info.spawned_at.line(), line);
        assert!(info.spawned_at.file().ends_with("dump.rs"));
        assert!(info.worker.unwrap() < setup.workers);
        let nameless = runtime.spawn(park);
        let info = wait_until_shown(&runtime, nameless.id(), waits_for("park"));
        assert_eq!(info.name, None);
    });
}

#[test]
fn a_macro_and_a_builder_show_the_place_of_their_caller() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (first, handles) = (
                line!() + 1,
                [
                    filature::go!(park),
                    spawn(park),
                    filature::try_spawn(park).unwrap(),
                    filature::spawn_local(park),
                    Builder::new().spawn(park).unwrap(),
                    Builder::new().spawn_local(park).unwrap(),
                ],
            );
            let dump = filature::dump();
            for handle in handles {
                let all = dump.runtimes.iter().flat_map(|r| &r.coroutines);
                let info = all.into_iter().find(|c| c.id == handle.id()).unwrap();
                assert!(info.spawned_at.file().ends_with("tests/dump.rs"));
                assert!((first..first + 10).contains(&info.spawned_at.line()));
                handle.coroutine().unpark();
                handle.join().unwrap();
            }
        });
    });
}

#[test]
fn what_a_coroutine_waits_for_is_shown() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let waits: [(&str, fn()); 5] = [
            ("park", park),
            ("park", || park_timeout(FOR_EVER)),
            ("sleep", || sleep(FOR_EVER)),
            ("join", || spawn(park).join().unwrap()),
            ("join", || filature::run(park)),
        ];
        for (what, wait) in waits {
            let handle = runtime.spawn(wait);
            wait_until_shown(&runtime, handle.id(), waits_for(what));
        }
    });
}

#[test]
fn how_long_a_coroutine_has_waited_is_shown() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let parked = runtime.spawn(park);
        let early = wait_until_shown(&runtime, parked.id(), waits_for("park"));
        std::thread::sleep(Duration::from_millis(20));
        let late = wait_until_shown(&runtime, parked.id(), waits_for("park"));
        let (State::Waiting(_, early), State::Waiting(_, late)) = (early.state, late.state) else {
            unreachable!("both were waiting");
        };
        // Each is right to about a millisecond.
        assert!(
            late >= early + Duration::from_millis(18),
            "{early:?} {late:?}"
        );
        assert!(late < FOR_EVER);
    });
}

#[test]
fn one_that_computes_is_shown_running_and_what_it_keeps_from_starting_queued() {
    on_workers(&[1], |setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        let _stop = stop.opener();
        let (send, receive) = mpsc::channel();
        let busy = runtime.spawn({
            let stop = stop.clone();
            move || {
                let waiting = spawn(|| ());
                send.send(waiting.id()).unwrap();
                stop.wait_busily();
                waiting
            }
        });
        let waiting = receive.recv().unwrap();
        let info = wait_until_shown(&runtime, busy.id(), |state| state == State::Running);
        assert_eq!(info.worker, Some(0));
        let injected = runtime.spawn(|| ());
        for id in [waiting, injected.id()] {
            let info = shown(&runtime, id).unwrap();
            assert_eq!((info.state, info.worker), (State::Queued, None));
        }
        let queued = runtime.dump().runtimes[0].coroutines.clone();
        let queued = queued.iter().filter(|c| c.state == State::Queued).count();
        assert_eq!(queued, 2);
        let stats = runtime.stats();
        assert_eq!(stats.workers[0].queued + stats.injected, 2);
        stop.open();
        busy.join().unwrap().join().unwrap();
        injected.join().unwrap();
    });
}

#[test]
fn one_that_yields_is_shown_ready_or_running() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        let _stop = stop.opener();
        let spinners: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(move || stop.wait())
            })
            .collect();
        for spinner in &spinners {
            wait_until_shown(&runtime, spinner.id(), |state| {
                matches!(state, State::Ready | State::Running)
            });
        }
    });
}

#[test]
fn a_dump_is_made_while_all_workers_compute() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, stop) = (Counter::new(), Gate::new());
        let _stop = stop.opener();
        for _ in 0..setup.workers {
            let (started, stop) = (started.clone(), stop.clone());
            runtime.spawn(move || {
                started.up();
                stop.wait_busily();
            });
        }
        started.wait_for(setup.workers);
        let dump = runtime.dump();
        let running = |c: &&CoroutineInfo| c.state == State::Running;
        let info = &dump.runtimes[0];
        assert_eq!(
            info.coroutines.iter().filter(running).count(),
            setup.workers
        );
        let homes: std::collections::HashSet<_> =
            info.coroutines.iter().map(|c| c.worker).collect();
        assert_eq!(homes.len(), setup.workers);
    });
}

#[test]
fn those_that_have_ended_are_not_shown() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handles: Vec<_> = (0..100).map(|_| runtime.spawn(current)).collect();
        // Also while somebody still has them.
        let kept: Vec<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
        assert!(runtime.dump().runtimes[0].coroutines.is_empty());
        assert_eq!(kept.len(), 100);
    });
}

#[test]
fn all_runtimes_are_shown_until_they_end() {
    on_workers(&[2], |setup| {
        let named = |name: &str| setup.builder().thread_name(name).build().unwrap();
        let count = |name: &str| {
            let dump = filature::dump();
            dump.runtimes
                .iter()
                .filter(|r| r.thread_name == name)
                .count()
        };
        let name = format!("shown-{}", setup.io);
        let (one, two) = (named(&name), named(&name));
        assert_eq!(count(&name), 2);
        drop(one);
        assert_eq!(count(&name), 1);
        // A runtime's own dump shows it alone.
        let dump = two.dump();
        assert_eq!(dump.runtimes.len(), 1);
        assert_eq!(dump.runtimes[0].thread_name, name);
        assert_eq!(dump.runtimes[0].io, setup.io);
        drop(two);
        assert_eq!(count(&name), 0);
    });
}

#[test]
fn the_text_of_a_dump_has_it_all() {
    on_workers(&[2], |setup| {
        let runtime = setup.builder().thread_name("textual").build().unwrap();
        let parked = runtime
            .spawn_with(Builder::new().name("Ada"), park)
            .unwrap();
        wait_until_shown(&runtime, parked.id(), waits_for("park"));
        let text = runtime.dump().to_string();
        for part in [
            "textual",
            "workers 2",
            &setup.io.to_string(),
            "worker 0",
            "worker 1",
            &format!("coroutine {} 'Ada'", parked.id()),
            "on worker",
            "waiting: park",
            "runtime/tests/dump.rs:",
            "started",
            "finished",
            "steals",
            "parks",
            "polls",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    });
}

/// The sums over all workers.
fn sums(runtime: &Runtime) -> (u64, u64, u64) {
    let stats = runtime.stats();
    assert!(
        stats
            .workers
            .iter()
            .all(|w| w.live == w.started - w.finished)
    );
    (
        stats.workers.iter().map(|w| w.started).sum(),
        stats.workers.iter().map(|w| w.finished).sum(),
        stats.workers.iter().map(|w| w.live).sum(),
    )
}

#[test]
fn the_counters_add_up() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        assert_eq!(sums(&runtime), (0, 0, 0));
        runtime.run(|| {
            let handles: Vec<_> = (0..1000).map(|_| spawn(yield_now)).collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
        assert_eq!(sums(&runtime), (1001, 1001, 0));
        let started = Counter::new();
        let parked: Vec<_> = (0..50)
            .map(|_| {
                let started = started.clone();
                runtime.spawn(move || {
                    started.up();
                    park();
                })
            })
            .collect();
        started.wait_for(50);
        assert_eq!(sums(&runtime), (1051, 1001, 50));
        parked.iter().for_each(|p| p.coroutine().unpark());
        parked.into_iter().for_each(|p| p.join().unwrap());
        assert_eq!(sums(&runtime), (1051, 1051, 0));

        let stats = runtime.stats();
        let total = |f: fn(&filature::WorkerStats) -> u64| stats.workers.iter().map(f).sum::<u64>();
        assert!(total(|w| w.stolen) >= total(|w| w.steals));
        assert!(total(|w| w.parks) > 0);
        assert_eq!(total(|w| w.queued as u64) + stats.injected as u64, 0);
        if setup.workers == 1 {
            assert_eq!(total(|w| w.steals) + total(|w| w.handed_over), 0);
        }
    });
}

#[test]
fn a_result_that_waits_as_it_is_dropped_counts_as_live() {
    struct Waits(Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.wait();
            park();
        }
    }
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (detached, gate) = (Gate::new(), Gate::new());
        let handle = runtime.spawn({
            let (detached, waits) = (detached.clone(), Waits(gate.clone()));
            move || {
                detached.wait();
                waits
            }
        });
        let coroutine = handle.coroutine().clone();
        drop(handle);
        detached.open();
        gate.open();
        wait_until_shown(&runtime, coroutine.id(), waits_for("park"));
        assert_eq!(sums(&runtime), (1, 0, 1));
        coroutine.unpark();
        while sums(&runtime) != (1, 1, 0) {
            std::thread::yield_now();
        }
    });
}

#[test]
fn inside_a_coroutine_the_counters_are_its_own_runtimes() {
    on_workers(&[3], |setup| {
        let runtime = setup.runtime();
        let workers = runtime.run(|| filature::stats().workers.len());
        assert_eq!(workers, 3);
    });
}

#[test]
fn a_dump_may_be_made_inside() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let me = runtime.run(|| {
            let me = current().id();
            let dump = filature::dump();
            let all = dump.runtimes.into_iter().flat_map(|r| r.coroutines);
            all.into_iter().find(|c| c.id == me).map(|c| c.state)
        });
        assert_eq!(me, Some(State::Running));
    });
}

#[test]
fn dumps_are_made_while_thousands_come_and_go() {
    everywhere(|setup: &Setup| {
        fn tree(depth: usize) -> usize {
            if depth == 0 {
                return 1;
            }
            let named = Builder::new().name(format!("at depth {depth}"));
            let left = named.spawn(move || tree(depth - 1)).unwrap();
            let right = spawn(move || tree(depth - 1));
            left.join().unwrap() + right.join().unwrap()
        }
        let runtime = setup.runtime();
        let churn = runtime.spawn(|| (0..3).map(|_| tree(10)).sum::<usize>());
        let mut dumps = 0;
        while !churn.is_finished() || dumps < 20 {
            let dump = runtime.dump();
            let coroutines = &dump.runtimes[0].coroutines;
            assert!(coroutines.windows(2).all(|pair| pair[0].id < pair[1].id));
            for c in coroutines {
                if let Some(name) = &c.name {
                    assert!(name.starts_with("at depth "));
                }
                assert!(c.spawned_at.file().ends_with("dump.rs"));
            }
            assert!(!dump.to_string().is_empty());
            dumps += 1;
        }
        assert_eq!(churn.join().unwrap(), 3 * 1024);
    });
}
