//! What the tests share: every test runs on each poller with 1, 2 and 8
//! workers, under a watchdog.

// Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]

mod child;
mod count;
pub mod io;
mod random;
mod waits;
mod watchdog;

pub use child::{Child, Ended};
pub use count::{Counter, Gate};
pub use random::Random;
pub use waits::{FOR_EVER, wait_somehow};
pub use watchdog::Watchdog;

use std::fmt;
use std::io::ErrorKind;
use std::sync::{Once, OnceLock};

use filature::{Io, Runtime, RuntimeBuilder};

/// One way to build a runtime.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub io: Io,
}

impl Setup {
    pub fn builder(&self) -> RuntimeBuilder {
        Runtime::builder().workers(self.workers).io(self.io)
    }

    pub fn runtime(&self) -> Runtime {
        self.builder()
            .build()
            .unwrap_or_else(|e| panic!("no runtime with {self}: {e}"))
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} workers on {}", self.workers, self.io)
    }
}

/// The pollers to test: `FILATURE_IO` if it names one, else all that this
/// machine has.
pub fn pollers() -> Vec<Io> {
    match std::env::var("FILATURE_IO").as_deref() {
        Ok("io_uring") => vec![Io::IoUring],
        Ok("epoll") => vec![Io::Epoll],
        _ if io_uring_is_forbidden() => vec![Io::Epoll],
        _ => vec![Io::IoUring, Io::Epoll],
    }
}

/// As in many containers.
fn io_uring_is_forbidden() -> bool {
    static FORBIDDEN: OnceLock<bool> = OnceLock::new();
    *FORBIDDEN.get_or_init(
        || match Runtime::builder().workers(1).io(Io::IoUring).build() {
            Ok(_) => false,
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::Unsupported
                ) =>
            {
                eprintln!("no io_uring here, so it is not tested: {e}");
                true
            }
            Err(e) => panic!("io_uring: {e}"),
        },
    )
}

/// On each poller with 1, 2 and 8 workers.
pub fn everywhere(test: impl Fn(&Setup)) {
    on_workers(&[1, 2, 8], test);
}

/// On each poller with more workers than one.
pub fn on_several_workers(test: impl Fn(&Setup)) {
    on_workers(&[2, 8], test);
}

/// On each poller with each of these numbers of workers.
pub fn on_workers(workers: &[usize], test: impl Fn(&Setup)) {
    for io in pollers() {
        for &workers in workers {
            let setup = Setup { workers, io };
            // Shown if the test fails.
            println!("with {setup}");
            let _watchdog = Watchdog::new(setup.to_string());
            test(&setup);
        }
    }
}

/// As the main coroutine of a runtime of each kind.
pub fn inside_everywhere(test: impl Fn() + Sync) {
    everywhere(|setup| setup.runtime().run(&test));
}

/// What panics that a test means to happen have in their message, so that they
/// need not be shown.
pub const ON_PURPOSE: &str = "on purpose";

/// Whether the panic hook's `text` is of a panic that was meant to happen, and
/// not of an assertion that failed over one.
pub fn is_on_purpose(text: &str) -> bool {
    text.contains(ON_PURPOSE) && !text.contains("assertion")
}

/// Keeps the panics that are meant to happen out of the output.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shout = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !is_on_purpose(&info.to_string()) {
                shout(info);
            }
        }));
    });
}

/// Runs `f` on a plain thread; the calling coroutine's worker goes on with
/// others meanwhile.
pub fn on_a_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let ended = Gate::new();
    let opener = ended.opener();
    let thread = std::thread::spawn(move || {
        let _opener = opener;
        f()
    });
    ended.wait();
    match thread.join() {
        Ok(value) => value,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
