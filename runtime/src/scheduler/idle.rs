//! Who sleeps, who searches, and how nobody sleeps through work.
//!
//! The protocol is told in `scheduler/README.md`; the two halves that must not
//! miss each other are here:
//!
//! ```text
//!   a worker with nothing to do          whoever makes work
//!   announce(i)                          publish (push to inbox, deque, injector)
//!   fence(SeqCst)                        fence(SeqCst)
//!   re-check every source                wake(i) / wake_any()
//!   sleep in the poller
//! ```
//!
//! The two fences are totally ordered. If the sleeper's comes first, the maker
//! sees it announced and wakes it; if the maker's comes first, the sleeper's
//! re-check sees the work.
//!
//! Whoever holds a place among the searchers spares makers the waking, and owes
//! them a look for it: giving the place up ends in a fence, and behind that the
//! holder looks again. A worker looks for work, a caller that found nobody to
//! wake looks for sleepers.

use crate::facade::{AtomicBool, AtomicU32, AtomicUsize, CachePadded, Ordering, fence};

const AWAKE: u32 = 0;
const SLEEPING: u32 = 1;
/// Woken in order to look for work; holds a place among the searchers.
const CALLED: u32 = 2;

pub(crate) struct Idle {
    states: Box<[CachePadded<AtomicU32>]>,
    /// Read at every spawn, so apart from what changes often.
    sleeping: CachePadded<AtomicUsize>,
    searching: CachePadded<AtomicUsize>,
    scout: CachePadded<AtomicBool>,
}

/// Why a worker is awake again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// Its poller came back by itself: IO, a timer, a signal.
    BySelf,
    /// Somebody left a wake-up in its inbox.
    ForInbox,
    /// To look for work; it counts as searching until it says that it stopped.
    ToSearch,
}

impl Idle {
    pub(crate) fn new(workers: usize) -> Idle {
        Idle {
            states: (0..workers)
                .map(|_| CachePadded::new(AtomicU32::new(AWAKE)))
                .collect(),
            sleeping: CachePadded::new(AtomicUsize::new(0)),
            searching: CachePadded::new(AtomicUsize::new(0)),
            scout: CachePadded::new(AtomicBool::new(false)),
        }
    }

    /// Says that worker `me` is about to sleep. The worker must then re-check
    /// everything that could have woken it before, and call [`Idle::rise`]
    /// whether it slept or not.
    pub(crate) fn announce(&self, me: usize) {
        // Counted before it can be woken, so that the count never goes below 0
        // and is never 0 while somebody sleeps.
        self.sleeping.fetch_add(1, Ordering::Relaxed);
        // Ordering: Release, so that a waker counts down after that.
        self.states[me].store(SLEEPING, Ordering::Release);
        // Ordering: the sleeper's half of the handshake in the module's head.
        fence(Ordering::SeqCst);
    }

    /// The worker is up again.
    pub(crate) fn rise(&self, me: usize) -> Woken {
        // Ordering: Acquire, to see what the waker published before it woke us.
        match self.states[me].swap(AWAKE, Ordering::Acquire) {
            SLEEPING => {
                self.sleeping.fetch_sub(1, Ordering::Relaxed);
                Woken::BySelf
            }
            CALLED => Woken::ToSearch,
            _ => Woken::ForInbox,
        }
    }

    /// After a publication and a fence: whether `worker` sleeps and it is the
    /// caller who must wake its poller.
    pub(crate) fn wake(&self, worker: usize) -> bool {
        self.wake_into(worker, AWAKE)
    }

    fn wake_into(&self, worker: usize, state: u32) -> bool {
        let place = &self.states[worker];
        if place.load(Ordering::Relaxed) != SLEEPING {
            return false;
        }
        // Ordering: Release hands on what the caller published, Acquire is for
        // the count.
        let won = place
            .compare_exchange(SLEEPING, state, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if won {
            self.sleeping.fetch_sub(1, Ordering::Relaxed);
        }
        won
    }

    /// After a publication and a fence: picks a sleeper to look for work,
    /// unless somebody already looks. The caller must wake its poller.
    pub(crate) fn call_searcher(&self, from: usize) -> Option<usize> {
        if !self.somebody_sleeps() || self.somebody_searches() {
            return None;
        }
        let n = self.states.len();
        loop {
            // The one place among the searchers is taken before anyone is
            // woken: a burst of spawns wakes one worker, which wakes the next
            // if it finds more than it takes.
            if self
                .searching
                .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                return None;
            }
            let mut all = (0..n).map(|i| (from + i) % n);
            if let Some(worker) = all.find(|&worker| self.wake_into(worker, CALLED)) {
                return Some(worker);
            }
            // All were up. But who made work while the place was taken has left
            // it to us, and somebody who had looked before may sleep by now.
            self.stop_searching();
            if !self.is_any_asleep() {
                return None;
            }
        }
    }

    /// What its own word says of each, not the count, which is a little ahead of
    /// who goes to sleep and behind who is woken.
    fn is_any_asleep(&self) -> bool {
        self.states
            .iter()
            .any(|state| state.load(Ordering::Relaxed) == SLEEPING)
    }

    /// Whether the worker may search; at most half of them do at once.
    pub(crate) fn start_searching(&self) -> bool {
        let searching = self.searching.load(Ordering::Relaxed);
        if 2 * searching >= self.states.len() {
            return false;
        }
        self.searching.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The worker has found something or gives up. It must then look once more
    /// for work that it leaves behind, and for sleepers to call to that: makers
    /// of work who saw a searcher woke nobody. Before it sleeps, the re-check
    /// behind [`Idle::announce`] is that look.
    pub(crate) fn stop_searching(&self) {
        self.searching.fetch_sub(1, Ordering::Relaxed);
        // Ordering: against the fence between a maker's publication and its
        // look at `searching`. If the maker still saw us search, its fence comes
        // first, and what follows here sees the work, and who slept by then.
        fence(Ordering::SeqCst);
    }

    /// Whether anybody may be asleep. Without a fence before it is a hint: it may
    /// miss a worker that is just going to sleep, but then that one sees that
    /// others are up, and is the scout if there is none.
    #[inline]
    pub(crate) fn somebody_sleeps(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0
    }

    /// Whether anybody searches. After a publication and a fence: whoever does
    /// will see what was published.
    pub(crate) fn somebody_searches(&self) -> bool {
        self.searching.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn sleeping(&self) -> usize {
        self.sleeping.load(Ordering::Relaxed)
    }

    pub(crate) fn has_scout(&self) -> bool {
        self.scout.load(Ordering::Relaxed)
    }

    /// Makes the caller the scout, unless there is one.
    pub(crate) fn become_scout(&self) -> bool {
        !self.scout.load(Ordering::Relaxed) && !self.scout.swap(true, Ordering::Relaxed)
    }

    /// The scout resigns. What it was to watch it must look at once more after
    /// this: a spawner that still saw a scout woke nobody.
    pub(crate) fn resign_scout(&self) {
        self.scout.store(false, Ordering::Relaxed);
        // Ordering: against the fence between a lone spawn's push and its look
        // for a scout.
        fence(Ordering::SeqCst);
    }
}
