//! Tests that need a process of their own: the test binary runs itself again,
//! for that one test.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use super::Watchdog;

/// Says to the test binary which test it is the child of.
const CHILD: &str = "FILATURE_TEST_CHILD";

pub struct Child {
    test: &'static str,
    command: Command,
}

impl Child {
    /// In the child of the test of that name: runs `body` and ends the process.
    /// In the test itself: what starts such children.
    pub fn of(test: &'static str, body: impl FnOnce()) -> Child {
        if std::env::var(CHILD).as_deref() == Ok(test) {
            no_core_dump();
            let _watchdog = Watchdog::new(format!("the child of {test}"));
            body();
            std::process::exit(0);
        }
        let mut child = Child {
            test,
            command: Command::new(std::env::current_exe().expect("this binary has a path")),
        };
        child
            .command
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, test)
            .env("RUST_BACKTRACE", "0");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FILATURE_") {
                child.command.env_remove(name);
            }
        }
        child
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Child {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Ended {
        let output = self.command.output().expect("the test binary runs again");
        let ended = Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // Shown if the test fails.
        let Ended { status, stderr, .. } = &ended;
        println!(
            "the child of {} ended by {status} and said:\n{stderr}",
            self.test
        );
        ended
    }
}

#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn succeeded(&self) -> &Ended {
        assert!(self.status.success());
        self
    }

    #[track_caller]
    pub fn killed_by(&self, signal: i32) -> &Ended {
        assert_eq!(self.status.signal(), Some(signal));
        self
    }

    /// All of these are in what it wrote to stderr.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &Ended {
        for text in texts {
            assert!(self.stderr.contains(text), "assertion: no {text:?}");
        }
        self
    }
}

/// A child that is to die by a signal leaves no core behind.
fn no_core_dump() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is a valid `rlimit` that lives for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
