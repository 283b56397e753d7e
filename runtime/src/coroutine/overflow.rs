//! What happens when a coroutine overflows its stack: one message that names
//! the coroutine and says what to do, then the process aborts, as std does it
//! for threads.
//!
//! The access that hits the guard page raises SIGSEGV (SIGBUS on some systems).
//! The handler asks the runtime whether the fault address lies in the guard of
//! the coroutine that runs on this thread. If not, the fault is somebody else's
//! and the action that was there before, often std's report for threads,
//! decides. The handler is installed with that action's own mask and flags, so
//! that a handler called from here sees what the kernel would have given it.
//!
//! An overflowed stack has no room for a signal frame, so every worker needs an
//! alternate signal stack. Threads of std have one where std's runtime was
//! started; [`AltStack`] provides one for the other cases, such as a worker
//! started from a C program.
//!
//! Everything that runs inside the handler is async-signal-safe: atomics,
//! formatting of integers and strings into a buffer on the stack, `write`,
//! `sigaction`, `abort`.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};
use std::sync::{Once, OnceLock};

use super::guard::page_size;

/// Whose stack overflowed.
pub(crate) struct OverflowReport {
    pub(crate) id: u64,
    /// Lives until the process ends: the coroutine holds it and runs no more.
    pub(crate) name: Option<&'static str>,
    /// In bytes, guard not included.
    pub(crate) stack_size: usize,
    /// Where the coroutine was spawned.
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Tells whether the fault address lies in the guard of the coroutine that runs
/// on the calling thread. Called inside the signal handler, on any thread, the
/// program's own included: must be async-signal-safe.
pub(crate) type Lookup = fn(fault_address: usize) -> Option<OverflowReport>;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

struct Installed {
    lookup: Lookup,
    /// In the order of `SIGNALS`.
    previous: [libc::sigaction; 2],
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Installs the handlers, once in the life of the process; later calls do
/// nothing.
///
/// A program that installs its own handler afterwards takes the place of this
/// one and should call it for what it does not know.
pub(crate) fn install(lookup: Lookup) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Published before the first handler can run.
        let installed = INSTALLED.get_or_init(|| Installed {
            lookup,
            previous: SIGNALS.map(current_action),
        });
        for (signal, previous) in SIGNALS.into_iter().zip(&installed.previous) {
            let mut action = *previous;
            action.sa_sigaction = handle as *const () as libc::sighandler_t;
            action.sa_flags &= libc::SA_NODEFER | libc::SA_RESETHAND | libc::SA_RESTART;
            action.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
            set_action(signal, &action);
        }
    });
}

fn current_action(signal: libc::c_int) -> libc::sigaction {
    let mut action = MaybeUninit::zeroed();
    // SAFETY: with a null new action this only writes the current one; all zeroes, should it fail, is
    // a valid `sigaction` too, the default.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

fn set_action(signal: libc::c_int, action: &libc::sigaction) {
    // SAFETY: the action is either one that was in force before or `handle`, which has the type that
    // SA_SIGINFO asks for.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = ErrnoGuard::save();
    let Some(installed) = INSTALLED.get() else {
        return;
    };
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // Sent by `kill` and the like, it carries no address and does not come again by itself.
    let is_fault = code > 0;
    if is_fault {
        // SAFETY: as above, and a fault has an address.
        let address = unsafe { (*info).si_addr() };
        if let Some(report) = (installed.lookup)(address.addr()) {
            report.print();
            std::process::abort();
        }
    }
    let which = usize::from(signal != SIGNALS[0]);
    drop(errno);
    // SAFETY: the arguments are the kernel's own, for this signal.
    unsafe { chain(&installed.previous[which], is_fault, signal, info, context) };
}

/// Lets the previous action decide.
///
/// # Safety
///
/// `signal`, `info` and `context` are what the kernel passed to the running
/// handler.
unsafe fn chain(
    previous: &libc::sigaction,
    is_fault: bool,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    type Plain = extern "C" fn(libc::c_int);
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

    match previous.sa_sigaction {
        // Ignoring is possible only for a signal that was sent.
        libc::SIG_IGN if !is_fault => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            let _errno = ErrnoGuard::save();
            set_action(signal, previous);
            if !is_fault {
                // Blocked until the handler returns; a fault just happens again.
                // SAFETY: raising a signal has no preconditions.
                unsafe { libc::raise(signal) };
            }
        }
        function if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: an action with SA_SIGINFO holds a function of this type; whoever installed it
            // vouched for calling it with what the kernel passes.
            let function = unsafe { mem::transmute::<libc::sighandler_t, WithInfo>(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: an action without SA_SIGINFO that is neither of the two constants holds a
            // function of this type.
            let function = unsafe { mem::transmute::<libc::sighandler_t, Plain>(function) };
            function(signal);
        }
    }
}

/// Restores `errno` for the code that the signal interrupted.
struct ErrnoGuard(libc::c_int);

impl ErrnoGuard {
    fn save() -> Self {
        // SAFETY: the location is the calling thread's own `errno`.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl Drop for ErrnoGuard {
    fn drop(&mut self) {
        // SAFETY: the location is the calling thread's own `errno`.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

impl OverflowReport {
    fn print(&self) {
        let mut line = Line::new();
        // Writing to a `Line` cuts off what does not fit and never fails.
        let _ = writeln!(line, "\n{self}\nfatal runtime error: stack overflow");
        line.write_to_stderr();
    }
}

impl fmt::Display for OverflowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coroutine {}", self.id)?;
        if let Some(name) = self.name {
            write!(f, " '{}'", clip(name, 200))?;
        }
        let (size, unit) = match self.stack_size {
            size if size.is_multiple_of(1 << 20) => (size >> 20, "MiB"),
            size => (size >> 10, "KiB"),
        };
        write!(
            f,
            " has overflowed its stack of {size} {unit} (spawned at {}:{}:{}); give it more with \
             Builder::stack_size, Runtime::builder().stack_size or FILATURE_STACK_SIZE",
            clip(self.file, 400),
            self.line,
            self.column
        )
    }
}

/// The start of `text`, at most `bytes` long.
fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A message in the making, without allocation, to be written in one piece.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self {
            bytes: [0; 1024],
            len: 0,
        }
    }

    fn write_to_stderr(&self) {
        let mut rest = &self.bytes[..self.len];
        while !rest.is_empty() {
            // SAFETY: the buffer is `rest`, with its length.
            let written =
                unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) => rest = &rest[written..],
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.len..];
        let text = clip(text, free.len()).as_bytes();
        free[..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

/// Makes sure that the thread has an alternate signal stack while this lives.
pub(crate) struct AltStack {
    /// None where the thread already had one.
    own: Option<OwnAltStack>,
    /// Belongs to the thread that made it.
    _thread: PhantomData<Cell<*mut ()>>,
}

impl AltStack {
    /// Leaves an alternate stack that the thread has as it is, else sets one up.
    pub(crate) fn for_this_thread() -> io::Result<Self> {
        let own = match current_alt_stack()? {
            current if current.ss_flags & libc::SS_DISABLE == 0 => None,
            _ => Some(OwnAltStack::set_up()?),
        };
        Ok(Self {
            own,
            _thread: PhantomData,
        })
    }
}

/// Takes its own stack away again, unless another has taken its place: whoever
/// set that one up may mean to put this one back, so this one has to stay.
impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(own) = self.own.take() else { return };
        let is_ours = current_alt_stack().is_ok_and(|current| ptr::eq(current.ss_sp, own.stack()));
        if !is_ours {
            mem::forget(own);
            return;
        }
        let none = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: no handler of this thread runs on the alternate stack, as this code would not run
        // then: nobody drops an `AltStack` in a signal handler.
        unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
    }
}

fn current_alt_stack() -> io::Result<libc::stack_t> {
    let mut current = MaybeUninit::zeroed();
    // SAFETY: with a null new stack this only writes the current one.
    match unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) } {
        // SAFETY: the call succeeded and has written it.
        0 => Ok(unsafe { current.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A mapping for signal frames, a guard page at its lower end. Unmapped on drop.
struct OwnAltStack {
    start: NonNull<libc::c_void>,
    bytes: usize,
}

impl OwnAltStack {
    /// Room for handlers that ours passes faults on to, such as one that prints
    /// a backtrace. What is not touched takes no memory.
    const ROOM: usize = 64 * 1024;

    fn set_up() -> io::Result<Self> {
        let guard = page_size();
        // SAFETY: getauxval has no preconditions. It is 0 where the kernel does not tell.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let usable = (Self::ROOM + frame).next_multiple_of(guard);
        let bytes = guard + usable;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Self {
            start: NonNull::new(start).expect("mmap does not return null"),
            bytes,
        };
        // SAFETY: the range is the first page of the mapping just made.
        if unsafe { libc::mprotect(start, guard, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let stack = libc::stack_t {
            ss_sp: mapping.stack(),
            ss_flags: 0,
            ss_size: usable,
        };
        // SAFETY: the stack is `usable` bytes of a mapping that is unmapped only after the thread has
        // another alternate stack or none (`AltStack::drop`).
        match unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } {
            0 => Ok(mapping),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn stack(&self) -> *mut libc::c_void {
        self.start.as_ptr().wrapping_byte_add(page_size())
    }
}

impl Drop for OwnAltStack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and no thread has it as its alternate stack any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.bytes) };
    }
}

#[cfg(test)]
mod tests;
