//! Making an io_uring as good as the kernel allows.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{IoUring, Probe, opcode};

/// Completions that fit, for each submission that fits. More are kept by the
/// kernel, at the price of an allocation each.
const COMPLETIONS: u32 = 4;

/// A ring that can do all that is needed. Belongs to the calling thread.
pub(super) fn ring(entries: u32) -> io::Result<IoUring> {
    let mut uring = newest(entries)?;
    let params = uring.params();
    if !(params.is_feature_nodrop() && params.is_feature_ext_arg()) {
        return Err(too_old());
    }
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    for code in [
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::RecvMsg::CODE,
        opcode::SendMsg::CODE,
        opcode::Connect::CODE,
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::PollAdd::CODE,
        opcode::AsyncCancel::CODE,
    ] {
        if !probe.is_supported(code) {
            return Err(unsupported("the kernel lacks an operation of io_uring"));
        }
    }
    try_cancel_by_descriptor(&mut uring)?;
    Ok(uring)
}

/// The newest set of features that the kernel takes.
fn newest(entries: u32) -> io::Result<IoUring> {
    // Linux 6.1: completions are posted when the worker asks for them.
    // Else Linux 5.19: no interrupt where a visit is due anyway.
    for deferred in [true, false] {
        let mut builder = IoUring::builder();
        builder
            .setup_clamp()
            .setup_cqsize(entries.saturating_mul(COMPLETIONS))
            .dontfork()
            .setup_submit_all()
            .setup_taskrun_flag();
        if deferred {
            builder.setup_single_issuer().setup_defer_taskrun();
        } else {
            builder.setup_coop_taskrun();
        }
        match builder.build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
    }
    Err(too_old())
}

/// Ends all that is in flight on some descriptor, which is nothing. No probe
/// tells of this, the youngest of the things that are needed; multishot polls,
/// of which none tells either, are older.
fn try_cancel_by_descriptor(uring: &mut IoUring) -> io::Result<()> {
    let some = Fd(uring.as_raw_fd());
    let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(some).all()).build();
    // SAFETY: the entry points to no memory.
    unsafe { uring.submission().push(&entry) }.expect("the queue of a new ring has room");
    let result = loop {
        match uring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if let Some(completion) = uring.completion().next() {
            break completion.result();
        }
    };
    if result == -libc::EINVAL {
        return Err(too_old());
    }
    Ok(())
}

fn too_old() -> io::Error {
    unsupported("the kernel is older than Linux 5.19")
}

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}
