//! What goes into a coroutine and comes out of it: of any size and alignment, and
//! dropped once.

mod common;

use common::{Counter, Gate, inside_everywhere};
use filature::{is_coroutine, spawn, spawn_local, yield_now};

/// `N` bytes go in with the closure and come back with the result.
fn carries<const N: usize>() {
    let pattern = |i: usize| (i * 31 + N) as u8;
    let mut load = [0u8; N];
    load.iter_mut()
        .enumerate()
        .for_each(|(i, b)| *b = pattern(i));
    let back = spawn(move || {
        yield_now();
        load
    });
    assert!(
        back.join()
            .unwrap()
            .iter()
            .enumerate()
            .all(|(i, b)| *b == pattern(i))
    );
    drop(spawn(move || load));
    let boxed = Box::new(load);
    assert_eq!(spawn_local(move || boxed).join().unwrap()[..], load[..]);
}

#[test]
fn closures_and_results_may_have_any_size() {
    inside_everywhere(|| {
        carries::<0>();
        carries::<1>();
        carries::<7>();
        carries::<64>();
        carries::<95>();
        carries::<96>();
        carries::<97>();
        carries::<104>();
        carries::<111>();
        carries::<112>();
        carries::<113>();
        carries::<128>();
        carries::<1000>();
        carries::<10_000>();
    });
}

macro_rules! aligned {
    ($($name:ident = $align:literal),*) => { $(
        #[repr(align($align))]
        struct $name(u8);

        impl $name {
            fn is_aligned(&self) -> bool {
                std::hint::black_box(std::ptr::from_ref(self).addr()).is_multiple_of($align)
            }

            fn travels() {
                let load = $name(7);
                let back = spawn(move || {
                    assert!(load.is_aligned());
                    yield_now();
                    assert!(load.is_aligned());
                    load
                });
                let back = back.join().unwrap();
                assert!(back.is_aligned());
                assert_eq!(back.0, 7);
            }
        }
    )* };
}

aligned!(
    By8 = 8,
    By16 = 16,
    By32 = 32,
    By64 = 64,
    By128 = 128,
    By4096 = 4096
);

#[test]
fn closures_and_results_may_have_any_alignment() {
    inside_everywhere(|| {
        By8::travels();
        By16::travels();
        By32::travels();
        By64::travels();
        By128::travels();
        By4096::travels();
    });
}

#[test]
fn a_closure_without_size_runs_and_is_dropped() {
    static DROPS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    inside_everywhere(|| {
        let before = DROPS.load(std::sync::atomic::Ordering::SeqCst);
        let nothing = Nothing;
        let back = spawn(move || nothing).join().unwrap();
        assert_eq!(DROPS.load(std::sync::atomic::Ordering::SeqCst), before);
        drop(back);
        assert_eq!(DROPS.load(std::sync::atomic::Ordering::SeqCst), before + 1);
    });
}

#[test]
fn what_a_closure_captures_is_dropped_once() {
    inside_everywhere(|| {
        for size in [0usize, 500] {
            let drops = Counter::new();
            let handles: Vec<_> = (0..100)
                .map(|i| {
                    let captured = (drops.on_drop(), vec![0u8; size], [0u8; 200]);
                    let small = drops.on_drop();
                    spawn(move || {
                        if i % 2 == 0 {
                            yield_now();
                        }
                        let _ = (&captured, &small);
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
            assert_eq!(drops.get(), 200);
        }
    });
}

#[test]
fn a_joined_result_is_the_joiners_to_drop() {
    inside_everywhere(|| {
        let drops = Counter::new();
        for big in [false, true] {
            let before = drops.get();
            let results: Vec<_> = (0..100)
                .map(|_| {
                    let result = drops.on_drop();
                    spawn(move || (result, big.then_some([1u8; 300])))
                })
                .map(|h| h.join().unwrap())
                .collect();
            assert_eq!(drops.get(), before);
            drop(results);
            assert_eq!(drops.get(), before + 100);
        }
    });
}

#[test]
fn the_result_of_a_detached_coroutine_is_dropped_once() {
    inside_everywhere(|| {
        let drops = Counter::new();
        let gate = Gate::new();
        // Some handles go before the coroutine ends, some after, some at about
        // the same time.
        let mut late = Vec::new();
        for i in 0..300 {
            let (result, gate) = (drops.on_drop(), gate.clone());
            let handle = spawn(move || {
                if i % 3 == 0 {
                    gate.wait();
                }
                result
            });
            if i % 3 == 1 {
                late.push(handle);
            }
        }
        gate.open();
        for handle in late {
            while !handle.is_finished() {
                yield_now();
            }
        }
        drops.wait_for(300);
        for _ in 0..10 {
            yield_now();
        }
        assert_eq!(drops.get(), 300);
    });
}

#[test]
fn the_result_of_a_detached_coroutine_may_suspend_as_it_is_dropped() {
    struct Waits(Gate, Counter);
    impl Drop for Waits {
        fn drop(&mut self) {
            assert!(is_coroutine());
            self.0.wait();
            spawn(|| ()).join().unwrap();
            self.1.up();
        }
    }
    inside_everywhere(|| {
        let (detached, gate, drops) = (Gate::new(), Gate::new(), Counter::new());
        for _ in 0..10 {
            let (detached, result) = (detached.clone(), Waits(gate.clone(), drops.clone()));
            drop(spawn(move || {
                detached.wait();
                result
            }));
        }
        detached.open();
        spawn(move || gate.open()).join().unwrap();
        drops.wait_for(10);
    });
}
