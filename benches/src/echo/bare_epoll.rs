//! The least that an echo on epoll can do: one thread, level-triggered, one receive and one send for each event.

use std::io;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use crate::case::Case;
use crate::echo::{BUFFER, accept_all};

/// Serves until killed or until every connection is closed.
pub fn serve(case: &Case) -> io::Result<()> {
    let mut streams = accept_all(case)?;
    // SAFETY: takes no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    for (index, stream) in streams.iter().enumerate() {
        let mut interest = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: index as u64,
        };
        // SAFETY: both descriptors are open and `interest` lives over the call.
        if unsafe {
            libc::epoll_ctl(
                epoll,
                libc::EPOLL_CTL_ADD,
                stream.as_raw_fd(),
                &mut interest,
            )
        } != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    let mut open = streams.len();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    let mut buffer = [0; BUFFER];
    while open > 0 {
        // SAFETY: there is room for as many events as the call is told.
        let ready =
            unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..ready.max(0) as usize] {
            let stream = &mut streams[event.u64 as usize];
            // The sockets are in blocking mode: a receive after an event does not block, and a send blocks only if the
            // client does not read, which it always does.
            match stream.read(&mut buffer) {
                Ok(received) if received > 0 && stream.write_all(&buffer[..received]).is_ok() => {}
                _ => {
                    // SAFETY: both descriptors are open; a deletion reads no event.
                    unsafe {
                        libc::epoll_ctl(
                            epoll,
                            libc::EPOLL_CTL_DEL,
                            stream.as_raw_fd(),
                            std::ptr::null_mut(),
                        );
                    }
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}
