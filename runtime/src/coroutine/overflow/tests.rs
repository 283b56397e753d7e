use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use corosensei::{Coroutine, CoroutineResult};

use super::super::guard::Guard;
use super::super::stack::{DEFAULT_STACK_SIZE, MIN_STACK_SIZE, StackPool};
use super::*;

/// Runs the named test of this file alone in a process of its own, where `body`
/// runs, and returns how that ended.
fn in_a_process_of_its_own(test: &str, body: impl FnOnce()) -> Output {
    if std::env::var_os("FILATURE_TEST_CHILD").is_some() {
        body();
        std::process::exit(0);
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env("FILATURE_TEST_CHILD", "1")
        .output()
        .unwrap()
}

#[track_caller]
fn assert_killed_by(signal: libc::c_int, output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.signal(),
        Some(signal),
        "{:?}: {printed}",
        output.status
    );
    printed
}

/// The guard of the coroutine under test, as a scheduler would tell.
static GUARD_START: AtomicUsize = AtomicUsize::new(0);
static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

fn lookup(address: usize) -> Option<OverflowReport> {
    let start = GUARD_START.load(Ordering::Relaxed);
    (start != 0 && (start..start + page_size()).contains(&address)).then(|| OverflowReport {
        id: 17,
        name: Some("handler"),
        stack_size: STACK_SIZE.load(Ordering::Relaxed),
        file: "src/main.rs",
        line: 10,
        column: 5,
    })
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(&frame)[7]
}

fn overflow_a_coroutine(guard: Guard, size: usize) {
    let pool = StackPool::new(guard).unwrap();
    let _below = pool.allocate(size).unwrap();
    let stack = pool.allocate(size).unwrap();
    GUARD_START.store(stack.guard_range().start, Ordering::Relaxed);
    STACK_SIZE.store(stack.size(), Ordering::Relaxed);
    let mut coroutine = Coroutine::<(), (), u64, _>::with_stack(stack, |_, ()| recurse(0));
    let _ = coroutine.resume(());
}

const MESSAGE: &str = "\ncoroutine 17 'handler' has overflowed its stack of 256 KiB (spawned at \
    src/main.rs:10:5); give it more with Builder::stack_size, Runtime::builder().stack_size or \
    FILATURE_STACK_SIZE\nfatal runtime error: stack overflow\n";

#[test]
fn a_coroutine_runs_on_a_stack_of_the_pool_and_the_pool_gets_it_back() {
    for guard in [Guard::Auto, Guard::Mprotect] {
        let pool = StackPool::new(guard).unwrap();
        let stack = pool.allocate(MIN_STACK_SIZE).unwrap();
        let range = stack.guard_range();
        let mut coroutine =
            Coroutine::<u32, u32, String, _>::with_stack(stack, |yielder, first| {
                let second = yielder.suspend(first + 1);
                format!("{first} {second}")
            });
        assert!(matches!(coroutine.resume(1), CoroutineResult::Yield(2)));
        assert!(matches!(coroutine.resume(5), CoroutineResult::Return(text) if text == "1 5"));
        drop(coroutine);
        assert_eq!(pool.allocate(MIN_STACK_SIZE).unwrap().guard_range(), range);
    }
}

#[test]
fn an_overflow_names_the_coroutine_and_aborts() {
    let output = in_a_process_of_its_own("an_overflow_names_the_coroutine_and_aborts", || {
        install(lookup);
        overflow_a_coroutine(Guard::Auto, DEFAULT_STACK_SIZE);
    });
    let printed = assert_killed_by(libc::SIGABRT, &output);
    assert!(printed.ends_with(MESSAGE), "{printed}");
}

#[test]
fn an_overflow_into_an_mprotect_guard_is_reported_too() {
    let output =
        in_a_process_of_its_own("an_overflow_into_an_mprotect_guard_is_reported_too", || {
            install(lookup);
            overflow_a_coroutine(Guard::Mprotect, DEFAULT_STACK_SIZE);
        });
    let printed = assert_killed_by(libc::SIGABRT, &output);
    assert!(printed.ends_with(MESSAGE), "{printed}");
}

#[test]
fn an_overflow_is_reported_on_a_thread_that_had_no_signal_stack() {
    let output = in_a_process_of_its_own(
        "an_overflow_is_reported_on_a_thread_that_had_no_signal_stack",
        || {
            install(lookup);
            without_signal_stack(|| {
                let _alt = AltStack::for_this_thread().unwrap();
                overflow_a_coroutine(Guard::Auto, DEFAULT_STACK_SIZE);
            });
        },
    );
    let printed = assert_killed_by(libc::SIGABRT, &output);
    assert!(printed.ends_with(MESSAGE), "{printed}");
}

#[test]
fn a_signal_stack_of_ours_goes_with_its_guard_and_one_of_the_thread_stays() {
    let current = || current_alt_stack().unwrap();
    thread::spawn(move || {
        let before = current();
        assert_eq!(before.ss_flags, 0, "std gives its threads a signal stack");
        drop(AltStack::for_this_thread().unwrap());
        assert_eq!(current().ss_sp, before.ss_sp);
        without_signal_stack(|| {
            let alt = AltStack::for_this_thread().unwrap();
            assert_eq!(current().ss_flags, 0);
            assert!(current().ss_size >= OwnAltStack::ROOM);
            drop(alt);
            assert_ne!(current().ss_flags & libc::SS_DISABLE, 0);
        });
    })
    .join()
    .unwrap();
}

/// Runs `body` as on a thread of a program that std's runtime did not start.
fn without_signal_stack(body: impl FnOnce()) {
    let disabled = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    let mut old = MaybeUninit::uninit();
    // SAFETY: no handler runs on the thread's signal stack now, and it is put back below as it was.
    unsafe { assert_eq!(libc::sigaltstack(&disabled, old.as_mut_ptr()), 0) };
    body();
    // SAFETY: the call above succeeded and wrote `old`, whose memory std keeps for the thread's life.
    unsafe { assert_eq!(libc::sigaltstack(old.as_ptr(), ptr::null_mut()), 0) };
}

#[test]
fn a_thread_that_overflows_is_still_reported_by_std() {
    let output =
        in_a_process_of_its_own("a_thread_that_overflows_is_still_reported_by_std", || {
            install(lookup);
            let thread = thread::Builder::new()
                .name("deep".into())
                .spawn(|| recurse(0));
            let _ = thread.unwrap().join();
        });
    let printed = assert_killed_by(libc::SIGABRT, &output);
    assert!(printed.contains("thread 'deep'"), "{printed}");
    assert!(printed.contains("has overflowed its stack"), "{printed}");
    assert!(!printed.contains("coroutine 17"), "{printed}");
}

fn write_to_nowhere() {
    let nowhere = ptr::without_provenance_mut::<u8>(black_box(16));
    // SAFETY: none: the fault is what the tests want, in a process of their own.
    unsafe { nowhere.write_volatile(1) };
}

#[test]
fn a_wild_pointer_dies_by_sigsegv_as_ever() {
    let output = in_a_process_of_its_own("a_wild_pointer_dies_by_sigsegv_as_ever", || {
        install(lookup);
        write_to_nowhere();
    });
    let printed = assert_killed_by(libc::SIGSEGV, &output);
    assert!(!printed.contains("coroutine"), "{printed}");
}

#[test]
fn a_wild_pointer_dies_by_sigsegv_where_that_was_the_default() {
    let output = in_a_process_of_its_own(
        "a_wild_pointer_dies_by_sigsegv_where_that_was_the_default",
        || wild_pointer_after(libc::SIG_DFL),
    );
    assert_killed_by(libc::SIGSEGV, &output);
}

#[test]
fn a_wild_pointer_dies_by_sigsegv_where_that_was_ignored() {
    let output = in_a_process_of_its_own(
        "a_wild_pointer_dies_by_sigsegv_where_that_was_ignored",
        || wild_pointer_after(libc::SIG_IGN),
    );
    assert_killed_by(libc::SIGSEGV, &output);
}

fn wild_pointer_after(disposition: libc::sighandler_t) {
    // SAFETY: the tests pass the two constants, which are valid for SIGSEGV.
    unsafe { libc::signal(libc::SIGSEGV, disposition) };
    install(lookup);
    write_to_nowhere();
}

#[test]
fn a_handler_installed_before_ours_gets_the_faults_that_are_not_ours() {
    extern "C" fn with_info(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel's siginfo of a fault.
        let address = unsafe { (*info).si_addr() };
        let right = signal == libc::SIGSEGV && address.addr() == 16 && !context.is_null();
        // SAFETY: ends the process, which is all that is left to do.
        unsafe { libc::_exit(if right { 42 } else { 1 }) };
    }
    let output = in_a_process_of_its_own(
        "a_handler_installed_before_ours_gets_the_faults_that_are_not_ours",
        || {
            let mut action = current_action(libc::SIGSEGV);
            action.sa_sigaction = with_info as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            set_action(libc::SIGSEGV, &action);
            install(lookup);
            write_to_nowhere();
        },
    );
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}

#[test]
fn a_plain_handler_installed_before_ours_is_called_with_its_mask() {
    extern "C" fn plain(signal: libc::c_int) {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: asks for the mask only, which is then initialised.
        let usr1_blocked = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), libc::SIGUSR1) == 1
        };
        // SAFETY: ends the process, which is all that is left to do.
        unsafe {
            libc::_exit(if signal == libc::SIGSEGV && usr1_blocked {
                43
            } else {
                1
            })
        };
    }
    let output = in_a_process_of_its_own(
        "a_plain_handler_installed_before_ours_is_called_with_its_mask",
        || {
            let mut action = current_action(libc::SIGSEGV);
            action.sa_sigaction = plain as *const () as libc::sighandler_t;
            action.sa_flags = 0;
            // SAFETY: the mask is an initialised set.
            unsafe { libc::sigaddset(&mut action.sa_mask, libc::SIGUSR1) };
            set_action(libc::SIGSEGV, &action);
            install(lookup);
            write_to_nowhere();
        },
    );
    assert_eq!(output.status.code(), Some(43), "{output:?}");
}

#[test]
fn a_handler_that_repairs_the_fault_lets_the_program_go_on_with_its_errno() {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn repair(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let page = PAGE.load(Ordering::Relaxed);
        // SAFETY: the kernel's siginfo of a fault; the page is the test's own mapping.
        unsafe {
            if (*info).si_addr().addr() != page {
                libc::_exit(1);
            }
            libc::mprotect(
                ptr::with_exposed_provenance_mut(page),
                page_size(),
                libc::PROT_READ | libc::PROT_WRITE,
            );
        }
    }
    let output = in_a_process_of_its_own(
        "a_handler_that_repairs_the_fault_lets_the_program_go_on_with_its_errno",
        || {
            let mut action = current_action(libc::SIGSEGV);
            action.sa_sigaction = repair as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            set_action(libc::SIGSEGV, &action);
            install(lookup);
            // SAFETY: a new mapping; the handler makes it writable when it is written to.
            unsafe {
                let page = libc::mmap(
                    ptr::null_mut(),
                    page_size(),
                    libc::PROT_NONE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                PAGE.store(page.expose_provenance(), Ordering::Relaxed);
                *libc::__errno_location() = libc::EXDEV;
                page.cast::<u8>().write_volatile(7);
                let errno = *libc::__errno_location();
                assert_eq!((errno, page.cast::<u8>().read_volatile()), (libc::EXDEV, 7));
            }
        },
    );
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_sigsegv_that_was_sent_does_what_it_did_before() {
    let output = in_a_process_of_its_own("a_sigsegv_that_was_sent_does_what_it_did_before", || {
        // SAFETY: both dispositions are valid for their signals, and raising has no preconditions.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::signal(libc::SIGBUS, libc::SIG_IGN);
            install(lookup);
            libc::raise(libc::SIGBUS);
            eprintln!("still alive");
            libc::raise(libc::SIGSEGV);
        }
    });
    let printed = assert_killed_by(libc::SIGSEGV, &output);
    assert!(printed.contains("still alive"), "{printed}");
}

#[test]
fn a_message_that_is_too_long_is_cut_off() {
    let name = String::leak("ö".repeat(600));
    let report = OverflowReport {
        id: u64::MAX,
        name: Some(name),
        stack_size: 20 * 1024,
        file: String::leak("long/".repeat(300)),
        line: u32::MAX,
        column: u32::MAX,
    };
    let mut line = Line::new();
    writeln!(line, "\n{report}\nfatal runtime error: stack overflow").unwrap();
    let text = std::str::from_utf8(&line.bytes[..line.len]).unwrap();
    assert!(
        text.contains("ö' has overflowed its stack of 20 KiB"),
        "{text}"
    );
    assert!(
        text.ends_with("fatal runtime error: stack overflow\n"),
        "{text}"
    );
    write!(line, "{name}").unwrap();
    assert!(line.len <= line.bytes.len());
    assert!(std::str::from_utf8(&line.bytes[..line.len]).is_ok());
}
