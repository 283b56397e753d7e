//! The policy: what a worker runs next.
//!
//! One round of the loop is
//!
//! 1. a *tick*: wake-ups from the inbox, timers that are due, IO if it is time,
//! 2. up to a quantum of *ready* coroutines, first come first served,
//! 3. some *unstarted* ones, newest first: a fork-join tree is walked depth
//!    first, on few stacks. Now and then the oldest, so that none starves; a
//!    quarter of a quantum however many are ready,
//! 4. with nothing of that left, [`search`](super::search): the injector, other
//!    workers' deques, sleep.
//!
//! The clock is read once a tick. So that time is bounded however long each
//! coroutine runs, the quantum follows it: a tick that comes late halves the
//! next quantum, one that comes early doubles it.

use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::coroutine::control::{Control, Phase};
use crate::coroutine::fiber::Order;
use crate::coroutine::slab;
use crate::facade::{AtomicU64, Ordering, fence};
use crate::poller::{Key, Poller};
use crate::prefetch::prefetch;
use crate::scheduler::deque::Owner;
use crate::scheduler::list::List;
use crate::scheduler::remote::{DEQUE, Remote, bump};
use crate::scheduler::run_queue::{LANES, RunQueue};
use crate::scheduler::shared::Shared;
use crate::scheduler::start::Fibers;
use crate::scheduler::timers::{Target, Timers};
use crate::scheduler::wait;

/// Ready coroutines a round at the most, and unstarted ones too: about as many
/// as Go and tokio run before they look elsewhere, which is 61. Untuned.
const QUANTUM: u32 = 64;
/// A round longer than this halves the quantum, ns.
const LONG_ROUND: u64 = 50_000;
/// A busy worker looks at its poller this often, ns.
const POLL_EVERY: u64 = 20_000;
/// And this often at the other workers and the injector, ns.
const LOOK_EVERY: u64 = 20_000;
/// How often the oldest unstarted coroutine goes before the newest, ns.
const OLDEST_EVERY: u64 = 200_000;
/// How many more coroutines than another worker's one may own before it hands
/// over what it would start: this many, and an eighth of the other's.
const HEAD_START: u64 = 8;
/// A park that finds its wake-up there already returns at once, but every so
/// many of them let the others run. Untuned.
const EAGER: u32 = 32;
/// Unstarted coroutines that make it worth waking another worker at once. Fewer
/// are left to the scout. Untuned.
pub(crate) const BACKLOG: usize = 4;

/// How many turns ahead: of the control block, and then of what it leads to.
/// Each is far enough for a line from the last level of the caches and a walk
/// of the page table.
const FETCH_BLOCK: usize = LANES - 1;
const FETCH_STACK: usize = LANES / 2;

pub(crate) struct Worker {
    run_queue: UnsafeCell<RunQueue<Control>>,
    running: Cell<Option<NonNull<Control>>>,
    /// What resumed coroutines are told: to go on, or, at shutdown, to unwind.
    order: Cell<Order>,
    /// Whether it has taken notice that the runtime stops.
    stopping: Cell<bool>,
    /// In a shutdown: some could not be unwound yet.
    put_off: Cell<bool>,
    /// Parks that had no need to wait, since one last made way.
    eager: Cell<u32>,
    /// The version of the requests to cancel that it has seen.
    pub(crate) requests_seen: Cell<u64>,
    quantum: Cell<u32>,
    /// What is left of this round's starts.
    starts: Cell<u32>,
    /// Whether this round's turns left some ready.
    left_over: Cell<bool>,
    /// The time at the last tick, ns.
    now: Cell<u64>,
    polled_at: Cell<u64>,
    looked_at: Cell<u64>,
    oldest_at: Cell<u64>,
    /// Unstarted coroutines to give to the worker of that number.
    surplus: Cell<(u64, usize)>,
    /// Popped, but for a stack of another size than the one that was free.
    pending: Cell<Option<NonNull<Control>>>,
    remote: NonNull<Remote>,
    pub(crate) deque: Owner<Control, DEQUE>,
    pub(crate) fibers: Fibers,
    pub(crate) blocks: slab::Cache,
    pub(crate) timers: Timers,
    pub(crate) poller: Poller,
    pub(crate) search: super::search::State,
    ids: Cell<(u64, u64)>,
    rng: Cell<u64>,
    chaos: bool,
    // Last, so that it outlives `remote`.
    pub(crate) shared: Arc<Shared>,
}

static NEXT_COROUTINE: AtomicU64 = AtomicU64::new(1);
/// Coroutine ids that a worker takes at once.
const ID_BATCH: u64 = 4096;

/// An id for a coroutine that a plain thread spawns.
pub(crate) fn next_id() -> u64 {
    NEXT_COROUTINE.fetch_add(1, Ordering::Relaxed)
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        deque: Owner<Control, DEQUE>,
        poller: Poller,
    ) -> Worker {
        let now = shared.now();
        let remote = NonNull::from(&shared.remotes[index]);
        let seed = shared.config.chaos.unwrap_or(0x9e37_79b9_7f4a_7c15);
        Worker {
            run_queue: UnsafeCell::new(RunQueue::new()),
            running: Cell::new(None),
            order: Cell::new(Order::GO),
            stopping: Cell::new(false),
            put_off: Cell::new(false),
            eager: Cell::new(0),
            requests_seen: Cell::new(0),
            quantum: Cell::new(QUANTUM),
            starts: Cell::new(0),
            left_over: Cell::new(false),
            now: Cell::new(now),
            polled_at: Cell::new(now),
            looked_at: Cell::new(now),
            oldest_at: Cell::new(now),
            surplus: Cell::new((0, 0)),
            pending: Cell::new(None),
            remote,
            deque,
            fibers: Fibers::new(),
            blocks: slab::Cache::new(),
            timers: Timers::new(),
            poller,
            search: super::search::State::new(shared.remotes.len()),
            ids: Cell::new((0, 0)),
            rng: Cell::new(seed ^ (index as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95) | 1),
            chaos: shared.config.chaos.is_some(),
            shared,
        }
    }

    /// Works until the runtime stops and all that was left has been unwound.
    pub(crate) fn run(&self) {
        loop {
            self.tick();
            let mut quantum = self.quantum.get();
            while let Some(coroutine) = self.pop_ready() {
                self.resume(coroutine);
                quantum -= 1;
                if quantum == 0 {
                    break;
                }
            }
            // With turns left over, a share of starts that they cannot take
            // away. With none, a tree of forks and joins is likely: what a start
            // makes ready goes before the next.
            let quantum = self.quantum.get();
            let left_over = !self.ready().is_empty();
            self.left_over.set(left_over);
            self.starts.set(if left_over {
                (quantum / 4).max(1)
            } else {
                quantum
            });
            while let Some(coroutine) = self.next_to_start() {
                self.start(coroutine);
                if self.joiners_first() {
                    break;
                }
            }
            if self.ready().is_empty() && self.deque.is_empty() && self.pending.get().is_none() {
                if self.stopping.get() {
                    if self.take_injected() {
                        continue;
                    }
                    if self.is_wound_up() {
                        self.trim(usize::MAX);
                        return;
                    }
                }
                self.idle();
            }
        }
    }

    /// What a worker does between two rounds.
    fn tick(&self) {
        let mut delivered = self.remote().inbox().drain();
        self.ready_mut(|ready| ready.append(&mut delivered));

        let now = self.shared.now();
        let elapsed = now - self.now.replace(now);
        let quantum = self.quantum.get();
        if elapsed > LONG_ROUND {
            self.quantum.set((quantum / 2).max(1));
        } else if quantum < QUANTUM {
            self.quantum.set(quantum * 2);
        }
        self.fire_timers(now);
        if self.has_requests() {
            self.take_requests();
        }
        if self.is_stopping_news() {
            self.begin_to_stop();
        }
        if self.shared.stacks.exhausted() {
            // What is cached here may be just what another worker lacks.
            self.trim(QUANTUM as usize);
        }
        if self.fibers.has_refused() && !self.shared.stacks.exhausted() {
            self.fibers
                .take_refused(|coroutine| self.push_ready(coroutine));
        }
        // With nothing to run, the poll is left to `idle`, which submits and
        // waits in one system call.
        let ready = self.ready().len();
        self.remote()
            .counters
            .ready
            .store(ready as u64, Ordering::Relaxed);
        let busy = ready != 0 || !self.deque.is_empty();
        if busy && self.was_idle() {
            self.found();
        }
        if busy && now - self.looked_at.get() >= LOOK_EVERY {
            self.looked_at.set(now);
            if self.shared.remotes.len() > 1 {
                self.look_around();
            }
            self.refill();
        }
        if busy && now - self.polled_at.get() >= POLL_EVERY && self.poller.has_work() {
            self.poll(Some(Duration::ZERO));
            // What the kernel did in there, sending for a whole batch, is no
            // coroutine's time: the next quantum, and the next poll, go by what
            // comes after.
            self.set_clock(self.shared.now());
        }
    }

    pub(crate) fn fire_timers(&self, now: u64) {
        while let Some(target) = self.timers.pop_due(now) {
            match target {
                Target::Waiter(coroutine) => {
                    // SAFETY: it waits for the timer, so it is alive.
                    let control = unsafe { coroutine.as_ref() };
                    if control.claim.take() {
                        self.push_ready(coroutine);
                    } else if control.token.is_parked() {
                        wait::unpark(coroutine);
                    }
                }
                // SAFETY: a frame takes its timer back before it is left.
                Target::Frame(frame) => unsafe { frame.as_ref() }.expire(),
            }
        }
    }

    /// Lets the poller submit and reap, and wakes those that it names.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> usize {
        bump(&self.remote().counters.polls);
        let result = self
            .poller
            .poll(timeout, &mut |key: Key| wait::unpark(key.pointer().cast()));
        match result {
            Ok(woken) => woken,
            // Nothing a coroutine waits for can be lost by it: what was queued
            // stays queued. Not worth more than another try.
            Err(e) => {
                log::error!("worker {}: the poller failed: {e}", self.remote().index);
                std::thread::yield_now();
                0
            }
        }
    }

    /// Now and then while busy: is another worker much less laden, or asleep
    /// while unstarted coroutines pile up here?
    fn look_around(&self) {
        let me = self.remote().index;
        let mine = self.remote().counters.burden();
        let n = self.shared.remotes.len();
        self.surplus.set((0, 0));
        for _ in 0..2 {
            let other = self.random(n);
            let theirs = self.shared.remotes[other].counters.burden();
            if other != me && mine > theirs + theirs / 8 + HEAD_START {
                self.surplus.set(((mine - theirs) / 2, other));
            }
        }
        let idle = &self.shared.idle;
        if self.deque.len() >= BACKLOG && idle.somebody_sleeps() && !idle.somebody_searches() {
            // Ordering: the waker's half of the handshake in `idle`.
            fence(Ordering::SeqCst);
            self.shared.call_searcher(me + 1);
        }
    }

    /// A busy worker takes its share of what was spawned from outside.
    fn refill(&self) {
        if !self.shared.injector.is_empty()
            && let Some(coroutine) = self.shared.injector.pop()
        {
            self.push_unstarted(coroutine);
        }
    }

    #[inline]
    fn resume(&self, coroutine: NonNull<Control>) {
        // SAFETY: ready, so alive.
        let control = unsafe { coroutine.as_ref() };
        let fiber = control.fiber.get();
        if fiber.is_null() {
            // Handed over by another worker, or `spawn_local`.
            return self.start(coroutine);
        }
        // It is told here, from a line that is at hand, so that nothing needs to be
        // kept over the switch to find out.
        let order = if control.due.get() {
            Order::UNWIND
        } else {
            self.order.get()
        };
        self.set_running(Some(coroutine));
        // SAFETY: it is suspended in the middle of a coroutine that is at home
        // here.
        unsafe { (*fiber).resume(order) };
        self.set_running(None);
        if self.may_try_again() {
            self.try_again();
        }
    }

    /// Whether something has become ready in a round that had nothing left over.
    #[inline]
    fn joiners_first(&self) -> bool {
        !self.left_over.get() && !self.ready().is_empty()
    }

    /// The next unstarted coroutine, if this round may start another.
    fn next_to_start(&self) -> Option<NonNull<Control>> {
        if let Some(coroutine) = self.pending.take() {
            return Some(coroutine);
        }
        loop {
            let coroutine = self.pop_unstarted()?;
            let (surplus, to) = self.surplus.get();
            if surplus > 0 && !self.stopping.get() {
                self.surplus.set((surplus - 1, to));
                self.hand_over(coroutine, to);
            } else {
                return Some(coroutine);
            }
        }
    }

    #[inline]
    fn pop_unstarted(&self) -> Option<NonNull<Control>> {
        let left = self.starts.get();
        if left == 0 {
            return None;
        }
        self.starts.set(left - 1);
        let oldest_first = self.now.get() - self.oldest_at.get() >= OLDEST_EVERY;
        if oldest_first || self.chaos_strikes() {
            self.oldest_at.set(self.now.get());
            if let Some(coroutine) = self.deque.pop_oldest() {
                return Some(coroutine);
            }
        }
        self.deque.pop()
    }

    /// For a stack that has just become free: a coroutine to start on it
    /// without going through the loop.
    #[inline]
    pub(crate) fn next_for_this_stack(&self, size: u32) -> Option<NonNull<Control>> {
        if self.joiners_first() || self.stopping.get() || self.put_off.get() {
            return None;
        }
        let coroutine = self.next_to_start()?;
        // SAFETY: queued, so alive.
        if unsafe { coroutine.as_ref() }.stack_size.get() == size {
            return Some(coroutine);
        }
        self.pending.set(Some(coroutine));
        None
    }

    #[cold]
    pub(crate) fn hand_over(&self, coroutine: NonNull<Control>, to: usize) {
        bump(&self.remote().counters.handed_over);
        // SAFETY: the workers of a runtime are there while one of them runs.
        unsafe { Remote::deliver(&raw const self.shared.remotes[to], coroutine) };
    }

    /// Queues a coroutine that may run on any worker.
    #[inline]
    pub(crate) fn push_unstarted(&self, coroutine: NonNull<Control>) {
        self.push_unstarted_quietly(coroutine);
        if self.shared.idle.somebody_sleeps() {
            self.offer();
        }
    }

    #[inline]
    pub(crate) fn push_unstarted_quietly(&self, coroutine: NonNull<Control>) {
        if let Err(coroutine) = self.deque.push(coroutine) {
            self.overflow(coroutine);
        }
    }

    /// The deque is full: its older half goes where everybody looks.
    #[cold]
    fn overflow(&self, coroutine: NonNull<Control>) {
        let mut older = List::new();
        self.deque.take_half(|c| older.push_back(c));
        // A thief may hold the deque at this moment; then the new one goes too.
        if let Err(coroutine) = self.deque.push(coroutine) {
            older.push_back(coroutine);
        }
        self.shared.injector.append(older);
    }

    /// Others sleep: should one be woken for what was just spawned? Not for a
    /// lone coroutine, which this worker will start itself in a moment; that one
    /// is left to the scout, if there is one, or to whoever searches.
    #[cold]
    #[inline(never)]
    fn offer(&self) {
        let waiting = self.deque.len();
        // Of several, the first was seen to when it was alone.
        if waiting != 1 && waiting < BACKLOG {
            return;
        }
        // Ordering: the waker's half of the handshake in `idle`, and against
        // `Idle::resign_scout` and `Idle::stop_searching`.
        fence(Ordering::SeqCst);
        if waiting == 1 && self.shared.idle.has_scout() {
            return;
        }
        self.shared.call_searcher(self.remote().index + 1);
    }

    /// Turns to winding up what is left, once the runtime stops: what has not
    /// started is dropped in [`Worker::run_here`], the rest is unwound.
    #[cold]
    fn begin_to_stop(&self) {
        self.stopping.set(true);
        // Without unwinding there is no way to end a coroutine but to let it
        // end by itself.
        if cfg!(panic = "unwind") {
            self.order.set(Order::UNWIND);
            self.unwind_leftovers();
        }
        if let Some(coroutine) = self.pending.take() {
            self.push_ready(coroutine);
        }
        self.shared.one_more_stops();
    }

    /// Wakes all that have started here, to be unwound. Between two coroutines,
    /// so all of them are suspended.
    fn unwind_leftovers(&self) {
        let calm = !std::thread::panicking();
        // If it is not, the first calm moment must not be missed, though nobody
        // may have been put off by then: the first to be unwound may wait, in a
        // destructor, for the rest.
        self.put_off.set(!calm);
        let home: *const Remote = self.remote();
        slab::for_each(|control| {
            // Exact, though others' blocks change meanwhile: of a block that is
            // seen started its home is seen, and what is at home here stays.
            if control.phase() == Phase::Started
                && std::ptr::eq(control.home.load(Ordering::Relaxed).cast::<Remote>(), home)
            {
                if calm {
                    control.calm.set(true);
                }
                wait::interrupt(NonNull::from(control));
            }
        });
    }

    #[cold]
    fn try_again(&self) {
        if self.stopping.get() {
            self.unwind_leftovers();
        } else {
            self.put_off.set(false);
            self.retry_due();
        }
    }

    /// A coroutine could not be unwound because of a panic on this thread.
    pub(crate) fn put_off_unwinding(&self) {
        self.put_off.set(true);
    }

    /// Whether there is another try to be made at those. Looked at after every
    /// turn: the next may begin with a panic that waits for one of them to go.
    #[inline]
    fn may_try_again(&self) -> bool {
        self.put_off.get() && !std::thread::panicking()
    }

    /// Counts a park that has no need to wait. True once in a while: then it is
    /// to let the others run, or one that is always unparked would keep the
    /// worker to itself.
    pub(crate) fn is_too_eager(&self) -> bool {
        let eager = self.eager.get() + 1;
        self.eager.set(eager % EAGER);
        eager == EAGER
    }

    /// One waits after all, so the others run.
    #[inline]
    pub(crate) fn not_eager(&self) {
        self.eager.set(0);
    }

    /// Whether the runtime stops and this worker has yet to take notice.
    pub(crate) fn is_stopping_news(&self) -> bool {
        self.shared.is_stopping() && !self.stopping.get()
    }

    /// Whether nothing of this worker's is left, nor can come to it.
    pub(crate) fn is_wound_up(&self) -> bool {
        self.stopping.get()
            && self.shared.all_are_stopping()
            && self.ready().is_empty()
            && self.remote().counters.live() == 0
            && self.remote().inbox().is_empty()
            && self.deque.is_empty()
    }

    #[inline]
    pub(crate) fn push_ready(&self, coroutine: NonNull<Control>) {
        self.ready_mut(|ready| ready.push_back(coroutine));
    }

    #[inline]
    fn pop_ready(&self) -> Option<NonNull<Control>> {
        self.ready_mut(|ready| {
            let next = ready.pop_front()?;
            if ready.len() >= LANES {
                fetch_ahead(ready);
            }
            Some(next)
        })
    }

    #[inline]
    pub(crate) fn ready(&self) -> &RunQueue<Control> {
        // SAFETY: one thread; callers only ask for its length and let go.
        unsafe { &*self.run_queue.get() }
    }

    #[inline]
    fn ready_mut<R>(&self, f: impl FnOnce(&mut RunQueue<Control>) -> R) -> R {
        // SAFETY: one thread, and none of the closures above calls out.
        f(unsafe { &mut *self.run_queue.get() })
    }

    #[inline]
    pub(crate) fn remote(&self) -> &Remote {
        // SAFETY: it lies in `shared`, which this worker holds.
        unsafe { self.remote.as_ref() }
    }

    #[inline]
    pub(crate) fn running(&self) -> Option<NonNull<Control>> {
        self.running.get()
    }

    #[inline]
    pub(crate) fn set_running(&self, coroutine: Option<NonNull<Control>>) {
        self.running.set(coroutine);
        let shown = coroutine.map_or(std::ptr::null_mut(), NonNull::as_ptr);
        self.remote()
            .counters
            .running
            .store(shown, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    #[inline]
    pub(crate) fn order(&self) -> Order {
        self.order.get()
    }

    /// The time at the last tick, ns.
    #[inline]
    pub(crate) fn clock(&self) -> u64 {
        self.now.get()
    }

    /// Gives back up to `most` idle stacks of each kind.
    pub(crate) fn trim(&self, most: usize) {
        self.fibers.trim(&self.shared.stacks, most);
        self.show_stacks();
    }

    /// After a poll, which is no round.
    pub(crate) fn set_clock(&self, now: u64) {
        self.now.set(now);
        self.polled_at.set(now);
    }

    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        let (next, end) = self.ids.get();
        if next < end {
            self.ids.set((next + 1, end));
            return next;
        }
        let next = NEXT_COROUTINE.fetch_add(ID_BATCH, Ordering::Relaxed);
        self.ids.set((next + 1, next + ID_BATCH));
        next
    }

    /// A number below `n`: xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
    pub(crate) fn random(&self, n: usize) -> usize {
        let mut x = self.rng.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.rng.set(x);
        ((x >> 32) as usize * n) >> 32
    }

    /// Under a chaos seed: one time in eight.
    #[inline]
    pub(crate) fn chaos_strikes(&self) -> bool {
        self.chaos && self.random(8) == 0
    }
}

/// Has the caches fetch what coming turns need: a block, and some turns later
/// what that leads to.
#[inline]
fn fetch_ahead(ready: &RunQueue<Control>) {
    prefetch(ready.ahead(FETCH_BLOCK).as_ptr());
    // SAFETY: ready, so alive. One that has not started has nothing to fetch; what
    // its block says of that is a hint that may be stale.
    unsafe { ready.ahead(FETCH_STACK).as_ref() }.prefetch_stack();
}

impl Drop for Worker {
    fn drop(&mut self) {
        // No coroutine is left that somebody could be delivering, but one may
        // still be on its way out of `deliver`.
        while self.remote().is_being_delivered_to() {
            std::hint::spin_loop();
        }
    }
}
