//! Making an io_uring as good as the kernel allows.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Completions that fit, for each submission that fits. More are kept by the
/// kernel, at the price of an allocation each.
const COMPLETIONS: u32 = 4;

/// A ring that can do all that is needed. Belongs to the calling thread.
pub(super) fn ring(entries: u32) -> io::Result<IoUring> {
    let uring = newest(entries)?;
    let params = uring.params();
    if !(params.is_feature_nodrop() && params.is_feature_ext_arg()) {
        return Err(unsupported("the kernel is older than Linux 5.11"));
    }
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    for code in [
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::RecvMsg::CODE,
        opcode::SendMsg::CODE,
        opcode::Accept::CODE,
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
    Ok(uring)
}

/// The newest set of features that the kernel takes.
fn newest(entries: u32) -> io::Result<IoUring> {
    let mut last = unsupported("io_uring_setup");
    for level in 0..4 {
        let mut builder = IoUring::builder();
        builder
            .setup_clamp()
            .setup_cqsize(entries.saturating_mul(COMPLETIONS))
            .dontfork();
        match level {
            // Linux 6.1: completions are posted when the worker asks for them.
            0 => {
                builder
                    .setup_single_issuer()
                    .setup_defer_taskrun()
                    .setup_taskrun_flag()
                    .setup_submit_all();
            }
            // Linux 5.19: no interrupt where a visit is due anyway.
            1 => {
                builder
                    .setup_coop_taskrun()
                    .setup_taskrun_flag()
                    .setup_submit_all();
            }
            // Linux 5.18: one bad entry does not hold up the batch.
            2 => {
                builder.setup_submit_all();
            }
            _ => {}
        }
        match builder.build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}
