//! `sync::RwLock`.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, Random, everywhere};
use filature::sync::{RwLock, RwLockWriteGuard};
use filature::{park, sleep, spawn, spawn_local, yield_now};

#[test]
fn a_writer_is_alone_among_coroutines_and_threads() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let pair = Arc::new(RwLock::new((0_u64, 0_u64)));
        let write = |pair: Arc<RwLock<(u64, u64)>>, yields: bool| {
            move || {
                for i in 0..100 {
                    let mut pair = pair.write().unwrap();
                    pair.0 += 1;
                    if yields && i % 3 == 0 {
                        yield_now();
                    }
                    pair.1 += 1;
                }
            }
        };
        let read = |pair: Arc<RwLock<(u64, u64)>>, yields: bool| {
            move || {
                for i in 0..100 {
                    let pair = pair.read().unwrap();
                    let before = *pair;
                    assert_eq!(before.0, before.1);
                    if yields && i % 3 == 0 {
                        yield_now();
                    }
                    assert_eq!(*pair, before);
                }
            }
        };
        let handles: Vec<_> = (0..20)
            .flat_map(|i| {
                [
                    runtime.spawn(write(pair.clone(), i % 2 == 0)),
                    runtime.spawn(read(pair.clone(), i % 3 == 0)),
                ]
            })
            .collect();
        let threads = [
            std::thread::spawn(write(pair.clone(), true)),
            std::thread::spawn(read(pair.clone(), true)),
            std::thread::spawn(read(pair.clone(), false)),
        ];
        handles.into_iter().for_each(|h| h.join().unwrap());
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*pair.read().unwrap(), (2100, 2100));
    });
}

#[test]
fn readers_share_it() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, readers) = (Arc::new(RwLock::new(5)), Counter::new());
        let handles: Vec<_> = (0..10)
            .map(|_| {
                let (lock, readers) = (lock.clone(), readers.clone());
                runtime.spawn(move || {
                    let guard = lock.read().unwrap();
                    readers.up();
                    readers.wait_for(10);
                    *guard
                })
            })
            .collect();
        assert_eq!(
            handles.into_iter().map(|h| h.join().unwrap()).sum::<i32>(),
            50
        );
    });
}

#[test]
fn a_stream_of_readers_does_not_starve_a_writer() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(RwLock::new(false));
        // Each hands over to the next before it lets go.
        let guard = lock.read().unwrap();
        let writer = runtime.spawn({
            let lock = lock.clone();
            move || *lock.write().unwrap() = true
        });
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                runtime.spawn(move || {
                    let mut guard = lock.read().unwrap();
                    while !*guard {
                        yield_now();
                        // While the writer waits this fails, and the reader lets go.
                        if let Ok(next) = lock.try_read() {
                            guard = next;
                        } else {
                            drop(guard);
                            guard = lock.read().unwrap();
                        }
                    }
                })
            })
            .collect();
        drop(guard);
        writer.join().unwrap();
        readers.into_iter().for_each(|r| r.join().unwrap());
    });
}

#[test]
fn a_stream_of_writers_does_not_starve_a_reader() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, got) = (Arc::new(RwLock::new(0_u64)), Gate::new());
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, got) = (lock.clone(), got.clone());
                runtime.spawn(move || {
                    while !got.is_open() {
                        let mut guard = lock.write().unwrap();
                        *guard += 1;
                        yield_now();
                    }
                })
            })
            .collect();
        runtime.run(|| {
            drop(lock.read().unwrap());
            got.open();
        });
        writers.into_iter().for_each(|w| w.join().unwrap());
    });
}

#[test]
fn a_writer_is_passed_over_at_most_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, got) = (Arc::new(RwLock::new(())), Gate::new());
        let greedy = runtime.spawn({
            let (lock, got) = (lock.clone(), got.clone());
            move || {
                while !got.is_open() {
                    let guard = lock.write().unwrap();
                    yield_now();
                    drop(guard);
                }
            }
        });
        runtime.run(|| {
            let _guard = lock.write().unwrap();
            got.open();
        });
        greedy.join().unwrap();
    });
}

#[test]
fn no_reader_passes_a_writer_that_waits() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let lock = Arc::new(RwLock::new(0));
            let guard = lock.read().unwrap();
            let writer = spawn({
                let lock = lock.clone();
                move || *lock.write().unwrap() = 1
            });
            while lock.try_read().is_ok() {
                yield_now();
            }
            let starts = Gate::new();
            let reader = spawn_local({
                let (lock, starts) = (lock.clone(), starts.clone());
                move || {
                    starts.open();
                    *lock.read().unwrap()
                }
            });
            // Here it runs only while we do not: it waits by then.
            starts.wait();
            assert!(!reader.is_finished());
            drop(guard);
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), 1);
        });
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let lock = Arc::new(RwLock::new(0));
            let guard = lock.read().unwrap();
            for by_cancelling in [true, false] {
                let limit = if by_cancelling {
                    FOR_EVER
                } else {
                    Duration::from_millis(20)
                };
                let writer = spawn({
                    let lock = lock.clone();
                    move || assert!(lock.write_timeout(limit).is_err())
                });
                while lock.try_read().is_ok() {
                    yield_now();
                }
                let readers: Vec<_> = (0..3)
                    .map(|_| {
                        let lock = lock.clone();
                        spawn(move || *lock.read().unwrap())
                    })
                    .collect();
                yield_now();
                if by_cancelling {
                    writer.cancel().unwrap();
                }
                for reader in readers {
                    assert_eq!(reader.join().unwrap(), 0);
                }
                assert_eq!(writer.join().is_err(), by_cancelling);
            }
            drop(guard);
            assert!(lock.try_write().is_ok());
        });
    });
}

#[test]
fn cancelled_waiters_do_not_keep_the_lock_nor_strand_the_next() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let lock = Arc::new(RwLock::new(()));
            for round in 0..60 {
                let (read, write) = if round % 2 == 0 {
                    (Some(lock.read().unwrap()), None)
                } else {
                    (None, Some(lock.write().unwrap()))
                };
                let waiters: Vec<_> = (0..8)
                    .map(|i| {
                        let lock = lock.clone();
                        spawn(move || {
                            if (i + round) % 3 == 0 {
                                let guard = lock.write();
                                yield_now();
                                drop(guard);
                            } else {
                                let guard = lock.read();
                                yield_now();
                                drop(guard);
                            }
                        })
                    })
                    .collect();
                yield_now();
                waiters[1].cancel().unwrap();
                waiters[2].cancel().unwrap();
                drop((read, write));
                waiters[0].cancel().unwrap();
                waiters[5].cancel().unwrap();
                for (i, waiter) in waiters.into_iter().enumerate() {
                    let result = waiter.join();
                    assert!(
                        result.is_ok() || matches!(i, 0 | 1 | 2 | 5),
                        "{i}: {result:?}"
                    );
                }
                assert!(lock.try_write().is_ok());
            }
        });
    });
}

#[test]
fn a_lock_can_be_waited_for_for_a_while() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(RwLock::new(1));
        let held = Gate::new();
        let holder = runtime.spawn({
            let (lock, held) = (lock.clone(), held.clone());
            move || {
                let guard = lock.write().unwrap();
                held.open();
                park();
                let _guard = RwLockWriteGuard::downgrade(guard);
                held.wait();
                park();
            }
        });
        held.wait();
        let short = Duration::from_millis(1);
        let try_all = || {
            assert!(lock.read_timeout(short).is_err());
            assert!(lock.write_timeout(short).is_err());
            assert!(lock.try_read().is_err());
            assert!(lock.try_write().is_err());
        };
        try_all();
        runtime.run(try_all);
        holder.coroutine().unpark();
        assert_eq!(*lock.read_timeout(FOR_EVER).unwrap(), 1);
        assert!(lock.write_timeout(Duration::ZERO).is_err());
        assert_eq!(*lock.try_read().unwrap(), 1);
        holder.coroutine().unpark();
        holder.join().unwrap();
        *lock.write_timeout(FOR_EVER).unwrap() = 2;
        assert_eq!(
            format!("{lock:?}"),
            "RwLock { data: 2, poisoned: false, .. }"
        );
    });
}

#[test]
fn a_writer_can_go_on_as_a_reader() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let lock = Arc::new(RwLock::new(0));
            let mut guard = lock.write().unwrap();
            let writer = spawn({
                let lock = lock.clone();
                move || *lock.write().unwrap() += 1
            });
            let reader = spawn({
                let lock = lock.clone();
                move || *lock.read().unwrap()
            });
            yield_now();
            *guard = 10;
            let guard = RwLockWriteGuard::downgrade(guard);
            // It waited for a writer that is none any more, or comes now.
            assert_eq!(*guard, 10);
            drop(guard);
            assert!(matches!(reader.join().unwrap(), 10 | 11));
            writer.join().unwrap();
            assert_eq!(*lock.read().unwrap(), 11);

            // Nobody writes in between.
            let guard = RwLockWriteGuard::downgrade(lock.write().unwrap());
            assert!(lock.try_write().is_err());
            let other = lock.try_read().unwrap();
            drop((guard, other));
            assert!(lock.try_write().is_ok());
        });
    });
}

#[test]
fn a_writer_that_panics_poisons_and_others_do_not() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let lock = Arc::new(RwLock::new(1));
        let held = Gate::new();
        let holder = runtime.spawn({
            let (lock, held) = (lock.clone(), held.clone());
            move || {
                let _guard = lock.write().unwrap();
                held.open();
                sleep(FOR_EVER);
            }
        });
        held.wait();
        holder.cancel().unwrap();
        assert!(holder.join().unwrap_err().is_cancelled());
        assert!(!lock.is_poisoned());
        runtime.run(|| {
            let lock = lock.clone();
            let panic = || std::panic::resume_unwind(Box::new("on purpose"));
            let reader_panics = catch_unwind(AssertUnwindSafe(|| {
                let _guard = lock.read().unwrap();
                panic();
            }));
            reader_panics.unwrap_err();
            assert!(!lock.is_poisoned());
            let writer_panics = catch_unwind(AssertUnwindSafe(|| {
                let _guard = lock.write().unwrap();
                panic();
            }));
            writer_panics.unwrap_err();
        });
        assert!(lock.is_poisoned());
        assert_eq!(*lock.read().unwrap_err().into_inner(), 1);
        assert_eq!(*lock.write().unwrap_err().into_inner(), 1);
        assert!(lock.try_read().is_err() && lock.try_write().is_err());
        lock.clear_poison();
        assert_eq!(*lock.read().unwrap(), 1);
    });
}

#[test]
fn a_shutdown_unwinds_those_that_wait_for_a_lock() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (lock, waiting) = (Arc::new(RwLock::new(())), Counter::new());
        let guard = lock.write().unwrap();
        for i in 0..20 {
            let (lock, waiting) = (lock.clone(), waiting.clone());
            runtime.spawn(move || {
                waiting.up();
                if i % 2 == 0 {
                    drop(lock.read());
                } else {
                    drop(lock.write());
                }
                unreachable!("the lock is held");
            });
        }
        waiting.wait_for(20);
        drop(runtime);
        drop(guard);
        drop(lock.try_write().unwrap());
    });
}

#[test]
fn a_guard_that_is_forgotten_keeps_the_lock() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let mut lock = RwLock::new(String::from("value"));
            std::mem::forget(lock.read().unwrap());
            assert!(lock.try_write().is_err());
            assert_eq!(*lock.try_read().unwrap(), "value");
            lock.get_mut().unwrap().push('s');
            assert_eq!(lock.into_inner().unwrap(), "values");
        });
    });
}

#[test]
fn whoever_gives_up_or_is_cancelled_the_rest_go_on() {
    everywhere(|setup| {
        let random = Random::seeded();
        setup.runtime().run(move || {
            let mut random = random;
            for _ in 0..20 {
                let lock = Arc::new(RwLock::new((0_u64, 0_u64)));
                let workers: Vec<_> = (0..12)
                    .map(|_| {
                        let (lock, mut random) = (lock.clone(), random.fork());
                        spawn(move || {
                            for _ in 0..30 {
                                let limit = match random.below(3) {
                                    0 => FOR_EVER,
                                    n => Duration::from_micros(20 * n as u64),
                                };
                                if random.below(3) == 0 {
                                    if let Ok(mut pair) = lock.write_timeout(limit) {
                                        pair.0 += 1;
                                        // It may be cancelled in between.
                                        let _finish = Finish(&mut pair);
                                        yield_now();
                                    }
                                } else if let Ok(pair) = lock.read_timeout(limit) {
                                    assert_eq!(pair.0, pair.1);
                                    if random.below(2) == 0 {
                                        yield_now();
                                    }
                                    assert_eq!(pair.0, pair.1);
                                }
                            }
                        })
                    })
                    .collect();
                for _ in 0..4 {
                    yield_now();
                    workers[random.below(12)].cancel().unwrap();
                }
                for worker in workers {
                    let result = worker.join();
                    assert!(result.is_ok() || result.unwrap_err().is_cancelled());
                }
                let pair = lock.try_write().unwrap();
                assert_eq!(pair.0, pair.1);
            }
        });
    });
}

/// Makes the second what the first is, at the latest as it is unwound.
struct Finish<'a>(&'a mut (u64, u64));

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.1 = self.0.0;
    }
}
