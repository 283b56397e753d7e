//! Stacks: their sizes and their guards.

mod common;

use std::hint::black_box;
use std::io::ErrorKind;

use common::{Counter, Gate, Watchdog, everywhere, inside_everywhere, on_workers, pollers};
use filature::{Builder, Guard, Runtime, park, spawn, stack_bounds, yield_now};

const PAGE: usize = 4096;

/// Whether the kernel finds nothing to read at that address.
fn is_inaccessible(address: usize) -> bool {
    // SAFETY: only the kernel looks at the address, and it answers EFAULT for
    // any that it cannot read.
    let status = unsafe { libc::access(std::ptr::with_exposed_provenance(address), libc::F_OK) };
    status == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// The current stack's lowest page is a guard, and the one above is not.
fn assert_guarded() {
    let stack = stack_bounds().expect("in a coroutine");
    let local = 0u8;
    assert!(stack.contains(&std::ptr::from_ref(&local).addr()));
    assert!(stack.start.is_multiple_of(PAGE));
    for offset in [0, 1, PAGE / 2, PAGE - 1] {
        assert!(is_inaccessible(stack.start + offset));
    }
    assert!(!is_inaccessible(stack.start + PAGE));
    assert!(!is_inaccessible(stack.end - 1));
}

/// Uses that much of the stack; gives how much it was exactly.
fn use_stack(bytes: usize) -> usize {
    let top = 0u8;
    descend(std::ptr::from_ref(&top).addr(), bytes)
}

#[inline(never)]
fn descend(top: usize, bytes: usize) -> usize {
    let frame = black_box([0u8; 512]);
    let used = top - frame.as_ptr().addr();
    if used < bytes {
        return descend(top, bytes) + black_box(frame)[100] as usize;
    }
    used
}

#[test]
fn every_stack_has_a_guard_at_its_end() {
    everywhere(|setup| {
        for guard in [Guard::Auto, Guard::Mprotect] {
            let runtime = setup.builder().guard(guard).build().unwrap();
            runtime.run(|| {
                assert_guarded();
                let handles: Vec<_> = (0..200usize)
                    .map(|i| {
                        let size = (16 << 10) + (i % 7) * 50_000;
                        let odd = Builder::new().stack_size(size).spawn(move || {
                            let length = stack_bounds().unwrap().len();
                            let whole = size.next_multiple_of(PAGE);
                            // With the guard, without what colours the top.
                            assert!(length > whole && length <= whole + PAGE);
                            assert_guarded();
                            yield_now();
                            assert_guarded();
                        });
                        (odd.unwrap(), spawn(assert_guarded))
                    })
                    .collect();
                for (odd, usual) in handles {
                    odd.join().unwrap();
                    usual.join().unwrap();
                }
            });
        }
    });
}

#[test]
fn a_plain_thread_has_no_bounds() {
    assert_eq!(stack_bounds(), None);
}

#[test]
fn no_two_live_stacks_overlap() {
    inside_everywhere(|| {
        let gate = Gate::new();
        let started = Counter::new();
        let handles: Vec<_> = (0..500usize)
            .map(|i| {
                let (gate, started) = (gate.clone(), started.clone());
                let builder = match i % 3 {
                    0 => Builder::new(),
                    1 => Builder::new().stack_size(20_000),
                    _ => Builder::new().stack_size(1 << 20),
                };
                let handle = builder.spawn(move || {
                    started.up();
                    gate.wait();
                    stack_bounds().unwrap()
                });
                handle.unwrap()
            })
            .collect();
        started.wait_for(500);
        gate.open();
        let mut stacks: Vec<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
        stacks.sort_unstable_by_key(|stack| stack.start);
        assert!(stacks.windows(2).all(|pair| pair[0].end <= pair[1].start));
    });
}

#[test]
fn deep_recursion_fits_into_a_stack_made_for_it() {
    inside_everywhere(|| {
        let deep = Builder::new()
            .stack_size(64 << 20)
            .spawn(|| use_stack(60 << 20));
        let local = Builder::new()
            .stack_size(8 << 20)
            .spawn_local(|| use_stack(7 << 20));
        assert!(deep.unwrap().join().unwrap() >= 60 << 20);
        assert!(local.unwrap().join().unwrap() >= 7 << 20);
    });
}

#[test]
fn stacks_of_all_sizes_live_side_by_side() {
    inside_everywhere(|| {
        let handles: Vec<_> = (0..300usize)
            .map(|i| {
                let size = [32 << 10, 100_000, 256 << 10, 1 << 20, 3_000_000][i % 5];
                let builder = Builder::new().stack_size(size);
                let body = move || {
                    use_stack(size / 2);
                    if i % 2 == 0 {
                        yield_now();
                    }
                    use_stack(size / 2);
                    i
                };
                builder.spawn(body).unwrap()
            })
            .collect();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), i);
        }
    });
}

#[test]
fn the_runtimes_stack_size_is_what_its_coroutines_get() {
    on_workers(&[2], |setup| {
        let runtime = setup.builder().stack_size(8 << 20).build().unwrap();
        assert!(runtime.run(|| spawn(|| use_stack(7 << 20)).join().unwrap()) > 0);
        let same = Builder::new().stack_size(8 << 20);
        runtime
            .spawn_with(same, assert_guarded)
            .unwrap()
            .join()
            .unwrap();
    });
}

#[test]
fn more_guarded_stacks_live_at_once_than_the_process_may_have_mappings() {
    // Two mappings each would be too many by far.
    const COUNT: usize = 40_000;
    for io in pollers() {
        let _watchdog = Watchdog::new(io.to_string());
        let built = Runtime::builder()
            .workers(2)
            .io(io)
            .guard(Guard::Madvise)
            .build();
        let Ok(runtime) = built else {
            // A kernel before 6.13.
            let error = built.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return;
        };
        let started = Counter::new();
        let handles: Vec<_> = (0..COUNT)
            .map(|_| {
                let started = started.clone();
                runtime.spawn(move || {
                    assert!(is_inaccessible(stack_bounds().unwrap().start));
                    started.up();
                    park();
                })
            })
            .collect();
        started.wait_for(COUNT);
        handles.iter().for_each(|h| h.coroutine().unpark());
        handles.into_iter().for_each(|h| h.join().unwrap());
    }
}
