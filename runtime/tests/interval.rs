//! Waiting for moments: intervals, and what starts later.

mod common;

use std::time::{Duration, Instant};

use common::{Counter, FOR_EVER, Watchdog, everywhere};
use filature::{
    Elapsed, catch_cancel, current, interval, sleep, sleep_until, spawn_after, timeout, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

/// In a coroutine on runtimes of every kind, and on a plain thread.
fn on_both_sides(test: impl Fn() + Sync) {
    everywhere(|setup| setup.runtime().run(&test));
    let _watchdog = Watchdog::new("a plain thread".into());
    std::thread::scope(|scope| {
        scope.spawn(&test);
    });
}

#[test]
fn a_sleep_ends_not_before_its_moment() {
    on_both_sides(|| {
        let moment = Instant::now() + MILLI;
        sleep_until(moment);
        assert!(Instant::now() >= moment);
        sleep_until(moment);
    });
}

#[test]
fn ticks_are_whole_periods_after_the_beginning() {
    on_both_sides(|| {
        let before = Instant::now();
        let mut interval = interval(MILLI);
        let after = Instant::now();
        assert_eq!(interval.period(), MILLI);
        let first = interval.tick();
        assert!(first >= before + MILLI && first <= after + MILLI);
        let mut last = first;
        for _ in 0..5 {
            let tick = interval.tick();
            assert!(tick <= Instant::now());
            let periods = (tick - last).as_nanos();
            assert!(periods > 0 && periods.is_multiple_of(MILLI.as_nanos()));
            last = tick;
        }
    });
}

#[test]
fn of_the_ticks_that_were_missed_only_the_first_is_made_up_for() {
    on_both_sides(|| {
        let mut interval = interval(MILLI);
        interval.tick();
        let taken = Instant::now();
        sleep_until(taken + 10 * MILLI);
        assert!(interval.tick() <= taken + MILLI);
        assert!(interval.tick() > taken + 10 * MILLI);
        sleep(MILLI);
        interval.reset();
        let reset = Instant::now();
        assert!(interval.tick() <= reset + MILLI);
    });
}

#[test]
fn a_tick_that_is_cut_short_comes_again() {
    on_both_sides(|| {
        let mut interval = interval(2 * MILLI);
        assert_eq!(timeout(Duration::ZERO, || interval.tick()), Err(Elapsed));
        let first = interval.tick();
        assert!(interval.tick() > first);
    });
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            let mut interval = interval(MILLI);
            current().cancel().unwrap();
            assert!(catch_cancel(|| interval.tick()).is_err());
            interval.tick();
        });
        handle.join().unwrap();
    });
}

#[test]
fn a_period_that_cannot_be_told_never_ends() {
    on_both_sides(|| {
        let mut interval = interval(Duration::MAX);
        assert_eq!(timeout(MILLI, || interval.tick()), Err(Elapsed));
    });
}

#[test]
#[should_panic = "an interval's period is zero"]
fn a_period_of_no_time_is_refused() {
    interval(Duration::ZERO);
}

#[test]
fn what_is_to_start_later_does() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let before = Instant::now();
            let handle = spawn_after(MILLI, Instant::now);
            assert!(handle.join().unwrap() >= before + MILLI);
            assert_eq!(spawn_after(Duration::ZERO, || 3).join().unwrap(), 3);
        });
    });
    assert_eq!(spawn_after(MILLI, || 4).join().unwrap(), 4);
}

#[test]
fn what_is_cancelled_before_it_starts_never_does() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let drops = Counter::new();
        runtime.run(|| {
            for long in [FOR_EVER, Duration::MAX] {
                for waits in [false, true] {
                    let dropped = drops.on_drop();
                    let handle = spawn_after(long, move || {
                        let _dropped = dropped;
                        unreachable!("it was cancelled before")
                    });
                    if waits {
                        (0..10).for_each(|_| yield_now());
                    }
                    handle.cancel().unwrap();
                    let joined: Result<(), _> = handle.join();
                    assert!(joined.unwrap_err().is_cancelled());
                }
            }
        });
        assert_eq!(drops.get(), 4);
    });
}

#[test]
fn what_has_not_started_at_shutdown_is_dropped() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let drops = Counter::new();
        let dropped = drops.on_drop();
        runtime.run(|| drop(spawn_after(FOR_EVER, move || drop(dropped))));
        drop(runtime);
        assert_eq!(drops.get(), 1);
    });
}
