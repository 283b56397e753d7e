use std::collections::{HashMap, HashSet};
use std::fs;
use std::mem;
use std::process::Command;
use std::thread;

use corosensei::stack::Stack as _;

use super::super::guard::is_inaccessible;
use super::*;

const BOTH: [Guard; 2] = [Guard::Auto, Guard::Mprotect];

/// Whether the kernel can read a byte there, by another way than the probe's.
fn is_readable(address: usize) -> bool {
    let mut byte = 0_u8;
    let local = libc::iovec {
        iov_base: ptr::from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(address),
        iov_len: 1,
    };
    // SAFETY: `local` is one byte of this frame; the remote side is checked by the kernel.
    unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) == 1 }
}

fn touch(address: usize) {
    let pointer = ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: callers pass addresses of the usable part of a stack that they own and run nothing on.
    unsafe {
        pointer.write_volatile(0xAB);
        assert_eq!(pointer.read_volatile(), 0xAB);
    }
}

fn assert_guarded(stack: &Stack) {
    let guard = stack.guard_range();
    assert_eq!(guard.start, stack.limit().get());
    assert_eq!(guard.len(), page_size());
    for address in [guard.start, guard.end - 1] {
        assert!(
            !is_readable(address),
            "the guard at {address:#x} is readable"
        );
        assert!(is_inaccessible(ptr::without_provenance(address)));
    }
    assert!(is_readable(guard.end));
    touch(guard.end);
    touch(stack.base().get() - 1);
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps")
        .expect("/proc is mounted")
        .lines()
        .count()
}

/// Runs the named test of this file alone, in a process of its own, with
/// `FILATURE_TEST_CHILD` set.
fn in_a_process_of_its_own(test: &str, body: impl FnOnce()) {
    if std::env::var_os("FILATURE_TEST_CHILD").is_some() {
        return body();
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env("FILATURE_TEST_CHILD", "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_guard_faults_and_all_above_it_is_usable() {
    for guard in BOTH {
        let pool = StackPool::new(guard).unwrap();
        let stacks: Vec<_> = (0..100)
            .map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap())
            .collect();
        stacks.iter().for_each(assert_guarded);
    }
}

#[test]
fn a_recycled_stack_is_the_last_one_released_with_its_guard_in_place() {
    for guard in BOTH {
        let pool = StackPool::new(guard).unwrap();
        let first = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
        let second = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
        let (limit, base) = (second.limit(), second.base());
        assert_guarded(&second);
        drop(first);
        drop(second);
        let recycled = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
        assert_eq!((recycled.limit(), recycled.base()), (limit, base));
        assert_guarded(&recycled);
    }
}

/// How many pages of the slot are in memory.
fn resident(limit: usize, size: usize) -> usize {
    let mut pages = vec![0_u8; size / page_size()];
    let start = ptr::with_exposed_provenance_mut(limit);
    // SAFETY: mincore writes a byte for each page of the slot, and checks that it is mapped.
    let status = unsafe { libc::mincore(start, size, pages.as_mut_ptr()) };
    assert_eq!(status, 0);
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

#[test]
fn many_stacks_are_released_and_had_again_at_once() {
    for guard in BOTH {
        let pool = StackPool::new(guard).unwrap();
        let mut stacks = Vec::new();
        for size in [MIN_STACK_SIZE, DEFAULT_STACK_SIZE] {
            stacks.extend((0..50).map(|_| pool.allocate(size).unwrap()));
        }
        let kept: Vec<_> = stacks
            .extract_if(.., |s| (s.limit().get() / page_size()).is_multiple_of(3))
            .collect();
        let released = mem::take(&mut stacks);
        let slots: Vec<_> = released
            .iter()
            .map(|s| (s.limit().get(), s.size()))
            .collect();
        released.iter().chain(&kept).for_each(assert_guarded);
        pool.release_many(released);
        for &(limit, size) in &slots {
            assert_eq!(resident(limit, size + page_size()), 0);
        }
        for stack in &kept {
            assert_eq!(resident(stack.limit().get(), stack.size() + page_size()), 2);
        }

        let small = slots.iter().filter(|slot| slot.1 == MIN_STACK_SIZE).count();
        let rest = slots.len() - small;
        stacks.extend((0..small).map(|_| pool.allocate(MIN_STACK_SIZE).unwrap()));
        stacks.extend((0..rest).map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap()));
        let again: HashSet<_> = stacks.iter().map(|s| (s.limit().get(), s.size())).collect();
        assert_eq!(again, slots.into_iter().collect());
        stacks.iter().for_each(assert_guarded);
    }
}

#[test]
fn a_released_stack_gives_its_pages_back() {
    for guard in BOTH {
        let pool = StackPool::new(guard).unwrap();
        let stack = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
        let (limit, size) = (stack.limit().get(), stack.size());
        (stack.guard_range().end..stack.base().get())
            .step_by(page_size())
            .for_each(touch);
        assert_eq!(resident(limit, size + page_size()), size / page_size());
        drop(stack);
        assert_eq!(resident(limit, size + page_size()), 0);
    }
}

#[test]
fn touching_the_top_of_a_stack_costs_one_page() {
    let pool = StackPool::new(Guard::Auto).unwrap();
    let stacks: Vec<_> = (0..64)
        .map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap())
        .collect();
    for stack in &stacks {
        touch(stack.base().get() - 1);
        assert_eq!(resident(stack.limit().get(), stack.size() + page_size()), 1);
    }
}

#[test]
fn stacks_of_every_size_are_whole_pages_and_do_not_overlap() {
    let page = page_size();
    let pool = StackPool::new(Guard::Auto).unwrap();
    let mut stacks = Vec::new();
    for size in [
        MIN_STACK_SIZE,
        MIN_STACK_SIZE + 1,
        40_000,
        DEFAULT_STACK_SIZE,
        1 << 20,
        (8 << 20) + 1,
        MAX_STACK_SIZE,
    ] {
        for _ in 0..5 {
            let stack = pool.allocate(size).unwrap();
            assert_eq!(stack.size(), size.next_multiple_of(page));
            assert_guarded(&stack);
            stacks.push(stack);
        }
    }
    let mut slots: Vec<_> = stacks.iter().map(|s| (s.limit(), s.base())).collect();
    slots.sort_unstable();
    assert!(slots.windows(2).all(|pair| pair[0].1 <= pair[1].0));
}

#[test]
fn a_size_out_of_bounds_is_refused_with_the_bounds() {
    let pool = StackPool::new(Guard::Auto).unwrap();
    for size in [0, MIN_STACK_SIZE - 1, MAX_STACK_SIZE + 1, usize::MAX] {
        let error = pool.allocate(size).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("16 KiB") && text.contains("1 GiB"), "{text}");
    }
    assert!(
        !pool.exhausted(),
        "a bad size says nothing about the next stack"
    );
}

#[test]
fn neighbours_have_different_colours_that_leave_most_of_the_top_page() {
    let pool = StackPool::new(Guard::Auto).unwrap();
    let stacks: Vec<_> = (0..512)
        .map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap())
        .collect();
    let colour = |stack: &Stack| stack.end() - stack.base().get();
    let page = |stack: &Stack| stack.end() / page_size() % 16;
    let mut seen = HashMap::new();
    for stack in &stacks {
        *seen.entry((colour(stack), page(stack))).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), COLOURS * 16);
    assert!(seen.values().all(|&times| times <= 8), "{seen:?}");
    assert!(stacks.iter().all(|stack| colour(stack) <= 1344));
    assert!(stacks.iter().all(|stack| stack.base().get() % 16 == 0));
}

#[test]
fn a_stack_outlives_every_other_handle_of_its_pool() {
    let pool = StackPool::new(Guard::Auto).unwrap();
    let stack = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
    drop(pool);
    assert_guarded(&stack);
}

#[test]
fn the_memory_and_the_mappings_go_with_the_pool() {
    in_a_process_of_its_own("the_memory_and_the_mappings_go_with_the_pool", || {
        for guard in BOTH {
            let before = mappings();
            let pool = StackPool::new(guard).unwrap();
            let stacks: Vec<_> = (0..1000)
                .map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap())
                .collect();
            drop(pool);
            drop(stacks);
            assert!(mappings() <= before + 2);
        }
    });
}

#[test]
fn threads_share_a_pool_without_sharing_a_stack() {
    let pool = StackPool::new(Guard::Auto).unwrap();
    thread::scope(|scope| {
        for mark in 0..4_usize {
            let pool = &pool;
            scope.spawn(move || {
                let mut kept: Vec<(Stack, usize)> = Vec::new();
                let place = |stack: &Stack| {
                    ptr::with_exposed_provenance_mut::<usize>(
                        stack.base().get() - size_of::<usize>(),
                    )
                };
                for turn in 0..2000 {
                    let stack = pool.allocate(DEFAULT_STACK_SIZE).unwrap();
                    let value = mark << 32 | turn;
                    // SAFETY: the stack is this thread's alone and nothing runs on it.
                    unsafe { place(&stack).write(value) };
                    kept.push((stack, value));
                    if turn % 3 != 0 {
                        let (stack, value) = kept.swap_remove(turn % kept.len());
                        // SAFETY: as above.
                        assert_eq!(unsafe { place(&stack).read() }, value);
                        drop(stack);
                    }
                }
                for (stack, value) in kept {
                    // SAFETY: as above.
                    assert_eq!(unsafe { place(&stack).read() }, value);
                }
            });
        }
    });
}

#[test]
fn a_hundred_thousand_stacks_take_few_mappings() {
    in_a_process_of_its_own("a_hundred_thousand_stacks_take_few_mappings", || {
        let Ok(pool) = StackPool::new(Guard::Madvise) else {
            return;
        };
        let before = mappings();
        let stacks: Vec<_> = (0..100_000)
            .map(|_| pool.allocate(DEFAULT_STACK_SIZE).unwrap())
            .collect();
        assert!(mappings() < before + 50, "{before} to {}", mappings());
        [0, 15, 16, 50_000, 99_999]
            .into_iter()
            .for_each(|index| assert_guarded(&stacks[index]));
    });
}

#[test]
fn mprotect_stops_before_the_limit_and_says_what_to_do() {
    in_a_process_of_its_own(
        "mprotect_stops_before_the_limit_and_says_what_to_do",
        || {
            let limit: usize = fs::read_to_string("/proc/sys/vm/max_map_count")
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            if limit > 1 << 18 {
                return;
            }
            let pool = StackPool::new(Guard::Mprotect).unwrap();
            let mut stacks = Vec::new();
            let error = loop {
                match pool.allocate(MIN_STACK_SIZE) {
                    Ok(stack) => stacks.push(stack),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            let text = error.to_string();
            assert!(text.contains(&format!("vm.max_map_count is {limit}")));
            assert!(text.contains(&format!("{} coroutine stacks", stacks.len())));
            assert!(stacks.len() > limit / 4);
            stacks.iter().step_by(1000).for_each(assert_guarded);
            assert!(pool.exhausted());

            // The rest of the program can still map memory and start threads.
            let threads: Vec<_> = (0..16)
                .map(|_| thread::spawn(|| drop(vec![1_u8; 64 << 20])))
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());

            // Another pool counts against the same limit.
            let other = StackPool::new(Guard::Mprotect).unwrap();
            assert!(other.allocate(MIN_STACK_SIZE).is_err());

            // What is released can be had again.
            let last = stacks.pop().unwrap();
            let last_limit = last.limit();
            drop(last);
            assert!(!pool.exhausted());
            let again = pool.allocate(MIN_STACK_SIZE).unwrap();
            assert_eq!(again.limit(), last_limit);
            assert_guarded(&again);
            assert!(pool.allocate(MIN_STACK_SIZE).is_err());

            // A pool that goes makes room for others.
            drop((again, stacks, pool));
            assert_guarded(&other.allocate(MIN_STACK_SIZE).unwrap());
        },
    );
}

#[test]
fn a_limit_on_address_space_is_an_error_that_says_so() {
    in_a_process_of_its_own("a_limit_on_address_space_is_an_error_that_says_so", || {
        let pool = StackPool::new(Guard::Auto).unwrap();
        let limit = libc::rlimit {
            rlim_cur: 1 << 30,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the limit is a valid value.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let mut stacks = Vec::new();
        let error = loop {
            match pool.allocate(16 << 20) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        assert!(stacks.len() > 16, "smaller slabs use what room there is");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let text = error.to_string();
        assert!(
            text.contains(&format!("16777216 bytes, {} of that size", stacks.len())),
            "{text}"
        );
        assert!(text.contains("ulimit -v"));
    });
}

#[test]
fn locked_memory_is_guarded_as_well() {
    in_a_process_of_its_own("locked_memory_is_guarded_as_well", || {
        // SAFETY: locking memory has no preconditions.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            return;
        }
        let pool = StackPool::new(Guard::Auto).unwrap();
        // The lock limit may be as low as 8 MiB.
        for _ in 0..8 {
            assert_guarded(&pool.allocate(MIN_STACK_SIZE).unwrap());
        }
        if let Ok(pool) = StackPool::new(Guard::Madvise) {
            let error = pool.allocate(MIN_STACK_SIZE).err().unwrap();
            assert!(error.to_string().contains("locked"), "{error}");
        }
    });
}
