//! `Source`: closed, dropped, or its runtime shut down.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::Child;
use common::io::{
    Way, each_scheduler, each_way, pipe, recv_exactly, source, tcp_pair, temporary_path, unix_pair,
};
use filature::poller::Source;
use socket2::SockAddr;

/// Runs `wait` in several places, closes the source once they wait, and
/// returns what each got.
fn closed_under<T: Send + 'static>(
    way: Way,
    source: Source,
    wait: impl Fn(&Source) -> T + Send + Clone + 'static,
) -> Vec<T> {
    let source = Arc::new(source);
    let rt = way.home(2);
    let entered = Arc::new(AtomicUsize::new(0));
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let (source, wait, entered) = (source.clone(), wait.clone(), entered.clone());
            rt.go(move || {
                entered.fetch_add(1, Ordering::SeqCst);
                wait(&source)
            })
        })
        .collect();
    let (source2, wait2, entered2) = (source.clone(), wait.clone(), entered.clone());
    let thread = std::thread::spawn(move || {
        entered2.fetch_add(1, Ordering::SeqCst);
        wait2(&source2)
    });
    while entered.load(Ordering::SeqCst) < 4 {
        std::thread::yield_now();
    }
    for _ in 0..200 {
        std::thread::yield_now();
    }
    source.close();
    source.close();
    let mut results: Vec<_> = waiting.drain(..).map(|one| one()).collect();
    results.push(thread.join().unwrap());
    results.push(rt.go(move || wait(&source))());
    results
}

#[test]
fn close_wakes_whoever_waits() {
    each_way(|way| {
        for _ in 0..20 {
            for (a, _b) in [unix_pair(), tcp_pair()] {
                for n in closed_under(way, a, |s| s.recv(&mut [0; 10], 0, None).unwrap()) {
                    assert_eq!(n, 0);
                }
            }
            let (a, b) = pipe();
            for n in closed_under(way, a, |s| s.read(&mut [0; 10], None).unwrap()) {
                assert_eq!(n, 0);
            }
            drop(b);
            let (_a, b) = pipe();
            let filled = |s: &Source| loop {
                if let Err(error) = s.write(&[0; 70_000], None) {
                    return error.kind();
                }
            };
            for kind in closed_under(way, b, filled) {
                assert_eq!(kind, ErrorKind::BrokenPipe);
            }
            let (a, _b) = tcp_pair();
            let filled = |s: &Source| loop {
                if let Err(error) = s.send(&[0; 70_000], 0, None) {
                    return error.kind();
                }
            };
            for kind in closed_under(way, a, filled) {
                assert_eq!(kind, ErrorKind::BrokenPipe);
            }
            let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
            for kind in closed_under(way, listener, |s| s.accept(None).unwrap_err().kind()) {
                assert_eq!(kind, ErrorKind::NotConnected);
            }
            let udp = source(UdpSocket::bind("127.0.0.1:0").unwrap());
            for n in closed_under(way, udp, |s| s.recv(&mut [0; 10], 0, None).unwrap()) {
                assert_eq!(n, 0);
            }
            let (a, _b) = pipe();
            for result in closed_under(way, a, |s| s.wait_readable(None)) {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
            }
            let (a, _b) = unix_pair();
            for result in closed_under(way, a, |s| s.wait_readable(None)) {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
            }
        }
    });
}

#[test]
fn close_wakes_whoever_waits_for_room_in_a_queue_of_unix_datagrams() {
    each_way(|way| {
        let path = temporary_path();
        let to = SockAddr::unix(&path).unwrap();
        let _receiver = UnixDatagram::bind(&path).unwrap();
        for _ in 0..3 {
            let (addressing, to) = (UnixDatagram::unbound().unwrap(), to.clone());
            let filled = move |s: &Source| loop {
                if let Err(error) = s.send_to(b"x", &to, 0, None) {
                    return error.kind();
                }
            };
            for kind in closed_under(way, source(addressing), filled) {
                assert_eq!(kind, ErrorKind::BrokenPipe);
            }
            type Send = fn(&Source) -> io::Result<usize>;
            let sends: [Send; 2] = [|s| s.send(b"x", 0, None), |s| s.write(b"x", None)];
            for send in sends {
                let connected = UnixDatagram::unbound().unwrap();
                connected.connect(&path).unwrap();
                let filled = move |s: &Source| loop {
                    if let Err(error) = send(s) {
                        return error.kind();
                    }
                };
                for kind in closed_under(way, source(connected), filled) {
                    assert_eq!(kind, ErrorKind::BrokenPipe);
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_close_that_meets_the_first_read_of_a_pipe_is_not_lost() {
    each_way(|way| {
        let rt = way.home(1);
        for round in 0..3000 {
            let (a, _b) = pipe();
            let a = Arc::new(a);
            let here = Arc::new(AtomicUsize::new(0));
            let meet = |here: &AtomicUsize| {
                here.fetch_add(1, Ordering::SeqCst);
                while here.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
            };
            let (reader, there) = (a.clone(), here.clone());
            let reading = rt.go(move || {
                meet(&there);
                reader.read(&mut [0; 1], None).unwrap()
            });
            meet(&here);
            for _ in 0..round % 150 {
                std::hint::spin_loop();
            }
            a.close();
            assert_eq!(reading(), 0);
        }
    });
}

#[test]
fn a_copy_of_a_descriptor_is_a_source_of_its_own() {
    each_way(|way| {
        let rt = way.home(1);
        let (a, b) = UnixStream::pair().unwrap();
        let b = source(b);
        rt.go(move || {
            for round in 0..50 {
                let one = source(a.try_clone().unwrap());
                let other = source(a.try_clone().unwrap());
                one.recv(&mut [0; 1], 0, Some(Instant::now())).unwrap_err();
                other
                    .recv(&mut [0; 1], 0, Some(Instant::now()))
                    .unwrap_err();
                let (used, dropped) = match round % 2 {
                    0 => (one, other),
                    _ => (other, one),
                };
                drop(dropped);
                b.send(b"x", 0, None).unwrap();
                assert_eq!(used.recv(&mut [0; 9], 0, None).unwrap(), 1);
            }
        })();
    });
}

#[test]
fn sources_come_and_go_on_the_same_numbers() {
    each_way(|way| {
        let rt = way.home(2);
        for round in 0..500u32 {
            let (a, b) = unix_pair();
            let (a2, b2) = (Arc::new(a), Arc::new(b));
            let (a, b) = (a2.clone(), b2.clone());
            let left = rt.go(move || {
                let mut buf = [0; 4];
                recv_exactly(&a, &mut buf);
                assert_eq!(u32::from_ne_bytes(buf), round);
                if round % 2 == 0 {
                    a.recv(&mut buf, 0, Some(Instant::now())).unwrap_err();
                }
            });
            let right = rt.go(move || {
                if round % 3 == 0 {
                    b.recv(&mut [0; 4], 0, Some(Instant::now())).unwrap_err();
                }
                b.send(&round.to_ne_bytes(), 0, None).unwrap();
            });
            left();
            right();
            drop((a2, b2));
        }
    });
}

#[test]
fn a_source_keeps_nothing_open_of_the_runtimes_that_it_outlives() {
    Child::of(
        "a_source_keeps_nothing_open_of_the_runtimes_that_it_outlives",
        || {
            let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            each_scheduler(|way| {
                let (a, b) = pipe();
                let shared = Arc::new((a, b));
                let used = || {
                    let shared = shared.clone();
                    way.home(2).go(move || {
                        let past = Some(Instant::now());
                        let error = shared.0.read(&mut [0; 1], past).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                    })();
                };
                used();
                let before = open();
                for _ in 0..10 {
                    used();
                }
                assert_eq!(open(), before);
            });
        },
    )
    .run()
    .succeeded();
}

#[test]
fn dropping_the_runtime_ends_whoever_waits() {
    each_scheduler(|way| {
        let (a, b) = tcp_pair();
        let (c, d) = pipe();
        let listener = source(TcpListener::bind("127.0.0.1:0").unwrap());
        let entered = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let ended = Arc::new(AtomicUsize::new(0));
        let rt = way.runtime(2);
        let shared = Arc::new((a, c, listener));
        for which in 0..6 {
            let (shared, count) = (shared.clone(), Count(ended.clone()));
            let entered = entered.clone();
            drop(rt.spawn(move || {
                let _count = count;
                entered.fetch_add(1, Ordering::SeqCst);
                match which % 3 {
                    0 => drop(shared.0.recv(&mut [0; 10], 0, None)),
                    1 => drop(shared.1.read(&mut [0; 10], None)),
                    _ => drop(shared.2.accept(None)),
                }
                panic!("it must not return");
            }));
        }
        while entered.load(Ordering::SeqCst) < 6 {
            std::thread::yield_now();
        }
        drop(rt);
        assert_eq!(ended.load(Ordering::SeqCst), 6);
        drop((b, d));
    });
}

#[test]
fn dropping_the_runtime_ends_whoever_never_has_to_wait() {
    each_scheduler(|way| {
        let rt = way.runtime(1);
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = rounds.clone();
        let busy = rt.spawn(move || {
            let (a, b) = unix_pair();
            loop {
                a.send(b"x", 0, None).unwrap();
                b.recv(&mut [0; 1], 0, None).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        while rounds.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        drop(rt);
        assert!(busy.join().is_err());
    });
}

#[test]
fn io_in_a_destructor_during_a_panic_works() {
    each_scheduler(|way| {
        struct Farewell(Source);
        impl Drop for Farewell {
            fn drop(&mut self) {
                self.0.send(b"bye", 0, None).unwrap();
                self.0.recv(&mut [0; 1], 0, None).unwrap();
            }
        }
        let rt = way.runtime(1);
        let (a, mut b) = UnixStream::pair().unwrap();
        let a = Farewell(source(a));
        let handle = rt.spawn(move || {
            let _a = a;
            panic!("on purpose");
        });
        let mut buf = [0; 3];
        b.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"bye");
        b.write_all(b"x").unwrap();
        assert!(handle.join().is_err());
    });
}
