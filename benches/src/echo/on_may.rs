//! The echo server on may: one worker, a coroutine for each connection, read and write_all as its examples have them.

use std::io::{self, Read, Write};

use may::go;
use may::net::TcpListener;

use crate::echo::{BUFFER, announce};

/// Serves until killed.
pub fn serve() -> io::Result<()> {
    may::config().set_workers(1);
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
