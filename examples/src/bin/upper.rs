//! A server that answers everything in upper case: one coroutine a connection.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use filature::go;
use filature_examples::accept::each_connection;
use filature_examples::cli::{self, Failure, RuntimeOptions};
use filature_examples::{limits, signals};
use filature_net::TcpStream;
use lexopt::Arg::{Long, Short};

/// Until the client is done, or gone.
fn communicate(mut stream: TcpStream) -> io::Result<()> {
    let mut data = [0; 1024];
    loop {
        let length = stream.read(&mut data)?;
        if length == 0 {
            return Ok(());
        }
        data[..length].make_ascii_uppercase();
        stream.write_all(&data[..length])?;
    }
}

fn run() -> Result<(), Failure> {
    let mut options = RuntimeOptions::default();
    let mut addresses = vec![([127, 0, 0, 1], 9090).into()];
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("addr") => addresses = cli::addresses(&mut parser, "--addr")?,
            Long("workers") => options.read_workers(&mut parser)?,
            Long("io") => options.read_io(&mut parser)?,
            Long("help") | Short('h') => {
                println!(
                    "upper: answers everything it is sent in upper case\n\nOptions:\n    \
                     --addr HOST:PORT     where to listen; default: 127.0.0.1:9090\n{}",
                    RuntimeOptions::HELP
                );
                return Ok(());
            }
            _ => return Err(arg.unexpected().into()),
        }
    }

    // Where it cannot be raised, it serves as many as it may.
    let _ = limits::raise_descriptors();
    let runtime = options.start()?;
    let listener = Arc::new(cli::listen(&addresses)?);
    let addr = listener
        .local_addr()
        .map_err(|error| Failure::to("tell the address", error))?;
    let closer = Arc::clone(&listener);
    signals::watch(move || closer.close())?;
    let _ = writeln!(
        io::stdout(),
        "upper: listening on {addr} with {}. Ctrl-C stops.",
        cli::describe(&runtime)
    );

    runtime.run(move || each_connection(&listener, |stream| drop(go!(|| communicate(stream)))));
    // Dropping the runtime ends the connections that are still open.
    Ok(())
}

fn main() -> ExitCode {
    cli::finish("upper", run())
}
