//! `Source`: how long a call waits, and that others run meanwhile.

mod common;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::io::{
    each_scheduler, each_way, pipe, recv_exactly, send_all, soon, source, tcp_pair, unix_pair,
};

/// A handler that does nothing, and does not have system calls restarted.
fn interrupt_on_sigurg() {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: the handler does nothing, and nobody else here uses the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    }
}

#[test]
fn a_deadline_that_passes_is_an_error_and_nothing_is_lost() {
    each_way(|way| {
        let rt = way.home(1);
        for (a, b) in [unix_pair(), tcp_pair()] {
            rt.go(move || {
                let mut buf = [0; 10];
                for deadline in [Some(Instant::now()), soon()] {
                    let error = a.recv(&mut buf, 0, deadline).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    let error = a.wait_readable(deadline).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                }
                b.send(b"hello", 0, None).unwrap();
                a.wait_readable(Some(Instant::now() + Duration::from_secs(30)))
                    .unwrap();
                // One of the past still tries once.
                assert_eq!(a.recv(&mut buf, 0, Some(Instant::now())).unwrap(), 5);
                assert_eq!(&buf[..5], b"hello");
                // Fill it up until a send times out.
                let big = vec![1; 1 << 20];
                let error = loop {
                    match a.send(&big, 0, soon()) {
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            })();
        }
        let (a, b) = pipe();
        rt.go(move || {
            let mut buf = [0; 10];
            let error = a.read(&mut buf, soon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            b.write(b"x", None).unwrap();
            assert_eq!(a.read(&mut buf, soon()).unwrap(), 1);
            let big = vec![1; 1 << 20];
            let error = loop {
                match b.write(&big, soon()) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        })();
        let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
        rt.go(move || {
            let error = listener.accept(soon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        })();
    });
}

#[test]
fn deadlines_that_race_with_data_lose_nothing() {
    each_way(|way| {
        let rt = way.home(2);
        for (a, b) in [unix_pair(), tcp_pair()] {
            const ROUNDS: usize = 3000;
            let sender = rt.go(move || {
                for round in 0..ROUNDS {
                    a.send(&[round as u8], 0, None).unwrap();
                    for _ in 0..round % 200 {
                        std::hint::spin_loop();
                    }
                    // Wait for the echo, impatiently.
                    let mut buf = [0; 1];
                    loop {
                        let at = Instant::now() + Duration::from_micros(round as u64 % 60);
                        match a.recv(&mut buf, 0, Some(at)) {
                            Ok(n) => {
                                assert_eq!((n, buf[0]), (1, round as u8));
                                break;
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                        }
                    }
                }
            });
            let receiver = rt.go(move || {
                let mut buf = [0; 16];
                let mut next = 0usize;
                while next < ROUNDS {
                    let at = Instant::now() + Duration::from_micros(next as u64 % 50);
                    match b.recv(&mut buf, 0, Some(at)) {
                        Ok(n) => {
                            assert_eq!((n, buf[0]), (1, next as u8));
                            next += 1;
                            b.send(&buf[..1], 0, None).unwrap();
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                    }
                }
            });
            sender();
            receiver();
        }
    });
}

#[test]
fn a_deadline_of_the_past_tries_once_however_busy_the_worker_is() {
    each_way(|way| {
        let rt = way.home(1);
        let done = Arc::new(AtomicBool::new(false));
        // Its worker has others to run all the time, and seldom asks the kernel.
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let done = done.clone();
                rt.go(move || {
                    while !done.load(Ordering::Relaxed) {
                        filature::yield_now();
                    }
                })
            })
            .collect();
        rt.go(move || {
            let (a, b) = unix_pair();
            let mut buf = [0; 10];
            let past = Instant::now();
            for byte in 0..200 {
                let error = a.recv(&mut buf, 0, Some(past)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                let error = a.wait_readable(Some(past)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                b.send(&[byte], 0, None).unwrap();
                if byte % 2 == 0 {
                    a.wait_readable(Some(past)).unwrap();
                }
                assert_eq!(a.recv(&mut buf, 0, Some(past)).unwrap(), 1);
                assert_eq!(buf[0], byte);
            }
        })();
        done.store(true, Ordering::Relaxed);
        for one in busy {
            one();
        }
    });
}

#[test]
fn signals_do_not_end_a_wait() {
    each_way(|way| {
        interrupt_on_sigurg();
        let rt = way.home(1);
        for deadline in [None, Some(Instant::now() + Duration::from_secs(50))] {
            let (a, b) = unix_pair();
            let (c, d) = pipe();
            let (here_i_am, is_there) = mpsc::channel();
            let waiting = rt.go(move || {
                // SAFETY: it only names the calling thread.
                here_i_am.send(unsafe { libc::pthread_self() }).unwrap();
                assert_eq!(a.recv(&mut [0; 9], 0, deadline).unwrap(), 4);
                assert_eq!(c.read(&mut [0; 9], deadline).unwrap(), 4);
                here_i_am
            });
            let thread = is_there.recv().unwrap();
            for step in 0..2 {
                for _ in 0..200 {
                    // SAFETY: the thread waits for what is not yet sent.
                    unsafe { libc::pthread_kill(thread, libc::SIGURG) };
                    std::thread::yield_now();
                }
                if step == 0 {
                    b.send(b"data", 0, None).unwrap();
                } else {
                    d.write(b"data", None).unwrap();
                }
            }
            waiting();
        }
    });
}

#[test]
fn a_coroutine_whose_io_is_always_ready_lets_others_run() {
    each_scheduler(|way| {
        let rt = way.runtime(1);
        rt.run(|| {
            let done = Arc::new(AtomicBool::new(false));
            let other = done.clone();
            let other = filature::spawn(move || other.store(true, Ordering::Relaxed));
            let (a, b) = UnixStream::pair().unwrap();
            let (a, b) = (source(a), source(b));
            while !done.load(Ordering::Relaxed) {
                a.send(b"x", 0, None).unwrap();
                b.recv(&mut [0; 1], 0, None).unwrap();
            }
            other.join().unwrap();
        });
    });
}

#[test]
fn more_operations_at_once_than_the_queue_holds() {
    each_scheduler(|way| {
        let rt = way.runtime(1);
        rt.run(|| {
            const MANY: usize = 400;
            let mut ends = vec![];
            let mut handles = vec![];
            for i in 0..MANY {
                let (a, b) = unix_pair();
                ends.push(a);
                handles.push(filature::spawn(move || {
                    for _ in 0..5 {
                        let mut buf = [0; 8];
                        recv_exactly(&b, &mut buf);
                        assert_eq!(usize::from_ne_bytes(buf), i);
                        let late = b.recv(&mut buf, 0, Some(Instant::now()));
                        match late {
                            // The next round was quick.
                            Ok(8) => send_all(&b, b"y"),
                            Ok(n) => panic!("{n}"),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::TimedOut)
                            }
                        }
                        send_all(&b, b"x");
                    }
                }));
            }
            filature::yield_now();
            for _ in 0..5 {
                for (i, end) in ends.iter().enumerate() {
                    end.send(&i.to_ne_bytes(), 0, None).unwrap();
                }
                for end in &ends {
                    recv_exactly(end, &mut [0; 1]);
                }
            }
            for handle in handles {
                handle.join().unwrap();
            }
        });
    });
}
