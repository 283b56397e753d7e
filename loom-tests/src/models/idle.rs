//! Going to sleep and waking: no work is slept through, nobody is counted twice.
//!
//! `Idle` is half of the protocol. The other half are the calls around it, in
//! the runtime's `search.rs`, `worker.rs`, `shared.rs` and `remote.rs`; here
//! they are under the same names, call for call, without what a model cannot
//! have: spinning, timers, stealing. The inbox, the injector and the deque are
//! the real ones. Where a model has but one worker, that one stands for several:
//! it searches, which a runtime's only one never does.
//!
//! A coroutine keeps the worker that gets it busy to the end of the model. So
//! whatever the worker leaves behind another one has to find: that one sleeping
//! on is a deadlock, which loom reports.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread::{self, JoinHandle};

use super::subject::{Idle, Woken};
use crate::explore::{Leftover, WAITS, explore};
use crate::node::{Node, nodes, take};
use crate::scheduler::deque::{Owner, Stealer, deque};
use crate::scheduler::inbox::Inbox;
use crate::scheduler::injector::Injector;

const SIZE: usize = 4;
/// As the runtime's: unstarted coroutines that keep a worker up.
const BACKLOG: usize = 4;

/// What the workers of a model share.
struct Shared {
    idle: Idle,
    injector: Injector<Node>,
    remotes: Vec<Remote>,
    stopping: AtomicBool,
    /// Workers that have taken notice.
    stopped: loom::sync::atomic::AtomicUsize,
    /// Workers that were called and have not stopped searching. Not loom's, so
    /// that it adds no interleavings.
    called: AtomicUsize,
    /// Alive to the end.
    nodes: Arc<[Node; 3]>,
}

struct Remote {
    inbox: Inbox<Node>,
    stealer: Leftover<Stealer<Node, SIZE>>,
    /// It comes back by itself once, as a poller may at any time.
    poller: Notify,
}

impl Shared {
    fn new(workers: usize) -> (Arc<Self>, Vec<Leftover<Owner<Node, SIZE>>>) {
        let (owners, remotes) = (0..workers)
            .map(|_| {
                let (owner, stealer) = deque();
                let remote = Remote {
                    inbox: Inbox::new(),
                    stealer: Leftover::new(stealer),
                    poller: Notify::new(),
                };
                (Leftover::new(owner), remote)
            })
            .unzip();
        let shared = Arc::new(Self {
            idle: Idle::new(workers),
            injector: Injector::new(),
            remotes,
            stopping: AtomicBool::new(false),
            stopped: loom::sync::atomic::AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            nodes: nodes(),
        });
        (shared, owners)
    }

    fn inject(&self, id: usize) {
        self.injector.push(self.nodes[id].send());
        fence(Ordering::SeqCst);
        if self.is_stopping() {
            self.abandon_injected();
        } else {
            self.call_searcher(0);
        }
    }

    fn call_searcher(&self, from: usize) {
        if let Some(index) = self.idle.call_searcher(from) {
            self.remotes[index].poller.notify();
        }
    }

    fn deliver(&self, to: usize, id: usize) {
        if self.remotes[to].inbox.push(self.nodes[id].send()) {
            fence(Ordering::SeqCst);
            if self.idle.wake(to) {
                self.remotes[to].poller.notify();
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.wake_all();
    }

    fn wake_all(&self) {
        for (index, remote) in self.remotes.iter().enumerate() {
            self.idle.wake(index);
            remote.poller.notify();
        }
    }

    fn one_more_stops(&self) {
        if self.stopped.fetch_add(1, Ordering::AcqRel) + 1 == self.remotes.len() {
            fence(Ordering::SeqCst);
            self.wake_all();
        }
    }

    fn all_are_stopping(&self) -> bool {
        self.stopped.load(Ordering::Acquire) == self.remotes.len()
    }

    fn abandon_injected(&self) {
        while let Some(node) = self.injector.pop() {
            take(node);
        }
    }

    /// `Worker::push_unstarted`, of a worker that goes on computing. That it may
    /// take nobody for asleep who is just going to is left to the scout.
    fn spawn(&self, me: usize, owner: &Owner<Node, SIZE>, id: usize) {
        owner.push(self.nodes[id].send()).unwrap();
        if self.idle.somebody_sleeps() {
            self.offer(me, owner);
        }
    }

    fn offer(&self, me: usize, owner: &Owner<Node, SIZE>) {
        let waiting = owner.len();
        if waiting != 1 && waiting < BACKLOG {
            return;
        }
        fence(Ordering::SeqCst);
        if waiting == 1 && self.idle.has_scout() {
            return;
        }
        self.call_searcher(me + 1);
    }

    /// Once all have risen and nobody searches, the books are even.
    fn assert_all_is_quiet(&self) {
        assert_eq!(self.idle.sleeping(), 0, "nobody sleeps");
        assert!(!self.idle.somebody_searches(), "nobody searches");
    }
}

/// Another thread of the model.
fn beside<T: 'static>(
    shared: &Arc<Shared>,
    f: impl FnOnce(&Arc<Shared>) -> T + 'static,
) -> JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || f(&shared))
}

struct Worker {
    me: usize,
    shared: Arc<Shared>,
    searching: Cell<bool>,
    was_called: Cell<bool>,
    was_idle: Cell<bool>,
    /// Whether it has taken notice that the runtime stops.
    stopping: Cell<bool>,
    /// How many coroutines it got.
    got: Cell<usize>,
    /// How many are in its own deque beside the one that it starts.
    mine: Cell<usize>,
}

impl Worker {
    fn new(me: usize, shared: &Arc<Shared>) -> Self {
        Self {
            me,
            shared: shared.clone(),
            searching: Cell::new(false),
            was_called: Cell::new(false),
            was_idle: Cell::new(false),
            stopping: Cell::new(false),
            got: Cell::new(0),
            mine: Cell::new(0),
        }
    }

    /// Works until it has got so many.
    fn run(&self, count: usize) {
        loop {
            self.tick();
            if self.got.get() >= count {
                return;
            }
            self.idle();
        }
    }

    /// `Worker::run`, up to the end. What it gets ends at once.
    fn run_to_the_end(&self) {
        loop {
            self.tick();
            if self.stopping.get() {
                if self.take_injected() {
                    continue;
                }
                if self.is_wound_up() {
                    break;
                }
            }
            self.idle();
        }
        // So that the books are even; there is nobody any more who reads them.
        self.stop_searching();
    }

    fn is_stopping_news(&self) -> bool {
        self.shared.is_stopping() && !self.stopping.get()
    }

    fn is_wound_up(&self) -> bool {
        self.stopping.get()
            && self.shared.all_are_stopping()
            && self.shared.remotes[self.me].inbox.is_empty()
    }

    fn get(&self, node: NonNull<Node>) {
        take(node);
        self.got.set(self.got.get() + 1);
    }

    fn tick(&self) {
        let mut delivered = self.shared.remotes[self.me].inbox.drain();
        while let Some(node) = delivered.pop_front() {
            self.get(node);
        }
        if self.is_stopping_news() {
            self.stopping.set(true);
            self.shared.one_more_stops();
        }
        if self.got.get() > 0 && self.was_idle.get() {
            self.found();
        }
    }

    fn idle(&self) {
        self.was_idle.set(true);
        if self.take_injected() || self.search_others() {
            return;
        }
        self.stop_searching();
        self.sleep();
    }

    fn found(&self) {
        self.was_idle.set(false);
        self.stop_searching();
        let idle = &self.shared.idle;
        if !idle.somebody_sleeps() {
            return;
        }
        fence(Ordering::SeqCst);
        if idle.somebody_searches() {
            return;
        }
        let least = if idle.has_scout() { BACKLOG } else { 1 };
        if self.mine.get() >= least || self.is_work_elsewhere(least) {
            self.shared.call_searcher(self.me + 1);
        }
    }

    fn stop_searching(&self) {
        if self.was_called.replace(false) {
            self.shared.called.fetch_sub(1, Ordering::Relaxed);
        }
        if self.searching.replace(false) {
            self.shared.idle.stop_searching();
        }
    }

    fn is_work_elsewhere(&self, least: usize) -> bool {
        !self.shared.injector.is_empty() || self.is_work_with_others(least)
    }

    fn is_work_with_others(&self, least: usize) -> bool {
        let mut remotes = self.shared.remotes.iter().enumerate();
        remotes.any(|(index, r)| index != self.me && r.stealer.len() >= least)
    }

    fn take_injected(&self) -> bool {
        if self.shared.injector.is_empty() {
            return false;
        }
        let workers = self.shared.remotes.len();
        let share = self.shared.injector.len().div_ceil(workers).max(1);
        let mut batch = self.shared.injector.pop_batch(share);
        let any = !batch.is_empty();
        while let Some(node) = batch.pop_front() {
            self.get(node);
        }
        any
    }

    /// Only the place among the searchers: nothing is stolen in these models.
    fn search_others(&self) -> bool {
        if !self.searching.get() && self.shared.idle.start_searching() {
            self.searching.set(true);
        }
        false
    }

    fn sleep(&self) {
        let Some(scout) = self.lie_down() else { return };
        self.shared.remotes[self.me].poller.wait();
        self.rise();
        if scout {
            self.shared.idle.resign_scout();
        }
    }

    /// `Worker::sleep` up to the poller: whether it sleeps as the scout; nothing
    /// if it does not sleep at all.
    fn lie_down(&self) -> Option<bool> {
        let idle = &self.shared.idle;
        idle.announce(self.me);
        if self.must_stay_up() {
            self.rise();
            return None;
        }
        let scout = self.may_scout() && idle.become_scout();
        if !scout && self.nobody_watches() {
            self.rise();
            return None;
        }
        Some(scout)
    }

    fn may_scout(&self) -> bool {
        let workers = self.shared.remotes.len();
        workers > 1 && self.shared.idle.sleeping() < workers
    }

    fn nobody_watches(&self) -> bool {
        !self.shared.idle.has_scout() && self.is_work_with_others(1)
    }

    fn must_stay_up(&self) -> bool {
        !self.shared.remotes[self.me].inbox.is_empty()
            || self.is_work_elsewhere(BACKLOG)
            || self.is_stopping_news()
            || self.is_wound_up()
    }

    fn rise(&self) {
        if self.shared.idle.rise(self.me) == Woken::ToSearch {
            let others = self.shared.called.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, 0, "one is called at a time");
            self.was_called.set(true);
            self.searching.set(true);
        }
    }
}

pub(crate) fn a_worker_does_not_sleep_on_what_was_delivered() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let senders = [0, 1].map(|id| beside(&shared, move |shared| shared.deliver(0, id)));
        turn.await_it();
        let worker = Worker::new(0, &shared);
        worker.run(2);
        for sender in senders {
            sender.join().unwrap();
        }
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn a_worker_that_gives_up_searching_does_not_sleep_on_what_is_injected() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let outside = beside(&shared, |shared| shared.inject(0));
        turn.await_it();
        let worker = Worker::new(0, &shared);
        worker.run(1);
        outside.join().unwrap();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn a_sleeper_that_is_called_and_delivered_to_at_once_rises_once() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let outside = beside(&shared, |shared| shared.inject(0));
        let sender = beside(&shared, |shared| shared.deliver(0, 1));
        turn.await_it();
        let worker = Worker::new(0, &shared);
        worker.sleep();
        worker.run(2);
        outside.join().unwrap();
        sender.join().unwrap();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn the_count_of_sleepers_does_not_go_below_0() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let waker = beside(&shared, |shared| {
            shared.idle.wake(0);
            shared.idle.sleeping()
        });
        turn.await_it();
        shared.idle.announce(0);
        shared.idle.rise(0);
        assert!(waker.join().unwrap() <= 1);
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn one_is_called_at_a_time() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(2);
        let workers = [0, 1].map(|me| Worker::new(me, &shared));
        for worker in &workers {
            shared.idle.announce(worker.me);
        }
        let callers =
            [0, 1].map(|from| beside(&shared, move |shared| shared.idle.call_searcher(from)));
        turn.await_it();
        let third = shared.idle.call_searcher(0);
        let called = callers.map(|caller| caller.join().unwrap());
        assert_eq!(called.iter().chain([&third]).flatten().count(), 1);
        assert_eq!(shared.idle.sleeping(), 1);
        for worker in &workers {
            worker.rise();
            worker.stop_searching();
        }
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn a_sleeper_that_a_caller_overlooks_is_not_left_to_it() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let outside = beside(&shared, |shared| shared.inject(0));
        // What it calls for has been taken since by somebody busy.
        let caller = beside(&shared, |shared| shared.call_searcher(0));
        turn.await_it();
        let worker = Worker::new(0, &shared);
        worker.sleep();
        worker.run(1);
        outside.join().unwrap();
        caller.join().unwrap();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn what_is_left_to_a_searcher_that_finds_something_else_is_seen() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(2);
        shared.idle.announce(0);
        assert_eq!(shared.idle.call_searcher(0), Some(0));
        let outside = beside(&shared, |shared| shared.inject(0));
        let sleeper = beside(&shared, |shared| {
            let worker = Worker::new(1, shared);
            worker.sleep();
            worker.run(1);
        });
        turn.await_it();
        let worker = Worker::new(0, &shared);
        worker.rise();
        // And is busy from now on.
        worker.found();
        outside.join().unwrap();
        sleeper.join().unwrap();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn two_workers_get_one_each_of_two_that_are_injected() {
    // With more preemptions it takes minutes.
    explore(1, |turn| {
        let (shared, _) = Shared::new(2);
        let outside = beside(&shared, |shared| {
            shared.inject(0);
            shared.inject(1);
        });
        let other = beside(&shared, |shared| Worker::new(1, shared).run(1));
        turn.await_it();
        Worker::new(0, &shared).run(1);
        outside.join().unwrap();
        other.join().unwrap();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn a_lone_spawn_is_not_left_to_a_scout_that_has_something_to_do() {
    explore(WAITS, |turn| {
        let (shared, mut owners) = Shared::new(3);
        shared.idle.announce(0);
        assert!(shared.idle.become_scout());
        let owner = owners.swap_remove(1);
        // It has seen that somebody sleeps.
        let spawner = beside(&shared, move |shared| {
            owner.push(shared.nodes[0].send()).unwrap();
            shared.offer(1, &owner);
        });
        let sleeper = beside(&shared, |shared| {
            let worker = Worker::new(2, shared);
            (worker.lie_down(), worker)
        });
        turn.await_it();
        let scout = Worker::new(0, &shared);
        scout.rise();
        shared.idle.resign_scout();
        scout.found();
        spawner.join().unwrap();
        let (sleeps, sleeper) = sleeper.join().unwrap();
        sleeper.rise();
        let looks = sleeps != Some(false) || sleeper.was_called.get();
        assert!(looks, "nobody looks");
        sleeper.stop_searching();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn a_lone_spawn_is_seen_by_one_that_takes_all_for_asleep() {
    explore(WAITS, |turn| {
        let (shared, mut owners) = Shared::new(2);
        shared.idle.announce(0);
        // The spawner is up before it is counted out.
        let waker = beside(&shared, |shared| shared.deliver(0, 1));
        let owner = owners.swap_remove(0);
        let spawner = beside(&shared, move |shared| {
            let worker = Worker::new(0, shared);
            shared.remotes[0].poller.wait();
            worker.rise();
            shared.spawn(0, &owner, 0);
            worker.stop_searching();
        });
        turn.await_it();
        let worker = Worker::new(1, &shared);
        let sleeps = worker.lie_down();
        spawner.join().unwrap();
        waker.join().unwrap();
        worker.rise();
        let looks = sleeps != Some(false) || worker.was_called.get();
        assert!(looks, "nobody looks");
        worker.stop_searching();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn what_one_takes_beyond_its_need_is_not_left_to_a_searcher_that_misses_it() {
    explore(WAITS, |turn| {
        let (shared, mut owners) = Shared::new(3);
        shared.idle.announce(2);
        let searcher = Worker::new(1, &shared);
        searcher.search_others();
        let owner = owners.swap_remove(0);
        let taker = beside(&shared, move |shared| {
            let worker = Worker::new(0, shared);
            // It starts another one and computes.
            owner.push(shared.nodes[0].send()).unwrap();
            worker.mine.set(1);
            worker.found();
        });
        turn.await_it();
        // Finds something that came from elsewhere, and is busy.
        searcher.found();
        taker.join().unwrap();
        let sleeper = Worker::new(2, &shared);
        sleeper.rise();
        assert!(sleeper.was_called.get(), "nobody looks");
        sleeper.stop_searching();
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn there_is_one_scout() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(2);
        let other = beside(&shared, |shared| shared.idle.become_scout());
        turn.await_it();
        let scout = shared.idle.become_scout();
        assert_ne!(scout, other.join().unwrap());
        assert!(shared.idle.has_scout());
        shared.idle.resign_scout();
        assert!(!shared.idle.has_scout());
    });
}

pub(crate) fn nothing_stays_in_the_injector_of_a_runtime_that_has_stopped() {
    explore(WAITS, |turn| {
        let (shared, _) = Shared::new(1);
        let outside = beside(&shared, |shared| shared.inject(0));
        let stopper = beside(&shared, |shared| shared.stop());
        turn.await_it();
        Worker::new(0, &shared).run_to_the_end();
        outside.join().unwrap();
        stopper.join().unwrap();
        assert!(shared.injector.is_empty());
        shared.assert_all_is_quiet();
    });
}

pub(crate) fn the_last_to_take_notice_wakes_those_that_wait_for_it() {
    // With more preemptions it takes minutes.
    explore(1, |turn| {
        let (shared, _) = Shared::new(2);
        let stopper = beside(&shared, |shared| shared.stop());
        let other = beside(&shared, |shared| Worker::new(1, shared).run_to_the_end());
        turn.await_it();
        Worker::new(0, &shared).run_to_the_end();
        stopper.join().unwrap();
        other.join().unwrap();
        shared.assert_all_is_quiet();
    });
}
