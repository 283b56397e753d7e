//! The echo: what a message costs a server that has one core, with a client that has another.
//!
//! Every server is given the same: one worker, one core, blocking-style code where it can, TCP_NODELAY, a buffer of
//! [`BUFFER`] bytes a connection. The client (`load.rs`) is the same program for all of them.

mod answers;
mod bare_epoll;
mod bare_io_uring;
mod load;
mod on_filature;
mod on_may;
mod on_tokio;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::{Child, Stdio};

use crate::case::Case;
use crate::child::{self, Reading};
use crate::echo::load::Server;
use crate::micro::measure_in_turn;
use crate::report::Row;
use crate::sys;

/// Bytes that a server receives at once.
pub const BUFFER: usize = 4096;

/// What to measure, and how well.
pub struct Options {
    /// The numbers of connections.
    pub connections: Vec<usize>,
    /// Bytes in a message.
    pub size: usize,
    /// How long the measured window is.
    pub seconds: f64,
    /// How many times each case is measured.
    pub rounds: usize,
    /// Whether rough figures will do.
    pub quick: bool,
}

/// Runs the echo with each number of connections, handing over the rows of each as soon as it is finished.
pub fn run(options: &Options, mut finished: impl FnMut(&[Row])) {
    for &connections in &options.connections {
        let case = |bench: &str, on: &str| Case {
            bench: bench.to_owned(),
            on: on.to_owned(),
            workers: 1,
            connections: Some(connections),
            size: Some(options.size),
            seconds: Some(options.seconds),
            quick: options.quick,
            ..Case::default()
        };
        let servers = [
            "filature",
            "filature_epoll",
            "bare_io_uring",
            bare_io_uring::WIDE,
            "bare_epoll",
            "may",
            "tokio",
            "tokio_current_thread",
        ];
        let differs = |on: &&&str| {
            **on != bare_io_uring::WIDE || connections > bare_io_uring::ENTRIES as usize
        };
        let cases = servers
            .iter()
            .filter(differs)
            .map(|on| case("echo", on))
            .collect();
        finished(&measure_in_turn(
            cases,
            "ns",
            options.rounds,
            child::measure,
        ));
        let cases = ["filature", "filature_epoll"]
            .iter()
            .map(|on| case("echo_spin", on))
            .collect();
        finished(&measure_in_turn(
            cases,
            "ns",
            options.rounds,
            child::measure,
        ));
    }
}

/// Measures one case: starts the server in a process of its own and loads it from this one.
pub fn measure(case: &Case) -> Result<Reading, String> {
    let cores = sys::allowed_cores();
    let &[server_core, client_core, ..] = cores.as_slice() else {
        return Err("this needs two cores, one for the server and one for the client".to_owned());
    };
    sys::raise_descriptor_limit(case.connections() + 100);
    let mut server = start_server(case, server_core)?;
    let reading = address_of(&mut server).and_then(|address| {
        sys::pin_to_core(client_core)
            .map_err(|error| format!("the client cannot be pinned: {error}"))?;
        let server = Server {
            address,
            pid: server.id(),
            core: server_core,
        };
        load::measure(case, &server)
    });
    // Nothing is lost with a server that is gone already.
    let _ = server.kill();
    let _ = server.wait();
    reading
}

fn start_server(case: &Case, core: usize) -> Result<Child, String> {
    let start = || {
        let mut command = child::this_program()?;
        command
            .arg("serve")
            .arg(core.to_string())
            .args(case.to_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    };
    start().map_err(|error| format!("the server cannot be started: {error}"))
}

fn address_of(server: &mut Child) -> Result<SocketAddr, String> {
    let mut line = String::new();
    let output = server.stdout.take().expect("standard output is piped");
    BufReader::new(output)
        .read_line(&mut line)
        .map_err(|error| format!("the server's address is missing: {error}"))?;
    line.trim()
        .parse()
        .map_err(|_| format!("the server did not start: {}", line.trim()))
}

/// The server's process: pinned to its core before any runtime counts the cores, and gone when the client is.
pub fn serve(core: usize, case: &Case) -> Result<(), String> {
    sys::die_with_parent();
    sys::pin_to_core(core)
        .map_err(|error| format!("the server cannot be pinned to core {core}: {error}"))?;
    sys::raise_descriptor_limit(case.connections() + 100);
    match case.on.as_str() {
        "filature" | "filature_epoll" => {
            on_filature::serve(case).map_err(|error| error.to_string())
        }
        "bare_io_uring" | bare_io_uring::WIDE => {
            bare_io_uring::serve(case).map_err(|error| error.to_string())
        }
        "bare_epoll" => bare_epoll::serve(case).map_err(|error| error.to_string()),
        "may" => on_may::serve().map_err(|error| error.to_string()),
        "tokio" | "tokio_current_thread" => {
            on_tokio::serve(case).map_err(|error| error.to_string())
        }
        unknown => Err(format!("there is no server {unknown:?}")),
    }
}

/// Tells the client where the server is.
fn announce(address: SocketAddr) {
    println!("{address}");
}

/// Accepts all the connections of a bare server, whose loop then serves them and no others.
fn accept_all(case: &Case) -> std::io::Result<Vec<std::net::TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // SAFETY: the descriptor is open. Listening again only lengthens the queue, which std keeps at 128.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    announce(listener.local_addr()?);
    (0..case.connections())
        .map(|_| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .collect()
}
