//! What a timeout cuts short: every kind of wait, of coroutines and of threads.

mod common;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::io::{each_way, pipe, recv_exactly, send_all, source, tcp_pair, unix_pair};
use common::{FOR_EVER, Random, everywhere, on_a_thread, wait_somehow};
use filature::sync::Mutex;
use filature::{
    Elapsed, catch_cancel, park, park_timeout, run, sleep, sleep_until, timeout, yield_now,
};
use socket2::{Domain, SockAddr, Socket, Type};

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(1);

#[test]
fn whatever_a_coroutine_waits_for() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            for kind in [0, 1, 2, 3, 4, 5, 7] {
                for time in [NOW, SOON] {
                    let result = timeout(time, || wait_somehow(kind));
                    assert_eq!(result, Err(Elapsed), "{kind}");
                }
            }
        });
    });
}

#[test]
fn whatever_a_plain_thread_waits_for() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for time in [NOW, SOON] {
            for kind in [0, 1, 2, 4, 5] {
                let result = timeout(time, || wait_somehow(kind));
                assert_eq!(result, Err(Elapsed), "{kind}");
            }
            let parked = runtime.spawn(park);
            let joined = timeout(time, || parked.join());
            assert!(matches!(joined, Err(Elapsed)));
            let end = Instant::now() + FOR_EVER;
            assert_eq!(timeout(time, || sleep_until(end)), Err(Elapsed));
        }
    });
}

#[test]
fn a_wait_with_a_time_limit_of_its_own_ends_by_the_first() {
    fn both() {
        assert_eq!(timeout(FOR_EVER, || park_timeout(SOON)), Ok(()));
        assert_eq!(timeout(SOON, || park_timeout(FOR_EVER)), Err(Elapsed));
        assert_eq!(timeout(FOR_EVER, || sleep(SOON)), Ok(()));
        let mutex = Mutex::new(());
        let guard = mutex.lock().unwrap();
        assert!(timeout(FOR_EVER, || mutex.lock_timeout(SOON).is_err()).unwrap());
        assert!(timeout(SOON, || mutex.lock_timeout(FOR_EVER).is_err()).is_err());
        drop(guard);
    }
    everywhere(|setup| setup.runtime().run(both));
    both();
}

#[test]
fn a_run_is_waited_for_and_asked_to_end() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            assert_eq!(timeout(NOW, || run(|| sleep(FOR_EVER))), Err(Elapsed));
            let on_it = timeout(NOW, || runtime.run(|| sleep(FOR_EVER)));
            assert_eq!(on_it, Err(Elapsed));
        });
        // A plain thread waits.
        let inside = || {
            sleep(SOON);
            7
        };
        assert_eq!(timeout(NOW, || runtime.run(inside)), Ok(7));
    });
}

#[test]
fn a_lock_is_neither_kept_nor_poisoned() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let mutex = Arc::new(Mutex::new(0));
        let locks = {
            let mutex = mutex.clone();
            move || {
                // In the middle of a change.
                let result = timeout(SOON, || {
                    *mutex.lock().unwrap() += 1;
                    let _guard = mutex.lock().unwrap();
                    park();
                });
                assert_eq!(result, Err(Elapsed));
                assert!(!mutex.is_poisoned());
                // Waiting for it.
                let guard = mutex.lock().unwrap();
                assert!(timeout(SOON, || drop(mutex.lock())).is_err());
                drop(guard);
                *mutex.lock().unwrap() += 1;
            }
        };
        runtime.run(locks.clone());
        runtime.run(|| on_a_thread(locks));
        assert_eq!(*mutex.lock().unwrap(), 4);
    });
}

#[test]
fn a_lock_goes_on_however_deadlines_and_unlocks_race() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let mutex = Arc::new(Mutex::new(0));
        let lockers = {
            let mutex = mutex.clone();
            move |seed| {
                let mut random = Random::new(seed);
                let mut counted = 0;
                for _ in 0..100 {
                    let time = Duration::from_micros(random.below(50) as u64);
                    let counts = || {
                        let mut count = mutex.lock().unwrap();
                        *count += 1;
                        counted += 1;
                        if time.as_micros().is_multiple_of(2) {
                            sleep(time / 4);
                        }
                    };
                    // Whatever it was in the middle of.
                    let _ = timeout(time, counts);
                }
                counted
            }
        };
        let threads: Vec<_> = [1, 2]
            .into_iter()
            .map(|seed| {
                let lockers = lockers.clone();
                std::thread::spawn(move || lockers(seed))
            })
            .collect();
        let coroutines: Vec<_> = (3..11)
            .map(|seed| {
                let lockers = lockers.clone();
                runtime.spawn(move || lockers(seed))
            })
            .collect();
        let by_coroutines: usize = coroutines.into_iter().map(|c| c.join().unwrap()).sum();
        let by_threads: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(*mutex.lock().unwrap(), by_coroutines + by_threads);
    });
}

#[test]
fn a_payload_that_was_sent_away_leaves_locks_to_poison() {
    common::hush();
    let sent = timeout(NOW, || std::panic::catch_unwind(yield_now).unwrap_err()).unwrap();
    std::thread::spawn(move || drop(sent)).join().unwrap();
    let mutex = Mutex::new(());
    let panics = || {
        let _guard = mutex.lock().unwrap();
        panic!("on purpose")
    };
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(mutex.is_poisoned());
}

#[test]
fn a_panic_still_poisons() {
    common::hush();
    fn panics() {
        let mutex = Mutex::new(());
        let caught = std::panic::catch_unwind(|| {
            timeout(FOR_EVER, || {
                let _guard = mutex.lock().unwrap();
                assert_eq!(timeout(NOW, yield_now), Err(Elapsed));
                panic!("on purpose")
            })
        });
        assert!(caught.is_err());
        assert!(mutex.is_poisoned());
    }
    everywhere(|setup| setup.runtime().run(panics));
    panics();
}

#[test]
fn io_is_called_off() {
    each_way(|way| {
        let rt = way.home(1);
        for time in [NOW, SOON] {
            for ((a, b), is_pipe) in [(unix_pair(), false), (tcp_pair(), false), (pipe(), true)] {
                rt.go(move || {
                    let mut buf = [0; 10];
                    let result = timeout(time, || match is_pipe {
                        true => a.read(&mut buf, None),
                        false => a.recv(&mut buf, 0, None),
                    });
                    assert!(matches!(result, Err(Elapsed)));
                    assert_eq!(
                        timeout(time, || a.wait_readable(None).is_ok()),
                        Err(Elapsed)
                    );
                    // Fill it up until a write is cut short.
                    let big = vec![1; 1 << 20];
                    let result: Result<(), _> = timeout(time, || {
                        loop {
                            match is_pipe {
                                true => b.write(&big, None).unwrap(),
                                false => b.send(&big, 0, None).unwrap(),
                            };
                        }
                    });
                    assert_eq!(result, Err(Elapsed));
                    // Its own deadline is an error as ever.
                    let mut rest = [0; 1 << 16];
                    let soon = Some(Instant::now());
                    let error = timeout(FOR_EVER, || {
                        loop {
                            let result = match is_pipe {
                                true => a.read(&mut rest, soon),
                                false => a.recv(&mut rest, 0, soon),
                            };
                            if let Err(error) = result {
                                return error;
                            }
                        }
                    });
                    assert_eq!(error.unwrap().kind(), ErrorKind::TimedOut);
                })();
            }
            let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
            rt.go(move || {
                let result = timeout(time, || listener.accept(None));
                assert!(matches!(result, Err(Elapsed)));
            })();
        }
    });
}

#[test]
fn a_connect_that_hangs_is_called_off() {
    each_way(|way| {
        let (listener, address) = full_listener();
        way.home(1).go(move || {
            for time in [NOW, SOON] {
                let socket = source(unix_socket());
                let result = timeout(time, || socket.connect(&address, None));
                assert!(matches!(result, Err(Elapsed)));
            }
        })();
        drop(listener);
    });
}

fn unix_socket() -> Socket {
    Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()
}

/// One that listens, with as many waiting as it lets wait: it answers nobody.
fn full_listener() -> (Socket, SockAddr) {
    let listener = unix_socket();
    // Without a name it is given one of its own.
    listener.bind(&SockAddr::unix("").unwrap()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    loop {
        let socket = unix_socket();
        socket.set_nonblocking(true).unwrap();
        // Closed, it goes on to count as one that waits.
        if let Err(error) = socket.connect(&address) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            return (listener, address);
        }
    }
}

#[test]
fn what_was_received_is_not_lost_however_the_deadline_races() {
    const ROUNDS: u32 = 400;
    each_way(|way| {
        let rt = way.home(2);
        for (a, b) in [unix_pair(), tcp_pair()] {
            let sender = rt.go(move || {
                for round in 0..ROUNDS {
                    sleep(Duration::from_micros(u64::from(round % 60)));
                    send_all(&b, &round.to_ne_bytes());
                }
                b
            });
            let receiver = rt.go(move || {
                let mut got = Vec::new();
                let mut cut_short = 0u64;
                while got.len() < 4 * ROUNDS as usize {
                    let mut buf = [0; 3];
                    let time = Duration::from_micros(cut_short % 70);
                    if let Ok(received) = timeout(time, || a.recv(&mut buf, 0, None)) {
                        got.extend_from_slice(&buf[..received.unwrap()]);
                    }
                    cut_short += 1;
                }
                let mut rounds = got
                    .chunks(4)
                    .map(|n| u32::from_ne_bytes(n.try_into().unwrap()));
                assert!((0..ROUNDS).all(|round| rounds.next() == Some(round)));
                a
            });
            let (b, a) = (sender(), receiver());
            // And the source is as good as new.
            send_all(&b, b"hello");
            let mut buf = [0; 5];
            recv_exactly(&a, &mut buf);
            assert_eq!(&buf, b"hello");
        }
    });
}

#[test]
fn a_timeout_of_a_thread_is_no_cancellation() {
    let result = timeout(SOON, || {
        let _ = catch_cancel(park);
        unreachable!("nobody cancels a thread")
    });
    assert_eq!(result, Err::<(), _>(Elapsed));
}
