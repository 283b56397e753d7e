//! What a poller does by itself, without coroutines; the files
//! `tests/poller_*.rs` have the operations.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{Io, Poller, Ring, Source, sys};
use crate::scheduler::wait::{self, Here};
use crate::{Runtime, spawn, yield_now};

const BOTH: [Io; 2] = [Io::IoUring, Io::Epoll];

fn poll(poller: &Poller, timeout: Option<Duration>) -> usize {
    poller
        .poll(timeout, &mut |key| panic!("nobody waits, yet {key:?}"))
        .unwrap()
}

/// Sleeps until the clock says that it was not in vain: a poll may come back
/// early for no reason.
fn sleep_out(poller: &Poller, time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        poll(poller, Some(left));
    }
}

#[test]
fn a_wake_up_before_the_sleep_ends_it() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        let waker = poller.waker();
        for _ in 0..100 {
            waker.wake();
            poll(&poller, None);
        }
    }
}

#[test]
fn a_wake_up_from_another_thread_ends_the_sleep() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        let waker = poller.waker();
        let (woke, heard) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for () in heard {
                waker.wake();
            }
        });
        for _ in 0..1000 {
            woke.send(()).unwrap();
            poll(&poller, None);
        }
        drop(woke);
        thread.join().unwrap();
    }
}

#[test]
fn a_waker_with_a_full_counter_still_wakes() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        let waker = poller.waker();
        let fd = waker.fd().as_raw_fd();
        let brim = (u64::MAX - 1).to_ne_bytes();
        // SAFETY: the buffer is eight bytes, as an eventfd wants.
        assert_eq!(unsafe { sys::write(fd, brim.as_ptr(), 8) }.unwrap(), 8);
        poll(&poller, None);
        for _ in 0..3 {
            waker.wake();
            poll(&poller, None);
        }
    }
}

#[test]
fn a_waker_outlives_its_poller() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        let waker = poller.waker();
        drop(poller);
        waker.wake();
    }
}

#[test]
fn a_sleep_lasts_as_long_as_was_asked() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        for time in [0, 1, 1_000, 300_000, 3_000_000].map(Duration::from_nanos) {
            let start = Instant::now();
            sleep_out(&poller, time);
            assert!(start.elapsed() >= time);
        }
        // Neither too long for the kernel's clock, nor for ours.
        poller.waker().wake();
        poll(&poller, Some(Duration::MAX));
    }
}

#[test]
fn nothing_to_do_needs_no_visit() {
    for io in BOTH {
        let poller = Poller::new(io, 8).unwrap();
        // What setting it up has left behind.
        poll(&poller, Some(Duration::ZERO));
        assert!(!poller.has_work());
        assert_eq!(poller.waiting(), 0);
        assert_eq!(poll(&poller, Some(Duration::ZERO)), 0);
    }
}

#[test]
fn a_signal_ends_a_sleep_and_is_no_error() {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: the handler does nothing, and nobody else here uses the signal;
    // without SA_RESTART, so that it interrupts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    }
    for io in BOTH {
        let (ready, is_ready) = mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let poller = Poller::new(io, 8).unwrap();
            // SAFETY: it only names the calling thread.
            ready.send(unsafe { libc::pthread_self() }).unwrap();
            poll(&poller, None);
        });
        let thread = is_ready.recv().unwrap();
        while !sleeper.is_finished() {
            // SAFETY: the thread has not been joined yet.
            unsafe { libc::pthread_kill(thread, libc::SIGURG) };
            std::thread::yield_now();
        }
        sleeper.join().unwrap();
    }
}

/// Runs `f` on a thread on which the kernel answers `error` to the system call
/// of that number, as container runtimes have it do.
fn without<T: Send + 'static>(
    call: libc::c_long,
    error: i32,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let forbidden = move || {
        let (load, equal, answer) = (
            (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            (libc::BPF_RET | libc::BPF_K) as u16,
        );
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut program = [
            step(load, 0, 0, 0),
            step(equal, 0, 1, call as u32),
            step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
            step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the program is valid for the call, and only concerns the
        // calling thread.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let mode = libc::SECCOMP_MODE_FILTER;
            assert_eq!(
                libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
                0
            );
        }
        f()
    };
    std::thread::spawn(forbidden).join().unwrap()
}

#[test]
fn where_io_uring_is_forbidden_auto_takes_epoll() {
    for call in [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ] {
        for error in [libc::EPERM, libc::ENOSYS, libc::ENOMEM] {
            without(call, error, || {
                assert_eq!(Poller::new(Io::Auto, 8).unwrap().io(), Io::Epoll);
                let error = Poller::new(Io::IoUring, 8).err().unwrap().to_string();
                assert!(error.contains("io_uring_disabled"), "{error}");
                assert!(error.contains("FILATURE_IO"), "{error}");
            });
        }
    }
}

#[test]
fn where_the_kernel_is_too_old_auto_takes_epoll() {
    // So do kernels answer that do not know a flag of the setup.
    without(libc::SYS_io_uring_setup, libc::EINVAL, || {
        assert_eq!(Poller::new(Io::Auto, 8).unwrap().io(), Io::Epoll);
        let error = Poller::new(Io::IoUring, 8).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("older than Linux 5.19"), "{text}");
        assert!(text.contains("FILATURE_IO"), "{text}");
    });
}

#[test]
fn without_precise_timeouts_epoll_sleeps_in_milliseconds() {
    for error in [libc::ENOSYS, libc::EPERM] {
        without(libc::SYS_epoll_pwait2, error, || {
            let poller = Poller::new(Io::Epoll, 8).unwrap();
            for time in [1_000, 300_000, 3_000_000].map(Duration::from_nanos) {
                let start = Instant::now();
                sleep_out(&poller, time);
                assert!(start.elapsed() >= time);
            }
        });
    }
}

/// The ring of the worker that the calling coroutine is on.
fn ring(here: &Here) -> &Ring {
    match here.poller() {
        Poller::Ring(ring) => ring,
        Poller::Epoll(_) => panic!("this is a test of io_uring"),
    }
}

/// As the main coroutine of a runtime with one worker on io_uring.
fn on_a_ring(test: impl FnOnce() + Send) {
    let builder = Runtime::builder().workers(1).io(Io::IoUring);
    builder.build().unwrap().run(test);
}

#[test]
fn a_close_while_there_is_no_room_in_the_queue_is_not_lost() {
    on_a_ring(|| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = Arc::new(Source::new(reader.into()));
        let (closing, entered) = (Arc::clone(&reader), Arc::new(AtomicBool::new(false)));
        let other = Arc::clone(&entered);
        let reading = spawn(move || {
            other.store(true, Ordering::Relaxed);
            ring(&wait::here().unwrap()).jam(1);
            reader.read(&mut [0; 1], None)
        });
        while !entered.load(Ordering::Relaxed) {
            yield_now();
        }
        // The reader has looked, found no room, and lets others run. Now the
        // notice comes and goes.
        closing.close();
        let here = wait::here().unwrap();
        while ring(&here).has_work() {
            let poll = ring(&here).poll(Some(Duration::ZERO), &mut |_| {});
            assert_eq!(poll.unwrap(), 0);
        }
        // Should it wait all the same, this is what it gets.
        writer.write_all(b"x").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 0);
    });
}

/// A listener whose queue is full: connecting to it neither succeeds nor fails.
fn full_listener() -> (Socket, Vec<std::net::TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&anywhere.into()).unwrap();
    listener.listen(0).unwrap();
    let to = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    let limit = Duration::from_millis(100);
    while let Ok(one) = std::net::TcpStream::connect_timeout(&to, limit) {
        queued.push(one);
    }
    (listener, queued)
}

#[test]
fn connecting_outlives_a_cancel_that_was_meant_for_another() {
    on_a_ring(|| {
        let (listener, _queued) = full_listener();
        let to = listener.local_addr().unwrap();
        let source = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source = Arc::new(Source::new(source.into()));
        let fd = source.as_raw_fd();
        let (closing, entered) = (Arc::clone(&source), Arc::new(AtomicBool::new(false)));
        let other = Arc::clone(&entered);
        let connecting = spawn(move || {
            other.store(true, Ordering::Relaxed);
            source.connect(&to, None)
        });
        while !entered.load(Ordering::Relaxed) {
            yield_now();
        }
        let here = wait::here().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, theirs) = (Source::new(ours.into()), Source::new(theirs.into()));
        for _ in 0..20 {
            assert!(ring(&here).cancel_all_on(fd));
            // By the time that this is done the cancel was felt.
            ours.send(b"x", 0, None).unwrap();
            theirs.recv(&mut [0; 1], 0, None).unwrap();
            yield_now();
        }
        closing.close();
        let error = connecting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    });
}
