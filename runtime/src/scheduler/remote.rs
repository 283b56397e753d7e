//! What other threads see of a worker.

use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::coroutine::control::Control;
use crate::facade::{AtomicPtr, AtomicU64, AtomicUsize, CachePadded, Ordering, fence};
use crate::poller::Waker;
use crate::scheduler::deque::Stealer;
use crate::scheduler::inbox::Inbox;
use crate::scheduler::shared::Shared;

/// Slots of a worker's deque. Untuned; tokio and Go use the same number.
pub(crate) const DEQUE: usize = 256;

/// Written by the worker alone, so a load and a store each, no RMW.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) parks: AtomicU64,
    pub(crate) polls: AtomicU64,
    /// How often it took unstarted coroutines from another worker, and how many.
    pub(crate) steals: AtomicU64,
    pub(crate) stolen: AtomicU64,
    /// Unstarted coroutines that it gave to a less laden worker.
    pub(crate) handed_over: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    /// Coroutines that wait for another one's end.
    pub(crate) joining: AtomicU64,
    /// Idle stacks of the default size in its cache.
    pub(crate) stacks: AtomicU64,
    /// Length of the run queue at the last tick.
    pub(crate) ready: AtomicU64,
    /// The coroutine that runs now; null between two.
    pub(crate) running: AtomicPtr<Control>,
}

#[inline]
pub(crate) fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl Counters {
    /// Coroutines that have started here and not finished.
    #[inline]
    pub(crate) fn live(&self) -> u64 {
        let finished = self.finished.load(Ordering::Relaxed);
        self.started
            .load(Ordering::Relaxed)
            .saturating_sub(finished)
    }

    /// What the worker is laden with, for placement: the live ones but for
    /// those that only wait for others to end. A fork-join tree leaves as many
    /// of these on a worker as it is deep, which says nothing about the work to
    /// come.
    pub(crate) fn burden(&self) -> u64 {
        self.live()
            .saturating_sub(self.joining.load(Ordering::Relaxed))
    }
}

pub(crate) struct Remote {
    pub(crate) index: usize,
    pub(crate) stealer: Stealer<Control, DEQUE>,
    pub(crate) waker: OnceLock<Waker>,
    shared: *const Shared,
    incoming: CachePadded<Incoming>,
    pub(crate) counters: CachePadded<Counters>,
}

struct Incoming {
    inbox: Inbox<Control>,
    /// Threads that are inside [`Remote::deliver`].
    deliverers: AtomicUsize,
}

// SAFETY: `shared` owns this `Remote`, so it is there as long as anyone may use
// it; everything else is `Sync` by itself.
unsafe impl Send for Remote {}
// SAFETY: as above.
unsafe impl Sync for Remote {}

impl Remote {
    /// `shared` is where this `Remote` will be kept.
    pub(crate) fn new(
        index: usize,
        stealer: Stealer<Control, DEQUE>,
        shared: *const Shared,
    ) -> Remote {
        Remote {
            index,
            stealer,
            waker: OnceLock::new(),
            shared,
            incoming: CachePadded::new(Incoming {
                inbox: Inbox::new(),
                deliverers: AtomicUsize::new(0),
            }),
            counters: CachePadded::new(Counters::default()),
        }
    }

    /// Sends a coroutine home from another thread: one that was parked and has
    /// been unparked, or an unstarted one that this worker is to start.
    ///
    /// # Safety
    ///
    /// `this` is alive when the call begins. For a parked coroutine that is so
    /// because its home outlives it and it cannot go on before it has been
    /// delivered; `deliverers` keeps the home from going away after that.
    pub(crate) unsafe fn deliver(this: *const Remote, coroutine: NonNull<Control>) {
        // SAFETY: the caller's promise, then `deliverers`.
        let this = unsafe { &*this };
        let incoming = &this.incoming;
        incoming.deliverers.fetch_add(1, Ordering::Relaxed);
        if incoming.inbox.push(coroutine) {
            // Ordering: the waker's half of the handshake told in `idle`.
            fence(Ordering::SeqCst);
            // SAFETY: see the `Send` impl.
            if unsafe { &*this.shared }.idle.wake(this.index) {
                this.wake();
            }
        }
        // Ordering: Release, so that the home goes away after our last access.
        incoming.deliverers.fetch_sub(1, Ordering::Release);
    }

    /// Makes the worker's poller come back.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    #[inline]
    pub(crate) fn inbox(&self) -> &Inbox<Control> {
        &self.incoming.inbox
    }

    /// Whether a thread is still inside [`Remote::deliver`].
    pub(crate) fn is_being_delivered_to(&self) -> bool {
        // Ordering: Acquire pairs with the Release above.
        self.incoming.deliverers.load(Ordering::Acquire) != 0
    }
}
