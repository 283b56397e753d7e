//! Requests to end a coroutine: it never runs, or its home hears of it, even if
//! that was about to sleep.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::subject::Requests;
use crate::explore::{Leftover, QUEUES, WAITS, explore};
use crate::facade::{AtomicU32, AtomicUsize, Ordering, fence};
use crate::scheduler::idle::Idle;

const NOBODY: usize = usize::MAX;

/// A letter says which coroutine.
struct Shared {
    cancels: Leftover<Requests<usize>>,
    idle: Idle,
    poller: Notify,
    coroutines: [Coroutine; 2],
}

struct Coroutine {
    home: AtomicUsize,
    requests: AtomicU32,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            cancels: Leftover::new(Requests::new()),
            idle: Idle::new(1),
            poller: Notify::new(),
            coroutines: [(); 2].map(|()| Coroutine {
                home: AtomicUsize::new(NOBODY),
                requests: AtomicU32::new(0),
            }),
        })
    }

    /// `cancel::request`, from a thread that is no worker.
    fn request(&self, id: usize) {
        self.coroutines[id].requests.fetch_add(1, Ordering::Relaxed);
        self.cancels.push(id);
        fence(Ordering::SeqCst);
        let home = self.coroutines[id].home.load(Ordering::Relaxed);
        if home != NOBODY && self.idle.wake(home) {
            self.poller.notify();
        }
    }

    /// `Worker::start_new`: whether it runs.
    fn start(&self, id: usize, worker: usize) -> bool {
        self.coroutines[id].home.store(worker, Ordering::Relaxed);
        self.coroutines[id].requests.load(Ordering::Relaxed) == 0
    }
}

/// A worker, as far as it looks for requests.
struct Worker {
    me: usize,
    seen: u64,
    shared: Arc<Shared>,
}

impl Worker {
    fn new(me: usize, shared: &Arc<Shared>) -> Self {
        Self {
            me,
            seen: 0,
            shared: shared.clone(),
        }
    }

    fn has_requests(&self) -> bool {
        self.shared.cancels.version() != self.seen
    }

    /// What it is asked to end.
    fn take_requests(&mut self) -> Vec<usize> {
        self.seen = self.shared.cancels.version();
        let home = |id: usize| self.shared.coroutines[id].home.load(Ordering::Relaxed);
        self.shared
            .cancels
            .take(|&id| home(id) == self.me, |_| false)
    }

    /// Between two rounds.
    fn look(&mut self) -> Vec<usize> {
        if self.has_requests() {
            self.take_requests()
        } else {
            Vec::new()
        }
    }

    /// Sleeps until it has heard of a request; a deadlock if none comes.
    fn hear(&mut self) -> Vec<usize> {
        loop {
            let heard = self.look();
            if !heard.is_empty() {
                return heard;
            }
            self.shared.idle.announce(self.me);
            if !self.has_requests() {
                self.shared.poller.wait();
            }
            self.shared.idle.rise(self.me);
        }
    }
}

/// The coroutine runs and waits, its home has nothing else to do.
pub(crate) fn a_home_that_goes_to_sleep_hears_of_a_request() {
    explore(QUEUES, |turn| {
        let shared = Shared::new();
        let canceller = thread::spawn({
            let shared = shared.clone();
            move || shared.request(0)
        });
        turn.await_it();
        let mut worker = Worker::new(0, &shared);
        if shared.start(0, 0) {
            assert_eq!(worker.hear(), [0]);
        }
        canceller.join().unwrap();
    });
}

/// A worker that looks before the coroutine starts leaves the letter for later.
pub(crate) fn a_look_before_the_start_loses_nothing() {
    explore(QUEUES, |turn| {
        let shared = Shared::new();
        let canceller = thread::spawn({
            let shared = shared.clone();
            move || shared.request(0)
        });
        turn.await_it();
        let mut worker = Worker::new(0, &shared);
        assert_eq!(worker.look(), []);
        if shared.start(0, 0) {
            assert_eq!(worker.hear(), [0]);
        }
        canceller.join().unwrap();
    });
}

/// One worker looks while another starts the coroutine.
pub(crate) fn what_is_not_a_workers_own_is_left_to_the_other() {
    explore(QUEUES, |turn| {
        let shared = Shared::new();
        let canceller = thread::spawn({
            let shared = shared.clone();
            move || shared.request(0)
        });
        let other = thread::spawn({
            let shared = shared.clone();
            move || assert_eq!(Worker::new(1, &shared).look(), [])
        });
        turn.await_it();
        let mut worker = Worker::new(0, &shared);
        if shared.start(0, 0) {
            assert_eq!(worker.hear(), [0]);
        }
        canceller.join().unwrap();
        other.join().unwrap();
    });
}

/// Two are asked at once.
pub(crate) fn each_of_two_requests_is_heard_once() {
    explore(WAITS, |turn| {
        let shared = Shared::new();
        let cancellers = [0, 1].map(|id| {
            let shared = shared.clone();
            thread::spawn(move || shared.request(id))
        });
        turn.await_it();
        let mut worker = Worker::new(0, &shared);
        let mut expected = [0, 1].map(|id| shared.start(id, 0));
        while expected.contains(&true) {
            for id in worker.hear() {
                // One that was seen at the start may come as a letter, too.
                expected[id] = false;
            }
        }
        for canceller in cancellers {
            canceller.join().unwrap();
        }
    });
}
