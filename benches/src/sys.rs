//! What the benches ask of Linux: placement, limits, memory, processor time.

use std::fs;
use std::io;
use std::time::Duration;

/// Restricts the calling thread, and every thread it starts from now on, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set, and CPU_SET checks its index against the set's size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: the pointer and the size describe `set`, which lives over the call.
    let failed = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The cores that this process may use, in order.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set; the pointer and the size given to the kernel describe it,
    // and CPU_ISSET reads only within it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        (0..libc::CPU_SETSIZE as usize)
            .filter(|&core| libc::CPU_ISSET(core, &set))
            .collect()
    }
}

/// Raises the number of descriptors as far as allowed towards `wanted` and returns what is allowed now.
pub fn raise_descriptor_limit(wanted: usize) -> usize {
    let wanted = wanted as libc::rlim_t;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: every pointer is to a live `rlimit`.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        if limit.rlim_max < wanted {
            let higher = libc::rlimit {
                rlim_cur: wanted,
                rlim_max: wanted,
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &higher) == 0 {
                return wanted as usize;
            }
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur as usize
}

/// A rival that crashes with gigabytes mapped must not spend a minute on writing them out.
pub fn forbid_core_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live `rlimit`.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}

/// Has the kernel kill this process when the thread that started it ends, so that no server outlives its bench.
pub fn die_with_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// The id of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// Nanoseconds on the monotonic clock, comparable between threads and processes.
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Processor time that all threads of a process have used, in nanoseconds.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock = 0;
    // SAFETY: the pointer is to a live `clockid_t`.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
        0 => Ok(clock_ns(clock)),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Processor time of the kernel thread that finishes a core's network work when that core is contended, in nanoseconds.
/// It belongs to no process. Zero if there is no such thread to be seen.
pub fn softirq_thread_ns(core: usize) -> u64 {
    let name = format!("ksoftirqd/{core}\n");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let thread = processes
        .map(|process| process.path())
        .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name));
    let times = thread.and_then(|path| fs::read_to_string(path.join("schedstat")).ok());
    times
        .and_then(|times| times.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live `timespec`.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Memory of this process in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Resident pages.
    pub resident: u64,
    /// The page tables that map them.
    pub page_tables: u64,
}

/// What /proc/self/status says of this process's memory.
pub fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status cannot be read");
    let bytes = |name| field(&status, name).unwrap_or(0) * 1024;
    Memory {
        resident: bytes("VmRSS:"),
        page_tables: bytes("VmPTE:"),
    }
}

/// Processor time and context switches of a set of threads.
#[derive(Clone, Copy, Default)]
pub struct Activity {
    /// Time on a core, in nanoseconds.
    pub cpu_ns: u64,
    /// Voluntary and involuntary context switches.
    pub switches: u64,
    /// How many threads there are.
    pub threads: u64,
}

/// What all the threads of this process but the calling one use in `window`.
pub fn activity_of_others(window: Duration) -> Activity {
    let before = totals_of_others();
    std::thread::sleep(window);
    let after = totals_of_others();
    Activity {
        cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
        switches: after.switches.saturating_sub(before.switches),
        threads: after.threads,
    }
}

fn totals_of_others() -> Activity {
    let mut total = Activity::default();
    for thread in other_threads() {
        // A thread may end between the listing and the reading.
        let (Ok(times), Ok(status)) = (
            fs::read_to_string(format!("{thread}/schedstat")),
            fs::read_to_string(format!("{thread}/status")),
        ) else {
            continue;
        };
        total.cpu_ns += times
            .split(' ')
            .next()
            .and_then(|ns| ns.parse::<u64>().ok())
            .unwrap_or(0);
        total.switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0)
            + field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        total.threads += 1;
    }
    total
}

/// Whether every thread of this process but the calling one is asleep.
pub fn others_asleep() -> bool {
    other_threads().iter().all(|thread| {
        let Ok(stat) = fs::read_to_string(format!("{thread}/stat")) else {
            return true;
        };
        // The state follows the name, which is in parentheses and may itself contain any character.
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('S'))
    })
}

fn other_threads() -> Vec<String> {
    let own = thread_id().to_string();
    let threads = fs::read_dir("/proc/self/task").expect("/proc/self/task cannot be read");
    threads
        .flatten()
        .filter(|thread| thread.file_name().to_str() != Some(&own))
        .map(|thread| thread.path().display().to_string())
        .collect()
}

fn field(status: &str, name: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}
