//! Accepting for as long as the listener is open.

use std::time::Duration;

use filature_net::{TcpListener, TcpStream};

/// How long to wait for descriptors to come free when they have run out.
const PAUSE: Duration = Duration::from_millis(20);

/// Hands over connections as they come, and returns when the listener has been closed.
///
/// No error of `accept` ends a server. When descriptors have run out, the connections that cannot
/// be had wait in the kernel's queue until others have ended.
pub fn each_connection(listener: &TcpListener, handle: impl Fn(TcpStream)) {
    let mut complained = false;
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                complained = false;
                handle(stream);
            }
            Err(error) if is_shortage(&error) => {
                if !complained {
                    eprintln!(
                        "cannot accept for now: {error}; raise `ulimit -n` to serve more at once"
                    );
                    complained = true;
                }
                filature::sleep(PAUSE);
            }
            // The peer has given up meanwhile, which concerns nobody else.
            Err(_) => {}
        }
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| shortages.contains(&code))
}
