//! Runs the examples as a user would.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

/// How long an example may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(90);

pub const POLLERS: [&str; 2] = ["io_uring", "epoll"];

/// Runs it to its end.
pub fn run(command: &mut Command) -> Output {
    let mut child = Running::start(command);
    let mut stdout = Vec::new();
    child.stdout.read_to_end(&mut stdout).unwrap();
    let (status, stderr) = child.wait();
    Output {
        status,
        stdout,
        stderr: stderr.into_bytes(),
    }
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs it to its end and makes sure that it fails with `code` and with one line that has each of
/// `words` in it.
pub fn assert_fails(command: &mut Command, code: i32, words: &[&str]) {
    let output = run(command);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{command:?}: {stderr}");
    for word in words {
        assert!(
            stderr.contains(word),
            "no {word:?} from {command:?}: {stderr}"
        );
    }
}

/// An example that runs; killed if the test ends before it does.
pub struct Running {
    child: Child,
    pub stdout: BufReader<ChildStdout>,
    stderr: Option<std::thread::JoinHandle<String>>,
    _alive: Sender<()>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // Read by a thread, so that a full pipe never stops the example.
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Running {
            _alive: watchdog(&child, format!("{command:?}")),
            child,
            stdout,
            stderr: Some(stderr),
        }
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).unwrap();
        assert_ne!(length, 0, "it has ended");
        line
    }

    /// Where it listens, as its first line says.
    pub fn listening(&mut self) -> std::net::SocketAddr {
        let line = self.line();
        let words = line.split([' ', ',']);
        let mut addresses = words.filter_map(|word| word.parse().ok());
        addresses
            .next()
            .unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal and touches no memory; the child has not been waited for, so
        // that its number is still its own.
        let failed = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        assert_eq!(failed, 0);
    }

    /// Waits for its end; what it has said on stderr comes with it.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().expect("waited for twice");
        (status, stderr.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a hung child for a dump and ends it, which makes the test fail with that dump.
fn watchdog(child: &Child, what: String) -> Sender<()> {
    let pid = child.id() as libc::pid_t;
    let (alive, watched) = mpsc::channel();
    std::thread::spawn(move || {
        let hung = || watched.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if hung() {
            eprintln!("{what} hangs");
            for signal in [libc::SIGQUIT, libc::SIGKILL] {
                // SAFETY: sends a signal and touches no memory. The sender of `watched` lives as
                // long as the child's owner, who has not waited for the child yet or only just.
                unsafe { libc::kill(pid, signal) };
                let _ = watched.recv_timeout(Duration::from_secs(3));
            }
        }
    });
    alive
}
