//! What a worker does that has nothing to run: look elsewhere, spin a little if
//! that has paid lately, sleep in its poller.
//!
//! The protocol, and why no work is slept through, is told in `README.md`.

use std::cell::Cell;
use std::time::Duration;

use crate::facade::{Ordering, fence};
use crate::scheduler::deque::Steal;
use crate::scheduler::idle::Woken;
use crate::scheduler::remote::bump;
use crate::scheduler::worker::{BACKLOG, Worker};

/// A worker whose last sleeps were shorter than this, and ended by another
/// worker, spins for as long before it sleeps, ns. Some three times what waking
/// a sleeping core costs.
const SPIN: u64 = 50_000;
/// How long an unstarted coroutine that is alone in its deque is left to its
/// own worker while a searcher watches, ns.
const LONE: u64 = 5_000;
/// How often a scout looks, ns: at first, and at the least.
const SCOUT_SOON: u64 = 20_000;
const SCOUT_LATE: u64 = 1_000_000;
/// Surplus stacks go back after an idle time of this length, ns.
const TRIM_AFTER: u64 = 1_000_000_000;
/// How often those that could not start are tried again, while they wait to be
/// ended for it, ns.
const RETRY: u64 = 10_000_000;
/// Stacks given back before looking for work again.
const TRIM_AT_ONCE: usize = 256;
/// The most that is taken from the injector at once.
const INJECTED: usize = 64;

pub(crate) struct State {
    /// Whether this worker counts as searching.
    searching: Cell<bool>,
    /// How long to spin before the next sleep, ns.
    spin: Cell<u64>,
    /// A scout's next interval, ns.
    interval: Cell<u64>,
    /// Of each worker's deque when last seen with a lone coroutine, and when.
    lone: Box<[Cell<(u64, u64)>]>,
    /// Since when there has been nothing to run, ns.
    since: Cell<Option<u64>>,
}

impl State {
    pub(crate) fn new(workers: usize) -> State {
        State {
            searching: Cell::new(false),
            spin: Cell::new(0),
            interval: Cell::new(SCOUT_SOON),
            lone: (0..workers).map(|_| Cell::new((0, 0))).collect(),
            since: Cell::new(None),
        }
    }
}

impl Worker {
    /// Finds something to run, or sleeps until there may be something.
    pub(crate) fn idle(&self) {
        let since = self.search.since.get().unwrap_or(self.clock());
        self.search.since.set(Some(since));
        if self.take_injected() || self.search_others() || self.spin() {
            return;
        }
        self.stop_searching();
        if self.shared.stacks.exhausted() {
            // No tick comes before the sleep, which may be long.
            self.trim(usize::MAX);
        }
        self.sleep(since);
    }

    /// Whether the worker has been idle until now.
    #[inline]
    pub(crate) fn was_idle(&self) -> bool {
        self.search.since.get().is_some()
    }

    /// There is something to run again. Whoever stops searching sees to it that
    /// what it leaves behind is found, and what it has taken beyond its need.
    pub(crate) fn found(&self) {
        self.search.since.set(None);
        self.stop_searching();
        let idle = &self.shared.idle;
        if self.alone() || !idle.somebody_sleeps() {
            return;
        }
        // Ordering: behind it, what was made while this worker counted as
        // searching, and so woke nobody, is seen; and whoever searches now sees,
        // when it stops, what this worker has taken.
        fence(Ordering::SeqCst);
        if idle.somebody_searches() {
            return;
        }
        let least = if idle.has_scout() { BACKLOG } else { 1 };
        // One of its own it starts at once, unless others are ready.
        let starts = usize::from(self.ready().is_empty());
        let mine = self.deque.len().saturating_sub(starts);
        if mine >= least || self.is_work_elsewhere(least) {
            self.shared.call_searcher(self.remote().index + 1);
        }
    }

    fn alone(&self) -> bool {
        self.shared.remotes.len() == 1
    }

    fn stop_searching(&self) {
        if self.search.searching.replace(false) {
            self.shared.idle.stop_searching();
        }
    }

    /// Whether the injector or a deque holds at least `least` coroutines.
    fn is_work_elsewhere(&self, least: usize) -> bool {
        !self.shared.injector.is_empty() || self.is_work_with_others(least)
    }

    /// Whether another worker's deque holds at least `least` coroutines.
    fn is_work_with_others(&self, least: usize) -> bool {
        let me = self.remote().index;
        let mut remotes = self.shared.remotes.iter();
        remotes.any(|r| r.index != me && r.stealer.len() >= least)
    }

    /// Takes this worker's share of what was spawned from outside.
    pub(crate) fn take_injected(&self) -> bool {
        if self.shared.injector.is_empty() {
            return false;
        }
        let workers = self.shared.remotes.len();
        let share = self
            .shared
            .injector
            .len()
            .div_ceil(workers)
            .clamp(1, INJECTED);
        let mut batch = self.shared.injector.pop_batch(share);
        let any = !batch.is_empty();
        while let Some(coroutine) = batch.pop_front() {
            self.push_unstarted_quietly(coroutine);
        }
        any
    }

    /// One look into every other deque, from a random one on.
    fn search_others(&self) -> bool {
        if self.alone() {
            return false;
        }
        if !self.search.searching.get() {
            if !self.shared.idle.start_searching() {
                return false;
            }
            self.search.searching.set(true);
        }
        self.look_into_deques()
    }

    fn look_into_deques(&self) -> bool {
        let n = self.shared.remotes.len();
        let from = self.random(n);
        for i in 0..n {
            let victim = (from + i) % n;
            if victim != self.remote().index && self.steal_from(victim) {
                return true;
            }
        }
        false
    }

    /// Takes the older half of another worker's unstarted coroutines. One that
    /// is alone there is only taken once it has been left waiting: its worker is
    /// likely to start it at once, and what it was spawned to talk to is there.
    fn steal_from(&self, victim: usize) -> bool {
        let stealer = &self.shared.remotes[victim].stealer;
        match stealer.len() {
            0 => return false,
            1 => {
                let stamp = stealer.stamp();
                let now = self.shared.now();
                let (seen, at) = self.search.lone[victim].get();
                if seen != stamp || at == 0 {
                    self.search.lone[victim].set((stamp, now));
                    return false;
                }
                if now - at < LONE {
                    return false;
                }
            }
            _ => {}
        }
        let counters = &self.remote().counters;
        match stealer.steal_into(&self.deque) {
            Steal::Stolen { first, more } => {
                bump(&counters.steals);
                let before = counters.stolen.load(Ordering::Relaxed);
                counters
                    .stolen
                    .store(before + 1 + more as u64, Ordering::Relaxed);
                self.search.interval.set(SCOUT_SOON);
                self.push_unstarted_quietly(first);
                true
            }
            Steal::Empty | Steal::Busy => false,
        }
    }

    /// Waits for another worker without sleeping, if the last waits were short.
    fn spin(&self) -> bool {
        let length = self.search.spin.get();
        if length == 0 {
            return false;
        }
        let end = self.shared.now() + length;
        let mut polled = 0;
        loop {
            for _ in 0..64 {
                if !self.remote().inbox().is_empty() {
                    self.search.spin.set(SPIN);
                    return true;
                }
                std::hint::spin_loop();
            }
            if self.take_injected() || (self.search.searching.get() && self.look_into_deques()) {
                return true;
            }
            let now = self.shared.now();
            if now >= end {
                break;
            }
            if now >= polled + LONE && self.poller.has_work() {
                polled = now;
                if self.poll(Some(Duration::ZERO)) > 0 {
                    break;
                }
            }
            if self.timers.next().is_some_and(|at| at <= now) || self.shared.is_stopping() {
                break;
            }
        }
        // It did not pay this time.
        self.search
            .spin
            .set(if length > 2_000 { length / 2 } else { 0 });
        !self.ready().is_empty()
    }

    /// Sleeps in the poller. `since`: when this idle time began.
    fn sleep(&self, since: u64) {
        let me = self.remote().index;
        let idle = &self.shared.idle;
        idle.announce(me);
        if self.must_stay_up() {
            self.rise(me);
            return;
        }
        let slept = self.shared.now();
        let scout = self.may_scout() && idle.become_scout();
        if !scout && self.nobody_watches() {
            self.rise(me);
            return;
        }
        let mut wake_at = self.timers.next().unwrap_or(u64::MAX);
        if scout {
            wake_at = wake_at.min(slept + self.search.interval.get());
        }
        let surplus = self.fibers.has_surplus();
        if surplus {
            wake_at = wake_at.min(since + TRIM_AFTER);
        }
        if self.fibers.has_refused() {
            // Who gives a stack back does not tell.
            wake_at = wake_at.min(slept + RETRY);
        }
        let timeout =
            (wake_at != u64::MAX).then(|| Duration::from_nanos(wake_at.saturating_sub(slept)));
        self.remote().counters.ready.store(0, Ordering::Relaxed);
        bump(&self.remote().counters.sleeps);
        let woken = self.poll(timeout);
        let cause = self.rise(me);
        let now = self.shared.now();
        self.set_clock(now);
        if scout {
            idle.resign_scout();
            let interval = self.search.interval.get();
            self.search.interval.set((2 * interval).min(SCOUT_LATE));
        }
        let by_worker = woken == 0 && cause != Woken::BySelf;
        let spin = self.search.spin.get();
        self.search.spin.set(
            match by_worker && self.shared.may_spin && now - slept < SPIN {
                true => SPIN,
                false => spin / 2,
            },
        );
        if surplus && cause == Woken::BySelf && woken == 0 && now >= since + TRIM_AFTER {
            self.trim(TRIM_AT_ONCE);
        }
    }

    /// After the announcement: whatever could have been published before it.
    fn must_stay_up(&self) -> bool {
        !self.remote().inbox().is_empty()
            || self.is_work_elsewhere(BACKLOG)
            || self.is_stopping_news()
            || self.has_requests()
            || self.is_wound_up()
    }

    /// Whether somebody else is up, so that a spawn may be left waiting there.
    /// May say no for a moment too long: who is woken is up before it is counted
    /// out.
    fn may_scout(&self) -> bool {
        !self.alone() && self.shared.idle.sleeping() < self.shared.remotes.len()
    }

    /// Whether there is no scout, as if all slept, but a coroutine waits in a
    /// deque, so that one does not.
    fn nobody_watches(&self) -> bool {
        !self.shared.idle.has_scout() && self.is_work_with_others(1)
    }

    fn rise(&self, me: usize) -> Woken {
        let cause = self.shared.idle.rise(me);
        if cause == Woken::ToSearch {
            self.search.searching.set(true);
        }
        cause
    }
}
