//! The echo server on filature: one worker, a coroutine for each connection, read and write_all as its examples have
//! them, on either poller.

use std::io::{self, Read, Write};

use filature::{Io, Runtime, go};
use filature_net::TcpListener;

use crate::case::Case;
use crate::echo::{BUFFER, announce};

/// Serves until killed. In the bench `echo_spin` another coroutine of the same worker yields all the time.
pub fn serve(case: &Case) -> io::Result<()> {
    let io = if case.on == "filature_epoll" {
        Io::Epoll
    } else {
        Io::IoUring
    };
    let runtime = Runtime::builder().workers(1).io(io).build()?;
    let spin = case.bench == "echo_spin";
    runtime.run(|| {
        if spin {
            go!(|| loop {
                filature::yield_now();
            });
        }
        accept()
    })
}

fn accept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        go!(move || {
            let mut buffer = [0; BUFFER];
            while let Ok(received) = stream.read(&mut buffer) {
                if received == 0 || stream.write_all(&buffer[..received]).is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
}
