//! The control block: everything a coroutine is except its stack.
//!
//! ```text
//!  spawn            start (a worker       finish              last reference
//!    |               takes it)              |                        |
//!    v                   v                  v                        v
//!  Queued --------> Started --------->  Finished  ------------->  Free
//!    | storage:          | storage:         | storage:               block goes
//!    |  the closure      |  empty           |  the outcome           back to
//!    +--- abandoned (too late) ------------>+                        the slab
//! ```
//!
//! Who may touch what:
//!
//! - Between allocation and the first push to a queue: the spawner alone.
//! - `storage` holds the closure until the coroutine starts, then nothing, then
//!   the outcome. Whoever starts or abandons the coroutine owns it until
//!   `life` says DONE; then the one who is to consume the outcome does (the
//!   joiner, or the finisher if the handle was dropped before).
//! - The `Cell`s below `home` belong to the worker that started the coroutine.
//! - `joiner` is written by the holder of the join handle before
//!   `life.set_joining()` and read by the finisher after `Finish::Joiner`.
//! - `link` belongs to whichever queue the coroutine is in, and it is in one at
//!   the most: [`Token::unpark`] answers true to one caller only.
//! - The atomics at the end are read by a dump at any time.
//!
//! Blocks are type-stable: the memory is never given back, so that a dump may
//! look at a block that has just been freed and merely see other numbers.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::coroutine::claim::Claim;
use crate::coroutine::exits::{Exits, JoinState};
use crate::coroutine::fiber::{Fiber, Yielder};
use crate::coroutine::life::Life;
use crate::coroutine::outcome::JoinError;
use crate::coroutine::slab;
use crate::coroutine::token::Token;
use crate::facade::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering, UnsafeCell,
};
use crate::prefetch::prefetch;
use crate::scheduler::list::Linked;
use crate::sync::finished::Ticket;

/// Closures and outcomes up to this size live in the block itself.
const INLINE: usize = 96;

/// Where a coroutine is in its life, for a dump.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Free = 0,
    Queued = 1,
    Started = 2,
    Finished = 3,
}

/// The unit in which a block remembers times, as a power of two of nanoseconds:
/// about a millisecond, and right for 26 days.
const TICK: u32 = 20;

// What a turn touches comes first and is one cache line.
#[repr(C, align(64))]
pub(crate) struct Control {
    link: AtomicPtr<Control>,
    pub(crate) token: Token,
    pub(crate) life: Life,
    /// The worker's public part, once started. Opaque here; the scheduler
    /// casts it.
    pub(crate) home: AtomicPtr<()>,
    pub(crate) yielder: Cell<*const Yielder>,
    pub(crate) fiber: Cell<*const Fiber>,
    /// Up while the payload that unwinds the coroutine travels.
    pub(crate) unwinding: AtomicBool,
    pub(crate) wait: AtomicU8,
    phase: AtomicU8,
    /// Whether `name` is set; spares the common case the lock.
    named: AtomicU8,
    pub(crate) stack_size: Cell<u32>,
    /// Whether it may only start where it was spawned: what it captures need not
    /// be `Send`.
    pub(crate) local: Cell<bool>,
    /// In a shutdown: while it was suspended there was a moment without a panic
    /// on its thread. So one that is under way when it is resumed is not its own.
    pub(crate) calm: Cell<bool>,
    /// Of a wait that others may end without the token.
    pub(crate) claim: Claim,
    /// Whether its next suspension is to unwind it: a request is pending, or a
    /// deadline has passed that it is in, and no shield holds that back.
    pub(crate) due: Cell<bool>,
    /// The worker's coarse clock when it last parked, in [`TICK`]s.
    since: AtomicU32,
    /// About where its stack pointer was when it last suspended.
    pub(crate) suspended_at: Cell<*const u8>,

    storage: UnsafeCell<Storage>,

    vtable: Cell<Option<&'static VTable>>,
    pub(crate) joiner: UnsafeCell<Option<Waiter>>,
    /// Boxed, as a block has no room to spare and few have a name.
    name: Mutex<Option<Box<Arc<str>>>>,
    /// 0 while free.
    id: AtomicU64,
    site: AtomicPtr<Location<'static>>,
    /// The runtime's number.
    pub(crate) runtime: AtomicU64,
    pub(crate) exits: Exits,
    /// How often it was asked to end, and how often less what was taken back;
    /// see [`Asked`](crate::scheduler::cancel::Asked).
    pub(crate) asked: AtomicU32,
    /// The number of the last request that an unwinding has dealt with.
    pub(crate) delivered: Cell<u16>,
    /// Shields that hold delivery back.
    pub(crate) shields: Cell<u8>,
    /// Whether a request was made and not delivered.
    pub(crate) pending: Cell<bool>,
    /// Whether it ended by being cancelled; written before `life` says DONE.
    cancelled: AtomicBool,
}

const _: () = assert!(std::mem::offset_of!(Control, storage) == 64);

#[repr(C, align(16))]
struct Storage(MaybeUninit<[u8; INLINE]>);

// SAFETY: shared between threads by the rules in the module's head; everything
// that two threads may touch at once is atomic or behind `name`'s lock.
unsafe impl Sync for Control {}
// SAFETY: as above. A closure that is not `Send` never leaves the thread that
// made it: `spawn_local` puts it into its own worker's run queue.
unsafe impl Send for Control {}

// SAFETY: a coroutine is in one queue at the most: the spawner gives it to the
// first; after that only whoever heard `true` from `Token::unpark`, or the
// coroutine itself when it yields, puts it into another. Blocks are never
// unmapped and `Control` is `Sync`.
unsafe impl Linked for Control {
    fn link(&self) -> &AtomicPtr<Control> {
        &self.link
    }
}

struct VTable {
    run: unsafe fn(&Control),
    abandon: unsafe fn(&Control, JoinError),
    discard: unsafe fn(&Control) -> Option<JoinError>,
}

/// What a spawner knows of the coroutine that it makes.
pub(crate) struct Birth {
    pub(crate) id: u64,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Arc<str>>,
    /// Bytes; 0 for the runtime's default.
    pub(crate) stack_size: u32,
    pub(crate) runtime: u64,
}

/// Who waits for a coroutine's end.
pub(crate) enum Waiter {
    /// Not counted as a reference: blocks stay mapped, and unparking one that
    /// has become another coroutine's is a spurious wake-up there.
    Coroutine(NonNull<Control>),
    Thread(crossbeam_utils::sync::Unparker),
    /// Somebody who waits for several.
    OfSeveral(Box<Ticket>),
}

impl Control {
    /// Writes a free block.
    ///
    /// # Safety
    ///
    /// `at` is allocated, aligned, and nobody else's.
    pub(crate) unsafe fn vacant(at: NonNull<Control>) {
        let free = Control {
            link: AtomicPtr::new(std::ptr::null_mut()),
            token: Token::new(),
            life: Life::new(0),
            home: AtomicPtr::new(std::ptr::null_mut()),
            yielder: Cell::new(std::ptr::null()),
            fiber: Cell::new(std::ptr::null()),
            unwinding: AtomicBool::new(false),
            wait: AtomicU8::new(0),
            phase: AtomicU8::new(Phase::Free as u8),
            named: AtomicU8::new(0),
            stack_size: Cell::new(0),
            local: Cell::new(false),
            claim: Claim::new(),
            due: Cell::new(false),
            since: AtomicU32::new(0),
            suspended_at: Cell::new(std::ptr::null()),
            calm: Cell::new(false),
            storage: UnsafeCell::new(Storage(MaybeUninit::uninit())),
            vtable: Cell::new(None),
            joiner: UnsafeCell::new(None),
            name: Mutex::new(None),
            id: AtomicU64::new(0),
            site: AtomicPtr::new(std::ptr::null_mut()),
            runtime: AtomicU64::new(0),
            exits: Exits::new(),
            asked: AtomicU32::new(0),
            delivered: Cell::new(0),
            shields: Cell::new(0),
            pending: Cell::new(false),
            cancelled: AtomicBool::new(false),
        };
        // SAFETY: the caller's promise.
        unsafe { at.write(free) };
    }

    /// Makes a free block into a queued coroutine with two references: the
    /// runtime's and the handle's.
    ///
    /// # Safety
    ///
    /// The block comes fresh from the slab and nobody else has it. The caller
    /// upholds that `F` and `T` outlive the coroutine, and that the block only
    /// goes to a queue of the current thread if `F` or `T` are not `Send`.
    #[inline]
    pub(crate) unsafe fn init<F, T>(&self, birth: Birth, f: F)
    where
        F: FnOnce() -> T,
    {
        self.token.reset();
        self.life.reset(2);
        self.home.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.yielder.set(std::ptr::null());
        self.fiber.set(std::ptr::null());
        self.unwinding.store(false, Ordering::Relaxed);
        self.stack_size.set(birth.stack_size);
        self.local.set(false);
        self.calm.set(false);
        self.due.set(false);
        self.pending.set(false);
        self.shields.set(0);
        self.asked.store(0, Ordering::Relaxed);
        self.delivered.set(0);
        self.cancelled.store(false, Ordering::Relaxed);
        self.vtable.set(Some(&Tie::<F, T>::VTABLE));
        self.site
            .store((&raw const *birth.site).cast_mut(), Ordering::Relaxed);
        self.runtime.store(birth.runtime, Ordering::Relaxed);
        if let Some(name) = birth.name {
            *self.name.lock().unwrap_or_else(|e| e.into_inner()) = Some(Box::new(name));
            self.named.store(1, Ordering::Relaxed);
        }
        self.phase.store(Phase::Queued as u8, Ordering::Relaxed);
        // Ordering: Release, so that a dump that sees the id sees the site too.
        self.id.store(birth.id, Ordering::Release);
        // SAFETY: the spawner owns the storage, which is empty.
        unsafe { Slot::<F>::put(self.storage(), f) };
    }

    /// Runs the closure to its end and stores the outcome. Never unwinds.
    ///
    /// # Safety
    ///
    /// Once at most, by the worker that started the coroutine, on its stack.
    #[inline]
    pub(crate) unsafe fn run(&self) {
        // SAFETY: handed on to the caller.
        unsafe { (self.vtable().run)(self) }
    }

    /// Drops the closure unrun and stores `why` as the outcome.
    ///
    /// # Safety
    ///
    /// Instead of [`Control::run`], by whoever took the coroutine from its queue.
    pub(crate) unsafe fn abandon(&self, why: JoinError) {
        // SAFETY: handed on to the caller.
        unsafe { (self.vtable().abandon)(self, why) }
    }

    /// Drops the outcome; gives back a failure that nobody has seen.
    ///
    /// # Safety
    ///
    /// By whoever is to consume the outcome, once, after the end.
    pub(crate) unsafe fn discard_outcome(&self) -> Option<JoinError> {
        // SAFETY: handed on to the caller.
        unsafe { (self.vtable().discard)(self) }
    }

    /// Moves the outcome out.
    ///
    /// # Safety
    ///
    /// As [`Control::discard_outcome`]; `T` is the type the coroutine was made with.
    #[inline]
    pub(crate) unsafe fn take_outcome<T>(&self) -> Result<T, JoinError> {
        // SAFETY: the caller's promise: an outcome of this type is stored.
        unsafe { Slot::<Result<T, JoinError>>::take(self.storage()) }
    }

    /// Remembers when it parked: `now` on its worker's clock, ns.
    #[inline]
    pub(crate) fn parks_at(&self, now: u64) {
        self.since.store((now >> TICK) as u32, Ordering::Relaxed);
    }

    /// How long ago it last parked, to about a millisecond.
    pub(crate) fn parked_for(&self, now: u64) -> Duration {
        let ticks = ((now >> TICK) as u32).wrapping_sub(self.since.load(Ordering::Relaxed));
        // It may have parked again after `now`.
        let ticks = ticks.cast_signed().max(0).cast_unsigned();
        Duration::from_nanos(u64::from(ticks) << TICK)
    }

    /// Has the caches fetch what the switch to a suspended coroutine needs.
    #[inline]
    pub(crate) fn prefetch_stack(&self) {
        let top = self.suspended_at.get();
        prefetch(self.fiber.get());
        prefetch(top);
        prefetch(top.wrapping_add(64));
    }

    /// Clears what a free block must not show or keep.
    pub(crate) fn retire(&self) {
        self.id.store(0, Ordering::Relaxed);
        self.phase.store(Phase::Free as u8, Ordering::Relaxed);
        if self.named.load(Ordering::Relaxed) != 0 {
            self.named.store(0, Ordering::Relaxed);
            *self.name.lock().unwrap_or_else(|e| e.into_inner()) = None;
        }
        self.exits.clear();
    }

    #[inline]
    pub(crate) fn set_phase(&self, phase: Phase) {
        // Ordering: Release, so that whoever sees it started sees its home, and
        // not that of the coroutine which had the block before.
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) fn phase(&self) -> Phase {
        // Ordering: Acquire pairs with the above.
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Queued,
            2 => Phase::Started,
            3 => Phase::Finished,
            _ => Phase::Free,
        }
    }

    /// How far it has come.
    pub(crate) fn state(&self) -> JoinState {
        if self.life.is_done() {
            self.ended_as()
        } else if self.phase() == Phase::Queued {
            JoinState::Pending
        } else {
            JoinState::Running
        }
    }

    /// Of one whose outcome is stored, and visible to the caller.
    pub(crate) fn ended_as(&self) -> JoinState {
        // Ordering: Relaxed, it comes with the outcome.
        if self.cancelled.load(Ordering::Relaxed) {
            JoinState::Cancelled
        } else {
            JoinState::Done
        }
    }

    /// Notes how it failed.
    #[cold]
    fn failed(&self, why: JoinError) -> JoinError {
        self.cancelled.store(why.is_cancelled(), Ordering::Relaxed);
        why
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        // Ordering: Acquire pairs with the Release in `init`.
        self.id.load(Ordering::Acquire)
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        if self.named.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let name = self.name.lock().unwrap_or_else(|e| e.into_inner());
        name.as_deref().cloned()
    }

    /// The name without waiting, for a signal handler: none if a dump happens
    /// to be reading it.
    pub(crate) fn try_name(&self) -> Option<Arc<str>> {
        if self.named.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.name.try_lock().ok()?.as_deref().cloned()
    }

    pub(crate) fn site(&self) -> Option<&'static Location<'static>> {
        let site = self.site.load(Ordering::Relaxed);
        // SAFETY: only ever null or a `&'static Location`, stored by `init`.
        unsafe { site.as_ref() }
    }

    #[inline]
    fn vtable(&self) -> &'static VTable {
        debug_assert!(self.vtable.get().is_some());
        // SAFETY: `init` set it, and only initialised blocks reach a caller.
        unsafe { self.vtable.get().unwrap_unchecked() }
    }

    #[inline]
    fn storage(&self) -> *mut u8 {
        self.storage.with_mut(|s| s.cast())
    }
}

/// A reference that keeps a block from being freed.
pub(crate) struct Ref(NonNull<Control>);

// SAFETY: a block may be reached and released from any thread; see `Control`.
unsafe impl Send for Ref {}
// SAFETY: as above.
unsafe impl Sync for Ref {}

impl Ref {
    /// # Safety
    ///
    /// Takes over one reference that the caller holds.
    #[inline]
    pub(crate) unsafe fn from_raw(control: NonNull<Control>) -> Ref {
        Ref(control)
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> NonNull<Control> {
        self.0
    }
}

impl std::ops::Deref for Ref {
    type Target = Control;

    #[inline]
    fn deref(&self) -> &Control {
        // SAFETY: the reference count keeps the block alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Ref {
    fn clone(&self) -> Ref {
        self.life.retain();
        Ref(self.0)
    }
}

impl Drop for Ref {
    #[inline]
    fn drop(&mut self) {
        if self.life.release() {
            // SAFETY: that was the last reference.
            unsafe { slab::release(self.0) };
        }
    }
}

/// The vtable of one pair of closure and result.
struct Tie<F, T>(PhantomData<(F, T)>);

impl<F: FnOnce() -> T, T> Tie<F, T> {
    const VTABLE: VTable = VTable {
        run: Self::run,
        abandon: Self::abandon,
        discard: Self::discard,
    };

    unsafe fn run(control: &Control) {
        // SAFETY: `Control::run`'s caller: the closure is there and ours.
        let f = unsafe { Slot::<F>::take(control.storage()) };
        let outcome = catch_unwind(AssertUnwindSafe(f))
            .map_err(|payload| control.failed(JoinError::from_payload(payload)));
        // SAFETY: the closure has left the storage, which is still ours.
        unsafe { Slot::put(control.storage(), outcome) };
    }

    unsafe fn abandon(control: &Control, why: JoinError) {
        // SAFETY: `Control::abandon`'s caller: the closure is there and ours.
        let f = unsafe { Slot::<F>::take(control.storage()) };
        // A capture whose destructor panics: that panic is the better report.
        let why = match catch_unwind(AssertUnwindSafe(|| drop(f))) {
            Ok(()) => why,
            Err(payload) => JoinError::from_payload(payload),
        };
        let outcome: Result<T, JoinError> = Err(control.failed(why));
        // SAFETY: as above.
        unsafe { Slot::put(control.storage(), outcome) };
    }

    unsafe fn discard(control: &Control) -> Option<JoinError> {
        // SAFETY: `Control::discard_outcome`'s caller.
        let outcome = unsafe { Slot::<Result<T, JoinError>>::take(control.storage()) };
        let failure = match outcome {
            Ok(value) => match catch_unwind(AssertUnwindSafe(|| drop(value))) {
                Ok(()) => return None,
                Err(payload) => JoinError::from_payload(payload),
            },
            Err(failure) => failure,
        };
        (!failure.is_cancelled()).then_some(failure)
    }
}

/// How a `V` lies in a block's storage: itself if it fits, else boxed.
struct Slot<V>(PhantomData<V>);

impl<V> Slot<V> {
    const FITS: bool = size_of::<V>() <= INLINE && align_of::<V>() <= align_of::<Storage>();

    /// # Safety
    ///
    /// `at` is a block's storage, empty and the caller's.
    #[inline]
    unsafe fn put(at: *mut u8, value: V) {
        if Self::FITS {
            // SAFETY: it fits by size and alignment; the caller owns the place.
            unsafe { at.cast::<V>().write(value) }
        } else {
            // SAFETY: a pointer fits; the caller owns the place.
            unsafe { at.cast::<*mut V>().write(Box::into_raw(Box::new(value))) }
        }
    }

    /// # Safety
    ///
    /// `at` holds a `V` put there by [`Slot::put`], and the caller owns it.
    #[inline]
    unsafe fn take(at: *mut u8) -> V {
        if Self::FITS {
            // SAFETY: the caller's promise.
            unsafe { at.cast::<V>().read() }
        } else {
            // SAFETY: the caller's promise: `put` stored this box.
            unsafe { *Box::from_raw(at.cast::<*mut V>().read()) }
        }
    }
}

const _: () = assert!(
    size_of::<Control>() <= 256,
    "a control block is four cache lines"
);
