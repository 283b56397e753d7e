//! Guard pages: the inaccessible lowest page of every stack.
//!
//! Two ways to make one. `madvise(MADV_GUARD_INSTALL)`, since Linux 6.13, marks
//! the page in the page table and leaves the mapping whole, so that any number
//! of guarded stacks lie in one mapping. `mprotect` works everywhere but cuts
//! the mapping, two mappings a stack, and a process may have only
//! `vm.max_map_count` of them. When those run out, `malloc` and thread creation
//! fail as well, in code that has no plan for it, so the runtime stops before
//! that point and says why.
//!
//! Nothing here ever reports success without a guard in place. That includes
//! the probe: a kernel that answers 0 to advice it does not know (user-mode
//! emulators do) must not leave stacks open to each other, so the probe looks
//! whether the page has really become inaccessible.

use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How the guard page below each coroutine's stack is made.
///
/// The environment variable `FILATURE_GUARD` takes the same values in lower
/// case: `auto`, `madvise`, `mprotect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guard {
    /// [`Madvise`](Self::Madvise) where the kernel has it, else [`Mprotect`](Self::Mprotect).
    #[default]
    Auto,
    /// `madvise(MADV_GUARD_INSTALL)`, Linux 6.13 or later: the number of stacks
    /// is limited by memory alone. Building a runtime fails where the kernel
    /// lacks it.
    Madvise,
    /// `mprotect`, on every kernel: two mappings a stack, so that
    /// `vm.max_map_count` (65,530 unless raised) allows some 30,000 stacks in
    /// the whole process. Spawning fails cleanly when they are used up.
    Mprotect,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Madvise => "madvise",
            Self::Mprotect => "mprotect",
        })
    }
}

impl FromStr for Guard {
    type Err = ParseGuardError;

    fn from_str(value: &str) -> Result<Self, ParseGuardError> {
        match value {
            "auto" => Ok(Self::Auto),
            "madvise" => Ok(Self::Madvise),
            "mprotect" => Ok(Self::Mprotect),
            _ => Err(ParseGuardError {
                value: value.into(),
            }),
        }
    }
}

/// The error of parsing a [`Guard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseGuardError {
    value: Box<str>,
}

impl fmt::Display for ParseGuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a kind of guard page: use `auto`, `madvise` or `mprotect`",
            self.value
        )
    }
}

impl std::error::Error for ParseGuardError {}

/// In the kernel's headers since Linux 6.13, the same number on every architecture.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// A guard made by `mprotect` and the accessible pages above it.
const MAPPINGS_PER_GUARD: usize = 2;

/// The kernel's default, for a `/proc` that cannot be read.
const DEFAULT_MAX_MAP_COUNT: usize = 65_530;

/// Mappings that the guards of all pools take now. The limit is the process's,
/// so the count is too.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// `vm.max_map_count` as last read, 0 before the first time.
static MAX_MAP_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the guards of one pool and counts the mappings that they cost.
pub(super) struct Guards {
    madvise: bool,
    /// A page that `madvise` refuses may be protected by `mprotect` instead.
    mprotect: bool,
    mappings: AtomicUsize,
}

impl Guards {
    pub(super) fn new(guard: Guard) -> io::Result<Self> {
        let (madvise, mprotect) = match guard {
            Guard::Auto => (guard_install_works()?, true),
            Guard::Mprotect => (false, true),
            Guard::Madvise if guard_install_works()? => (true, false),
            Guard::Madvise => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this kernel has no madvise(MADV_GUARD_INSTALL), which came with Linux 6.13: \
                     choose the guard `auto` or `mprotect`",
                ));
            }
        };
        Ok(Self {
            madvise,
            mprotect,
            mappings: AtomicUsize::new(0),
        })
    }

    /// Makes one page inaccessible for the rest of its mapping's life.
    ///
    /// # Safety
    ///
    /// `page` is the start of a page of a private anonymous mapping that the
    /// caller owns and of which nothing is in use.
    pub(super) unsafe fn install(&self, page: NonNull<u8>) -> io::Result<()> {
        if self.madvise {
            // SAFETY: the page is the caller's to give, by this function's contract.
            match unsafe { guard_install(page) } {
                Ok(()) => return Ok(()),
                // Memory locked by `mlockall(MCL_FUTURE)` takes no such guard.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    if !self.mprotect {
                        return Err(io::Error::new(
                            io::ErrorKind::Unsupported,
                            "madvise(MADV_GUARD_INSTALL) refuses memory locked by mlockall: \
                             choose the guard `auto` or `mprotect`",
                        ));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.reserve_mappings()?;
        // SAFETY: the page is the caller's to give, by this function's contract.
        let status = unsafe { libc::mprotect(page.as_ptr().cast(), page_size(), libc::PROT_NONE) };
        if status == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        self.unreserve(MAPPINGS_PER_GUARD);
        if error.raw_os_error() == Some(libc::ENOMEM) {
            Err(too_many_mappings(max_map_count()))
        } else {
            Err(error)
        }
    }

    fn reserve_mappings(&self) -> io::Result<()> {
        let wanted = MAPPINGS.fetch_add(MAPPINGS_PER_GUARD, Ordering::Relaxed) + MAPPINGS_PER_GUARD;
        self.mappings
            .fetch_add(MAPPINGS_PER_GUARD, Ordering::Relaxed);
        if wanted <= usable_mappings(max_map_count()) {
            return Ok(());
        }
        // The administrator may have followed the error's advice meanwhile.
        let limit = read_max_map_count();
        if wanted <= usable_mappings(limit) {
            return Ok(());
        }
        self.unreserve(MAPPINGS_PER_GUARD);
        Err(too_many_mappings(limit))
    }

    fn unreserve(&self, mappings: usize) {
        self.mappings.fetch_sub(mappings, Ordering::Relaxed);
        MAPPINGS.fetch_sub(mappings, Ordering::Relaxed);
    }
}

/// The owner drops its guards after it has unmapped the memory they are in.
impl Drop for Guards {
    fn drop(&mut self) {
        self.unreserve(self.mappings.load(Ordering::Relaxed));
    }
}

fn too_many_mappings(limit: usize) -> io::Error {
    let stacks = MAPPINGS.load(Ordering::Relaxed) / MAPPINGS_PER_GUARD;
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "no mappings left to guard another stack: {stacks} coroutine stacks of this process \
             are guarded by mprotect, which takes {MAPPINGS_PER_GUARD} mappings each, \
             vm.max_map_count is {limit}, and the program needs some for other things. \
             Raise vm.max_map_count with sysctl, or use Linux 6.13 or later, where guards take no \
             mappings, or have fewer coroutines at a time"
        ),
    )
}

/// What guards may take of `limit` mappings: `malloc`, libraries and threads
/// need the rest.
fn usable_mappings(limit: usize) -> usize {
    let headroom = usize::max(2048, limit / 16);
    limit - headroom.min(limit / 2)
}

fn max_map_count() -> usize {
    match MAX_MAP_COUNT.load(Ordering::Relaxed) {
        0 => read_max_map_count(),
        limit => limit,
    }
}

#[cold]
fn read_max_map_count() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_MAP_COUNT);
    MAX_MAP_COUNT.store(limit, Ordering::Relaxed);
    limit
}

/// # Safety
///
/// As for [`Guards::install`].
unsafe fn guard_install(page: NonNull<u8>) -> io::Result<()> {
    // SAFETY: the page is the caller's to give, by this function's contract.
    match unsafe { libc::madvise(page.as_ptr().cast(), page_size(), MADV_GUARD_INSTALL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this kernel has `MADV_GUARD_INSTALL`, found out once by trying it.
fn guard_install_works() -> io::Result<bool> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    if let Some(works) = WORKS.get() {
        return Ok(*works);
    }
    let size = page_size();
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let page = NonNull::new(page.cast::<u8>()).expect("mmap does not return null");
    // SAFETY: the page was mapped above and nothing else knows of it.
    let works = unsafe { guard_install(page) }.is_ok() && is_inaccessible(page.as_ptr());
    // SAFETY: the page was mapped above with this size and is not used again.
    unsafe { libc::munmap(page.as_ptr().cast(), size) };
    Ok(*WORKS.get_or_init(|| works))
}

/// Whether reading at `address` would fault, asked of the kernel without
/// faulting: as the path of a file, an inaccessible address is `EFAULT`.
pub(super) fn is_inaccessible(address: *const u8) -> bool {
    // SAFETY: only the kernel looks at the address, and it answers for any value.
    let status = unsafe { libc::access(address.cast(), libc::F_OK) };
    status == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// The size of a page in bytes: 4,096, on some machines up to 65,536.
pub(super) fn page_size() -> usize {
    static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
    match PAGE_SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf has no preconditions.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let size = usize::try_from(size).expect("the system knows its page size");
            PAGE_SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_written_as_it_is_parsed() {
        for guard in [Guard::Auto, Guard::Madvise, Guard::Mprotect] {
            assert_eq!(guard.to_string().parse(), Ok(guard));
        }
    }

    #[test]
    fn an_unknown_guard_is_refused_with_the_values_allowed() {
        let error = "none".parse::<Guard>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`none` is not a kind of guard page: use `auto`, `madvise` or `mprotect`"
        );
    }

    #[test]
    fn some_mappings_are_always_left_to_the_program() {
        assert_eq!(usable_mappings(65_530), 65_530 - 4095);
        assert_eq!(usable_mappings(16_384), 16_384 - 2048);
        assert_eq!(usable_mappings(1_048_576), 1_048_576 - 65_536);
        assert_eq!(usable_mappings(1000), 500);
    }
}
