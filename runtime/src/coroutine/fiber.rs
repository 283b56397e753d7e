//! A stack with something running on it, and the switch to and from it.
//!
//! A fiber outlives the coroutines that it runs: its body takes one coroutine
//! after another, and when there is none it waits, suspended, in its worker's
//! cache. So starting a coroutine on a recycled stack is one switch, and a
//! coroutine that ends without suspending costs no switch at all if another is
//! ready to start.
//!
//! Nothing ever unwinds over the switch: the body catches what a coroutine
//! throws (`Control::run`), so corosensei is used without its `unwind` feature
//! and an order travels in a register.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;

use crate::coroutine::control::Control;
use crate::coroutine::stack::Stack;
use crate::time::frame::Frames;

/// What a suspended fiber is told when it is resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Order(usize);

impl Order {
    /// Go on with what you were doing.
    pub(crate) const GO: Order = Order(0);
    /// Unwind the coroutine that you are in the middle of.
    pub(crate) const UNWIND: Order = Order(1);
    /// To an idle fiber: return, the stack is to be given back.
    pub(crate) const EXIT: Order = Order(2);

    /// To an idle fiber: run this coroutine.
    #[inline]
    pub(crate) fn run(control: NonNull<Control>) -> Order {
        Order(control.as_ptr().expose_provenance())
    }

    /// The coroutine to run; none for [`Order::EXIT`].
    #[inline]
    pub(crate) fn coroutine(self) -> Option<NonNull<Control>> {
        if self == Order::EXIT {
            return None;
        }
        NonNull::new(std::ptr::with_exposed_provenance_mut(self.0))
    }
}

pub(crate) type Yielder = corosensei::Yielder<Order, ()>;
type Switch = corosensei::Coroutine<Order, (), (), Stack>;

/// Lies at the top of its own stack:
///
/// ```text
///  a cache line                                     a cache line
///  | ... the stack | the switch's link | `switch`  | the rest, colour |
///                                      ^ base
/// ```
///
/// So what a resumption touches at this end, the link to whoever resumed it and
/// `switch`, is one cache line, and of a page that is touched anyway.
#[repr(C)]
pub(crate) struct Fiber {
    switch: UnsafeCell<Switch>,
    /// Of the stack without its guard, bytes.
    pub(crate) size: usize,
    pub(crate) range: Range<usize>,
    pub(crate) guard: Range<usize>,
    /// The deadlines that the coroutine is in which runs on it.
    pub(crate) frames: Frames,
}

/// What `Switch` takes of the line that it shares with the link. (With the
/// sanitizer's hooks it is larger, and takes part of the next.)
const SHARED: usize = 48;
/// What a fiber takes of its stack, bytes. The top is at the start of a line.
const ROOM: usize = (size_of::<Fiber>() - SHARED).next_multiple_of(64) + SHARED;

// Else it is no longer one line.
#[cfg(all(target_arch = "x86_64", not(feature = "sanitizer")))]
const _: () = assert!(size_of::<Switch>() == SHARED);
const _: () = assert!(align_of::<Fiber>() <= corosensei::stack::STACK_ALIGNMENT);

impl Fiber {
    /// A fiber that will run `body` at its first [`Fiber::resume`].
    ///
    /// It is there until [`Fiber::into_stack`].
    pub(crate) fn new<F>(mut stack: Stack, body: F) -> NonNull<Fiber>
    where
        F: FnOnce(&Yielder, Order) + 'static,
    {
        use corosensei::stack::Stack as _;
        let at: NonNull<Fiber> = stack.set_aside(ROOM).cast();
        let fiber = Fiber {
            size: stack.size(),
            range: stack.limit().get()..stack.base().get(),
            guard: stack.guard_range(),
            frames: Frames::new(),
            switch: UnsafeCell::new(Switch::with_stack(stack, body)),
        };
        // SAFETY: so much was set aside just now, aligned as a stack's base is,
        // and the stack, which the fiber holds, does not use it.
        unsafe { at.write(fiber) };
        at
    }

    /// Switches to the fiber until it suspends or ends.
    ///
    /// # Safety
    ///
    /// On the thread that made it, the fiber is suspended or new, and its order
    /// fits: [`Order::run`] or [`Order::EXIT`] to an idle or new one, `GO` or
    /// `UNWIND` to one in the middle of a coroutine.
    #[inline]
    pub(crate) unsafe fn resume(&self, order: Order) {
        // SAFETY: the caller's promise: it is not running, so nobody else has
        // a reference to the inside of the cell.
        unsafe { (*self.switch.get()).resume(order) };
    }

    /// Gives the stack back, and with it the memory of the fiber.
    ///
    /// # Safety
    ///
    /// The fiber has been told to exit and has ended, and nobody uses `fiber`
    /// again.
    pub(crate) unsafe fn into_stack(fiber: NonNull<Fiber>) -> Stack {
        // SAFETY: the caller's promise: it is there, and is read for the last time.
        let fiber = unsafe { fiber.read() };
        fiber.switch.into_inner().into_stack()
    }
}
