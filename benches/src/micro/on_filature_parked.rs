//! A million parked coroutines on filature: what each takes, and that each has its guard page.

use std::io::{self, PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use filature::{JoinHandle, Runtime};

use crate::case::Case;
use crate::child::Reading;
use crate::micro::memory::Before;

/// Spawns are checked in batches: whether there was a stack for a coroutine shows only when it starts.
const BATCH: usize = 1_000;

#[derive(Default)]
struct Shared {
    started: AtomicUsize,
    over: AtomicBool,
    /// The lowest address of each stack, where its guard page is.
    guards: Box<[AtomicUsize]>,
    stack_size: AtomicUsize,
}

/// Starts and parks the coroutines, measures, and then tries every guard page. Where the coroutines run into a limit,
/// says how many there were and whether these go on working.
pub fn measure(case: &Case, runtime: &Runtime) -> Result<Reading, String> {
    let wanted = case.coroutines();
    let guards = (0..wanted).map(|_| AtomicUsize::new(0)).collect();
    let shared = Arc::new(Shared {
        guards,
        ..Shared::default()
    });
    let mut handles: Vec<Option<JoinHandle<()>>> = (0..wanted).map(|_| None).collect();
    runtime.run(|| ());
    let before = Before::any();
    let limit = runtime.run(|| start(&shared, &mut handles));
    match limit {
        None => {
            let reading = before.each_of(wanted);
            let verified = verify_guards(&shared)?;
            Ok(reading.with("guards_verified", verified))
        }
        Some(limit) => {
            let started = shared.started.load(Ordering::Acquire);
            // From here, since there is no stack for another coroutine.
            let finished = finish(&shared, handles);
            Err(format!(
                "{started} coroutines were parked; once they were unparked, {finished} finished, \
                 those among them that had waited for a stack; the limit: {limit}"
            ))
        }
    }
}

/// Spawns until all are parked, or until it cannot go on, and says why.
fn start(shared: &Arc<Shared>, handles: &mut [Option<JoinHandle<()>>]) -> Option<String> {
    for (batch, handles) in handles.chunks_mut(BATCH).enumerate() {
        for (place, handle) in handles.iter_mut().enumerate() {
            let shared = shared.clone();
            match filature::try_spawn(move || be_parked(&shared, batch * BATCH + place)) {
                Ok(spawned) => *handle = Some(spawned),
                Err(error) => return Some(format!("spawn failed: {error}")),
            }
        }
        while shared.started.load(Ordering::Acquire) < batch * BATCH + handles.len() {
            filature::sleep(Duration::from_micros(100));
            let ended = |handle: &&mut Option<JoinHandle<()>>| {
                handle.as_ref().is_some_and(JoinHandle::is_finished)
            };
            if let Some(handle) = handles.iter_mut().find(ended) {
                let result = handle.take().map(JoinHandle::join);
                return Some(match result {
                    Some(Err(error)) => format!("a coroutine could not start: {error}"),
                    _ => "a coroutine ended that should be parked".to_owned(),
                });
            }
        }
    }
    None
}

fn be_parked(shared: &Shared, number: usize) {
    let stack = filature::stack_bounds().expect("a coroutine has a stack");
    shared.guards[number].store(stack.start, Ordering::Relaxed);
    shared.stack_size.store(stack.len(), Ordering::Relaxed);
    shared.started.fetch_add(1, Ordering::Release);
    while !shared.over.load(Ordering::Acquire) {
        filature::park();
    }
}

/// Lets all coroutines finish and counts those that do.
fn finish(shared: &Shared, handles: Vec<Option<JoinHandle<()>>>) -> usize {
    shared.over.store(true, Ordering::Release);
    handles
        .iter()
        .flatten()
        .for_each(|handle| handle.coroutine().unpark());
    handles
        .into_iter()
        .flatten()
        .filter_map(|handle| handle.join().ok())
        .count()
}

/// Checks that no stacks overlap, that the lowest page of each cannot be read, and that the page above it can.
fn verify_guards(shared: &Shared) -> Result<usize, String> {
    // SAFETY: sysconf takes no pointers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let size = shared.stack_size.load(Ordering::Relaxed);
    let mut guards: Vec<usize> = shared
        .guards
        .iter()
        .map(|guard| guard.load(Ordering::Relaxed))
        .collect();
    guards.sort_unstable();
    if let Some(pair) = guards.windows(2).find(|pair| pair[1] - pair[0] < size) {
        return Err(format!(
            "the stacks at {:#x} and {:#x} overlap",
            pair[0], pair[1]
        ));
    }
    let mut probe =
        pipe().map_err(|error| format!("a pipe for the guard pages cannot be had: {error}"))?;
    for &guard in &guards {
        for (address, expected) in [(guard, false), (guard + page, true)] {
            match is_readable(&mut probe, address) {
                Ok(readable) if readable == expected => {}
                Ok(readable) => {
                    return Err(format!(
                        "the stack at {guard:#x}: readable at {address:#x} is {readable}, not {expected}"
                    ));
                }
                Err(error) => return Err(format!("a pipe for the guard pages failed: {error}")),
            }
        }
    }
    Ok(guards.len())
}

/// Whether a byte can be read, which the kernel finds out without a fault.
fn is_readable(
    (reader, writer): &mut (PipeReader, PipeWriter),
    address: usize,
) -> io::Result<bool> {
    // SAFETY: the kernel checks the address and reports one that it cannot read; nothing is written to it.
    let written =
        unsafe { libc::write(writer.as_raw_fd(), std::ptr::without_provenance(address), 1) };
    if written == 1 {
        return reader.read_exact(&mut [0]).map(|()| true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EFAULT) => Ok(false),
        error => Err(error),
    }
}
