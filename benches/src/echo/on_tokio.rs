//! The echo server on tokio: one worker (or its current-thread scheduler), a task for each connection, read and
//! write_all as its examples have them.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::case::Case;
use crate::echo::{BUFFER, announce};

/// Serves until killed.
pub fn serve(case: &Case) -> io::Result<()> {
    let mut builder = match case.on.as_str() {
        "tokio_current_thread" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(1).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(accept()).await? })
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(received) = stream.read(&mut buffer).await {
                if received == 0 || stream.write_all(&buffer[..received]).await.is_err() {
                    break;
                }
            }
        });
    }
}
