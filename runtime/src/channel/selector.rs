//! [`Select`].

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::time::{Duration, Instant};

use crate::channel::arm::{self, Arm};
use crate::channel::chan::Until;
use crate::channel::errors::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use crate::channel::receiver::{Receiver, RecvArm};
use crate::channel::select::{How, select};
use crate::channel::sender::Sender;
use crate::scheduler::wait::give_way;

/// Selects from a list of operations that is made as the program runs; [`select!`](crate::channel::select) is for those
/// that are known beforehand.
///
/// An operation is ready if it need not wait; also if it would fail because the channel is disconnected. Of several that
/// are ready, any is chosen, each as likely as the others, or with [`new_biased`](Self::new_biased) the one that was added
/// first.
///
/// There are two ways to use it: [`select`](Self::select) and its kin choose an operation, which must then be completed
/// with [`SelectedOperation`]; [`ready`](Self::ready) and its kin only tell which is ready, and it may not be so any more
/// when it is tried.
///
/// ```
/// use filature::channel::{bounded, Select};
///
/// let (s1, r1) = bounded(1);
/// let (_s2, r2) = bounded::<u32>(1);
/// s1.send("hello").unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&r1);
/// let second = select.recv(&r2);
/// let operation = select.select();
/// match operation.index() {
///     i if i == first => assert_eq!(operation.recv(&r1), Ok("hello")),
///     i if i == second => assert!(operation.recv(&r2).is_err()),
///     _ => unreachable!(),
/// }
/// ```
///
/// The calls that may wait are suspensions of a coroutine, and block a plain thread. A coroutine that is cancelled there
/// has neither sent nor received.
pub struct Select<'a> {
    arms: Vec<Added<'a>>,
    order: Vec<usize>,
    next: usize,
    biased: bool,
}

struct Added<'a> {
    index: usize,
    /// The sender or the receiver.
    handle: *const (),
    arm: Box<dyn Arm + 'a>,
}

impl<'a> Deref for Added<'a> {
    type Target = dyn Arm + 'a;

    fn deref(&self) -> &Self::Target {
        &*self.arm
    }
}

// SAFETY: between two calls the arms are but references to channels, which are
// shared between threads. A message of a type that is not `Send` may be moved by
// another thread in here, from the channel to an arm and back, as bytes: it is
// given out only to who has its `Receiver`, which is not `Sync` then, and is not
// dropped in here.
unsafe impl Send for Select<'_> {}
// SAFETY: by a shared reference the arms are only cloned, which reads what does not
// change.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// No operations yet.
    pub fn new() -> Select<'a> {
        Select {
            arms: Vec::new(),
            order: Vec::new(),
            next: 0,
            biased: false,
        }
    }

    /// No operations yet. Of several that are ready the one that was added first will be chosen.
    pub fn new_biased() -> Select<'a> {
        Select {
            biased: true,
            ..Select::new()
        }
    }

    /// Adds a send, and returns its index. The message is given later, to [`SelectedOperation::send`].
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(ptr::from_ref(s).cast(), Box::new(s.arm()))
    }

    /// Adds a receive, and returns its index.
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(ptr::from_ref(r).cast(), r.arm().boxed())
    }

    fn add(&mut self, handle: *const (), arm: Box<dyn Arm + 'a>) -> usize {
        let index = self.next;
        self.arms.push(Added { index, handle, arm });
        self.order.push(index);
        self.next += 1;
        index
    }

    /// Takes an operation out. The indexes of the others stay, and its own is not used again.
    ///
    /// # Panics
    ///
    /// If there is none with that index.
    pub fn remove(&mut self, index: usize) {
        let place = self.arms.iter().position(|arm| arm.index == index);
        let place = place.unwrap_or_else(|| panic!("there is no operation with index {index}"));
        self.arms.remove(place);
        self.order.pop();
    }

    /// Chooses one of the operations that are ready.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.choose(Until::Now).ok_or(TrySelectError)
    }

    /// Waits until one of the operations is ready, and chooses it.
    ///
    /// # Panics
    ///
    /// If there are no operations.
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_not_empty();
        self.choose(Until::Never)
            .expect("a select without a deadline does not end before it has chosen")
    }

    /// [`select`](Self::select), for `timeout` at the most. Without operations it waits for that long.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(Until::after(timeout)).ok_or(SelectTimeoutError)
    }

    /// [`select`](Self::select), until `deadline` at the latest. Without operations it waits until then.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(Until::At(deadline)).ok_or(SelectTimeoutError)
    }

    /// The index of an operation that is ready.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.watch(Until::Now).ok_or(TryReadyError)
    }

    /// Waits until one of the operations is ready, and returns its index. Somebody else may be faster to do what was
    /// ready: then wait again.
    ///
    /// # Panics
    ///
    /// If there are no operations.
    pub fn ready(&mut self) -> usize {
        self.assert_not_empty();
        self.watch(Until::Never)
            .expect("a wait without a deadline does not end before something is ready")
    }

    /// [`ready`](Self::ready), for `timeout` at the most. Without operations it waits for that long.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.watch(Until::after(timeout)).ok_or(ReadyTimeoutError)
    }

    /// [`ready`](Self::ready), until `deadline` at the latest. Without operations it waits until then.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.watch(Until::At(deadline)).ok_or(ReadyTimeoutError)
    }

    fn assert_not_empty(&self) {
        assert!(
            !self.arms.is_empty(),
            "no operations have been added to `Select`"
        );
    }

    fn choose(&mut self, until: Until) -> Option<SelectedOperation<'a>> {
        let chosen = self.run(until, false)?;
        let Added { index, handle, arm } = &mut self.arms[chosen];
        let fresh = arm.again();
        Some(SelectedOperation {
            index: *index,
            handle: *handle,
            arm: std::mem::replace(arm, fresh),
            _borrows: PhantomData,
        })
    }

    fn watch(&mut self, until: Until) -> Option<usize> {
        let chosen = self.run(until, true)?;
        Some(self.arms[chosen].index)
    }

    fn run(&mut self, until: Until, watch: bool) -> Option<usize> {
        let how = How {
            biased: self.biased,
            watch,
        };
        let chosen = select(&self.arms, &mut self.order, how, until);
        give_way();
        chosen
    }
}

impl<'a> Clone for Select<'a> {
    fn clone(&self) -> Select<'a> {
        let again = |added: &Added<'a>| Added {
            index: added.index,
            handle: added.handle,
            arm: added.arm.again(),
        };
        Select {
            arms: self.arms.iter().map(again).collect(),
            order: self.order.clone(),
            next: self.next,
            biased: self.biased,
        }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// An operation that [`Select`] has chosen, to be completed by [`send`](Self::send) or [`recv`](Self::recv), which do not
/// wait.
///
/// # Panics
///
/// Dropped without, it panics, unless the thread is panicking already. Either way what it holds goes back: a message that
/// it has received is the channel's next again, room for one is others' to have. One that is *forgotten* keeps that; if
/// it is a send to a channel without capacity, a receiver then waits for ever.
#[must_use = "it must be completed, by `send` or `recv`"]
pub struct SelectedOperation<'a> {
    index: usize,
    handle: *const (),
    arm: Box<dyn Arm + 'a>,
    _borrows: PhantomData<&'a ()>,
}

impl SelectedOperation<'_> {
    /// The index that adding the operation returned.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Sends the message.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, if there is no receiver any more.
    ///
    /// # Panics
    ///
    /// If `s` is not the very [`Sender`] that was added.
    pub fn send<T>(self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        assert!(
            self.handle == ptr::from_ref(s).cast(),
            "passed a sender that wasn't selected",
        );
        // SAFETY: it was made from that sender, so this is its type.
        let chosen = unsafe { self.arm_as::<arm::Send<'_, T>>() }.take();
        let sent = chosen.send(msg);
        self.complete();
        sent.map_err(SendError)
    }

    /// Returns what was received.
    ///
    /// # Errors
    ///
    /// [`RecvError`], if the channel is empty and there is no sender any more.
    ///
    /// # Panics
    ///
    /// If `r` is not the very [`Receiver`] that was added.
    pub fn recv<T>(self, r: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            self.handle == ptr::from_ref(r).cast(),
            "passed a receiver that wasn't selected",
        );
        // SAFETY: it was made from that receiver, so these are its types.
        let received = unsafe {
            match r.arm() {
                RecvArm::Chan(_) => self.arm_as::<arm::Recv<'_, T>>().take(),
                RecvArm::Clock(_) => self.arm_as::<crate::channel::clock::Ticks<'_, T>>().take(),
                RecvArm::Never(_) => None,
            }
        };
        self.complete();
        received.ok_or(RecvError)
    }

    /// # Safety
    ///
    /// The arm is an `A`.
    unsafe fn arm_as<A>(&self) -> &A {
        // SAFETY: by the contract.
        unsafe { &*ptr::from_ref(&*self.arm).cast::<A>() }
    }

    fn complete(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: it is not used again.
        unsafe { ptr::drop_in_place(&raw mut this.arm) };
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.arm.give_back();
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}
