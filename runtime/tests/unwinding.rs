//! How a shutdown unwinds what is left: the destructors of coroutines may do what
//! they like meanwhile.

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, everywhere, hush, wait_somehow};
use filature::poller::Source;
use filature::{
    JoinHandle, current, is_coroutine, park, park_timeout, run, sleep, spawn, spawn_local,
    worker_index, yield_now,
};

#[test]
fn a_leftover_that_catches_its_unwinding_is_unwound_again() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, caught) = (Counter::new(), Counter::new());
        let stubborn = |last: fn() -> i32| {
            let (started, caught) = (started.clone(), caught.clone());
            runtime.spawn(move || {
                started.up();
                for wait in [
                    park as fn(),
                    yield_now,
                    || sleep(FOR_EVER),
                    || {
                        loop {
                            yield_now();
                        }
                    },
                ] {
                    assert!(catch_unwind(wait).is_err());
                    caught.up();
                }
                last()
            })
        };
        let gives_in = stubborn(|| {
            park();
            1
        });
        let returns = stubborn(|| 7);
        let panics = stubborn(|| resume_unwind(Box::new(8u8)));
        started.wait_for(3);
        drop(runtime);
        assert_eq!(caught.get(), 12);
        assert!(gives_in.join().unwrap_err().is_cancelled());
        assert_eq!(returns.join().unwrap(), 7);
        assert_eq!(*panics.join().unwrap_err().downcast::<u8>().unwrap(), 8);
    });
}

/// Does in its destructor all that may be done there.
struct BusyDrop {
    runtime_ends: bool,
    done: Counter,
}

impl Drop for BusyDrop {
    fn drop(&mut self) {
        assert!(is_coroutine());
        let home = (worker_index(), std::thread::current().id());
        for _ in 0..10 {
            yield_now();
        }
        sleep(Duration::from_micros(100));
        park_timeout(Duration::from_micros(100));
        current().unpark();
        park();
        assert_eq!(run(|| 1), 1);
        let spawned = spawn(|| 1).join();
        let local = spawn_local(|| 1).join();
        if self.runtime_ends {
            assert!(spawned.unwrap_err().is_cancelled());
            assert!(local.unwrap_err().is_cancelled());
        }
        let me = current();
        // A wake-up from another thread still gets through.
        let thread = std::thread::spawn(move || me.unpark());
        park();
        thread.join().unwrap();
        assert_eq!(home, (worker_index(), std::thread::current().id()));
        self.done.up();
    }
}

#[test]
fn a_leftovers_destructor_may_wait_and_spawn() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, done) = (Counter::new(), Counter::new());
        for kind in 0..50 {
            let started = started.clone();
            let busy = BusyDrop {
                runtime_ends: true,
                done: done.clone(),
            };
            runtime.spawn(move || {
                let _busy = busy;
                started.up();
                wait_somehow(kind);
            });
        }
        started.wait_for(50);
        drop(runtime);
        assert_eq!(done.get(), 50);
    });
}

#[test]
fn leftovers_destructors_may_wait_for_each_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, met) = (Counter::new(), Counter::new());
        for _ in 0..20 {
            let (started, met) = (started.clone(), met.clone());
            runtime.spawn(move || {
                let _meets = Meets { count: 20, met };
                started.up();
                park();
            });
        }
        started.wait_for(20);
        drop(runtime);
        assert_eq!(met.get(), 20);
    });
}

/// Waits for all of as many as there are as it is dropped.
struct Meets {
    count: usize,
    met: Counter,
}

impl Drop for Meets {
    fn drop(&mut self) {
        self.met.up();
        self.met.wait_for(self.count);
    }
}

#[test]
fn leftovers_destructors_may_wait_for_each_other_wherever_they_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, met) = (Counter::new(), Counter::new());
        let count = 80;
        for kind in 0..count {
            let (started, met) = (started.clone(), met.clone());
            runtime.spawn(move || {
                let _meets = Meets { count, met };
                started.up();
                wait_somehow(kind);
            });
        }
        started.wait_for(count);
        drop(runtime);
        assert_eq!(met.get(), count);
    });
}

#[test]
fn what_a_leftover_spawned_locally_is_unwound_with_its_captures() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, drops) = (Counter::new(), Counter::new());
        for _ in 0..10 {
            let (started, guard) = (started.clone(), drops.on_drop());
            runtime.spawn(move || {
                let shared = std::rc::Rc::new(guard);
                for _ in 0..5 {
                    let (started, shared) = (started.clone(), shared.clone());
                    spawn_local(move || {
                        let _shared = shared;
                        started.up();
                        park();
                    });
                }
                park();
            });
        }
        started.wait_for(50);
        drop(runtime);
        assert_eq!(drops.get(), 10);
    });
}

#[test]
fn a_run_in_a_leftover_keeps_what_it_borrows_to_its_end() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, seen) = (Gate::new(), Arc::new(Mutex::new(Vec::new())));
        let leftover = runtime.spawn({
            let (started, seen) = (started.clone(), seen.clone());
            move || {
                let mut lent = vec![1, 2, 3];
                let borrowed = &mut lent;
                run(|| {
                    struct Last<'a>(&'a mut Vec<i32>, Arc<Mutex<Vec<i32>>>);
                    impl Drop for Last<'_> {
                        fn drop(&mut self) {
                            for _ in 0..10 {
                                yield_now();
                            }
                            self.0.push(4);
                            *self.1.lock().unwrap() = self.0.clone();
                        }
                    }
                    let _last = Last(borrowed, seen);
                    started.open();
                    park();
                });
            }
        });
        started.wait();
        drop(runtime);
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4]);
        // Unwound like what it ran, and not panicking over it.
        assert!(leftover.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_run_in_a_leftover_ends_before_its_caller_under_chaos_too() {
    struct EndsFirst<'a>(&'a Gate, Counter);
    impl Drop for EndsFirst<'_> {
        fn drop(&mut self) {
            for _ in 0..5 {
                yield_now();
            }
            if !self.0.is_open() {
                self.1.up();
            }
        }
    }
    everywhere(|setup| {
        for seed in 0..20 {
            let runtime = setup.builder().chaos(seed).build().unwrap();
            let (started, right) = (Counter::new(), Counter::new());
            for _ in 0..20 {
                let (started, right) = (started.clone(), right.clone());
                runtime.spawn(move || {
                    // Opens as the caller's frame goes.
                    let gone = Gate::new();
                    let _opener = gone.opener();
                    run(|| {
                        let _ends_first = EndsFirst(&gone, right);
                        started.up();
                        park();
                    });
                });
            }
            started.wait_for(20);
            drop(runtime);
            assert_eq!(right.get(), 20);
        }
    });
}

#[test]
fn waits_with_deadlines_are_shut_down_under_chaos_too() {
    everywhere(|setup| {
        for seed in 0..20 {
            let runtime = setup.builder().chaos(seed).build().unwrap();
            let (started, drops) = (Counter::new(), Counter::new());
            for i in 0..50 {
                let (started, guard) = (started.clone(), drops.on_drop());
                runtime.spawn(move || {
                    let _guard = guard;
                    started.up();
                    loop {
                        park_timeout(Duration::from_micros(i));
                        sleep(FOR_EVER);
                    }
                });
            }
            started.wait_for(50);
            drop(runtime);
            assert_eq!(drops.get(), 50);
        }
    });
}

#[test]
fn a_run_on_a_runtime_that_goes_on_is_not_cut_short() {
    everywhere(|setup| {
        let (ends, stays) = (setup.runtime(), Arc::new(setup.runtime()));
        let (started, gate, value) = (Gate::new(), Gate::new(), Arc::new(Mutex::new(0)));
        ends.spawn({
            let (stays, started) = (stays.clone(), started.clone());
            let (gate, value) = (gate.clone(), value.clone());
            move || {
                let mut lent = 1;
                stays.run(|| {
                    started.open();
                    gate.wait();
                    lent += 1;
                });
                *value.lock().unwrap() = lent;
                park();
            }
        });
        started.wait();
        // It is in no hurry, and the drop waits for it.
        let dropper = std::thread::spawn(move || drop(ends));
        for _ in 0..100 {
            std::thread::yield_now();
        }
        gate.open();
        dropper.join().unwrap();
        assert_eq!(*value.lock().unwrap(), 2);
    });
}

/// Every way to wait but joins: as long as it cannot be told whose panic is under
/// way, those give what they have.
fn wait_alone(kind: usize) {
    wait_somehow([0, 1, 2, 4, 5][kind % 5]);
}

#[test]
fn a_panic_whose_destructor_waits_is_left_alone() {
    struct Waits(Gate, Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.open();
            while !self.1.is_open() {
                park_timeout(Duration::from_micros(100));
                yield_now();
            }
        }
    }
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (waiting, go_on, drops) = (Gate::new(), Gate::new(), Counter::new());
        let panics = runtime.spawn({
            let waits = Waits(waiting.clone(), go_on.clone());
            move || {
                let _waits = waits;
                resume_unwind(Box::new(7u8))
            }
        });
        waiting.wait();
        let neighbours: Vec<_> = (0..20)
            .map(|kind| {
                let guard = drops.on_drop();
                runtime.spawn(move || {
                    let _guard = guard;
                    wait_alone(kind);
                })
            })
            .collect();
        assert!(!runtime.shutdown_timeout(Duration::from_millis(5)));
        go_on.open();
        for neighbour in neighbours {
            assert!(neighbour.join().unwrap_err().is_cancelled());
        }
        let payload = panics.join().map(|()| 0).unwrap_err();
        assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
        drops.wait_for(20);
    });
}

#[test]
fn a_leftover_that_joins_another_is_unwound_and_not_told() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, told) = (Counter::new(), Counter::new());
        let joiners: Vec<_> = (0..50)
            .map(|kind| {
                let (started, told) = (started.clone(), told.clone());
                runtime.spawn(move || {
                    let other = match kind % 2 {
                        0 => spawn(park),
                        _ => spawn_local(park),
                    };
                    started.up();
                    if kind % 5 == 0 {
                        // Ended before the join begins.
                        while !other.is_finished() {
                            let _ = catch_unwind(yield_now);
                        }
                    }
                    drop(other.join());
                    told.up();
                })
            })
            .collect();
        started.wait_for(50);
        drop(runtime);
        for joiner in joiners {
            assert!(joiner.join().unwrap_err().is_cancelled());
        }
        assert_eq!(told.get(), 0);
    });
}

#[test]
fn a_panics_destructor_may_wait_for_one_that_is_unwound() {
    struct JoinsOnDrop(Option<JoinHandle<()>>, Gate);
    impl Drop for JoinsOnDrop {
        fn drop(&mut self) {
            self.1.open();
            let error = self.0.take().unwrap().join().unwrap_err();
            assert!(error.is_cancelled());
        }
    }
    everywhere(|setup| {
        let runtime = setup.runtime();
        let joining = Gate::new();
        let panics = runtime.spawn({
            let joining = joining.clone();
            move || {
                let started = Gate::new();
                let child = spawn_local({
                    let started = started.clone();
                    move || {
                        started.open();
                        park();
                    }
                });
                started.wait();
                let _joins = JoinsOnDrop(Some(child), joining);
                resume_unwind(Box::new(7u8))
            }
        });
        joining.wait();
        drop(runtime);
        let payload = panics.join().map(|()| 0).unwrap_err();
        assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
    });
}

/// Has a coroutine of the current worker panic, and wait in a destructor for the
/// gate: until then the worker cannot tell whose panic it is.
fn panic_until(go_on: &Gate) {
    struct Waits(Gate, Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.open();
            self.1.wait();
        }
    }
    let waiting = Gate::new();
    let waits = Waits(waiting.clone(), go_on.clone());
    spawn_local(move || {
        let _waits = waits;
        resume_unwind(Box::new("on purpose"))
    });
    waiting.wait();
}

#[test]
fn a_leftover_that_was_put_off_does_not_wait_for_those_that_are_ready() {
    hush();
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, go_on, gone) = (Gate::new(), Gate::new(), Gate::new());
        runtime.spawn({
            let (started, go_on, gone) = (started.clone(), go_on.clone(), gone.clone());
            move || {
                // Parks before the panic, and so is not put off.
                let parked = Gate::new();
                spawn_local({
                    let (parked, go_on, gone) = (parked.clone(), go_on.clone(), gone.clone());
                    move || {
                        parked.open();
                        let kept = catch_unwind(park).unwrap_err();
                        for _ in 0..100 {
                            yield_now();
                        }
                        go_on.open();
                        // Always ready, until the one that was put off has gone.
                        gone.wait();
                        drop(kept);
                    }
                });
                parked.wait();
                panic_until(&go_on);
                let _gone = gone.opener();
                started.open();
                park();
            }
        });
        started.wait();
        drop(runtime);
        assert!(gone.is_open());
    });
}

#[test]
fn leftovers_that_were_put_off_may_wait_for_each_other() {
    hush();
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (started, go_on, met) = (Counter::new(), Gate::new(), Counter::new());
        runtime.spawn({
            let (started, go_on, met) = (started.clone(), go_on.clone(), met.clone());
            move || {
                panic_until(&go_on);
                for kind in 0..80 {
                    let (started, met) = (started.clone(), met.clone());
                    spawn_local(move || {
                        let _meets = Meets { count: 80, met };
                        started.up();
                        wait_alone(kind);
                    });
                }
            }
        });
        started.wait_for(80);
        assert!(!runtime.shutdown_timeout(Duration::from_millis(5)));
        assert_eq!(met.get(), 0);
        go_on.open();
        met.wait_for(80);
    });
}

/// Joins, as it is dropped, what was put into it.
struct Joins(Rc<RefCell<Option<JoinHandle<()>>>>);

impl Drop for Joins {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = handle.join();
        }
    }
}

/// In a shutdown one waits, in a destructor, for another that was told to unwind
/// just as the join that it was in succeeded, and that then goes on to `wait`.
fn joined_while_it_is_told(joins_first: bool, wait: fn()) {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let started = Counter::new();
        runtime.spawn({
            let started = started.clone();
            move || {
                let slot = Rc::new(RefCell::new(None));
                let ends = spawn_local(|| drop(catch_unwind(park)));
                let spawn_joins = || {
                    let joins = Joins(slot.clone());
                    spawn_local(move || {
                        let _joins = joins;
                        park();
                    });
                };
                if joins_first {
                    spawn_joins();
                }
                let told = spawn_local(move || {
                    let _ = ends.join();
                    wait();
                });
                *slot.borrow_mut() = Some(told);
                if !joins_first {
                    spawn_joins();
                }
                // They have all begun to wait by then.
                (0..10).for_each(|_| yield_now());
                started.up();
            }
        });
        started.wait_for(1);
        drop(runtime);
    });
}

#[test]
fn one_that_is_told_as_its_join_succeeds_is_unwound_in_time() {
    joined_while_it_is_told(true, park);
}

#[test]
fn one_that_was_told_and_yields_is_unwound_in_time() {
    joined_while_it_is_told(false, || {
        loop {
            yield_now();
        }
    });
}

#[test]
fn those_that_are_told_as_bytes_arrive_are_unwound_in_time() {
    everywhere(|setup| {
        for _ in 0..5 {
            let runtime = setup.runtime();
            let (started, read) = (Counter::new(), Counter::new());
            let (reading, mut writers) = (0..50)
                .map(|_| UnixStream::pair().unwrap())
                .unzip::<_, _, Vec<_>, Vec<_>>();
            for stream in reading {
                let (started, read) = (started.clone(), read.clone());
                runtime.spawn(move || {
                    let slot = Rc::new(RefCell::new(None));
                    let joins = Joins(slot.clone());
                    *slot.borrow_mut() = Some(spawn_local(move || {
                        let source = Source::from(OwnedFd::from(stream));
                        started.up();
                        while source.recv(&mut [0; 8], 0, None).is_ok() {
                            read.up();
                        }
                    }));
                    park();
                    drop(joins);
                });
            }
            started.wait_for(50);
            let stopped = Arc::new(AtomicBool::new(false));
            let writer = std::thread::spawn({
                let stopped = stopped.clone();
                move || {
                    for writer in &writers {
                        writer.set_nonblocking(true).unwrap();
                    }
                    while !stopped.load(Ordering::Relaxed) {
                        for writer in &mut writers {
                            let _ = writer.write(&[1; 8]);
                        }
                    }
                }
            });
            read.wait_for(1000);
            drop(runtime);
            stopped.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        }
    });
}
