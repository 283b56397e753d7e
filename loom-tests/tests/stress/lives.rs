use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::coroutine::life::{Finish, Life};

#[test]
fn a_coroutine_that_nobody_holds_ends_as_the_last() {
    let life = Life::new(1);
    assert_eq!(life.finish_and_release(), Finish::Last { watched: false });
}

#[test]
fn a_coroutine_that_somebody_holds_leaves_the_block_to_them() {
    let life = Life::new(2);
    assert!(!life.is_done());
    assert_eq!(life.finish_and_release(), Finish::Released);
    assert!(life.is_done());
    assert!(!life.set_joining(), "too late");
    assert!(life.release());
}

#[test]
fn a_registered_joiner_is_the_finishers_to_wake() {
    let life = Life::new(2);
    assert!(life.set_joining());
    let left = Finish::Kept {
        joiner: true,
        watched: false,
    };
    assert_eq!(life.finish_and_release(), left);
    assert!(!life.clear_joining(), "too late");
    assert!(!life.release());
    assert!(life.release());
}

#[test]
fn a_joiner_that_withdrew_is_not_woken() {
    let life = Life::new(2);
    assert!(life.set_joining());
    assert!(life.clear_joining());
    assert_eq!(life.finish_and_release(), Finish::Released);
    assert!(life.release());
}

#[test]
fn callbacks_are_the_finishers_if_they_come_before_the_end() {
    let life = Life::new(2);
    assert!(!life.set_watched());
    assert!(!life.set_watched());
    let left = Finish::Kept {
        joiner: false,
        watched: true,
    };
    assert_eq!(life.finish_and_release(), left);
    assert!(!life.set_watched());
    assert!(!life.release());
    assert!(life.release());
}

#[test]
fn callbacks_are_the_first_callers_if_they_come_after_the_end() {
    let life = Life::new(2);
    assert_eq!(life.finish_and_release(), Finish::Released);
    assert!(life.set_watched());
    assert!(!life.set_watched());
    assert!(life.release());
}

#[test]
fn callbacks_of_one_that_nobody_holds_are_the_finishers() {
    let life = Life::new(2);
    assert!(!life.set_watched());
    assert!(!life.release());
    assert_eq!(life.finish_and_release(), Finish::Last { watched: true });
}

#[test]
#[should_panic(expected = "handles")]
fn leaking_a_quarter_of_a_billion_handles_panics_before_the_count_wraps() {
    Life::new(1 << 28).retain();
}

#[test]
fn many_threads_free_a_block_once() {
    for _ in 0..crate::times(2_000) {
        let life = Life::new(3);
        let freed = AtomicU32::new(0);
        thread::scope(|scope| {
            for holder in 0..3 {
                let (life, freed) = (&life, &freed);
                scope.spawn(move || {
                    let last = if holder == 0 {
                        life.finish_and_release() == Finish::Last { watched: false }
                    } else {
                        life.retain();
                        life.release() | life.release()
                    };
                    freed.fetch_add(u32::from(last), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(freed.into_inner(), 1);
    }
}
