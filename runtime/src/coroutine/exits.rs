//! What is to be called when a coroutine has ended.
//!
//! Few coroutines have such callbacks, so a block has but a pointer to their list,
//! which the first to come makes, and a bit in [`Life`] that says to look at it.
//! DONE and WATCHED are set once each, in one word. Whoever sets the second of
//! them calls what is in the list, one after the other, with no lock held, and
//! what is added meanwhile too; then it *closes* the list, under its lock, as it
//! finds it empty.
//!
//! | the callback is added     | who calls it                                        |
//! |---------------------------|-----------------------------------------------------|
//! | before the end            | the finisher                                        |
//! | while others are called   | who calls the others, after them                    |
//! | after that                | who adds it, at once                                |
//!
//! So each is called once, and in the order in which they were added.

use std::collections::VecDeque;
use std::ptr;

use crate::coroutine::life::Life;
use crate::facade::{AtomicPtr, Mutex, Ordering};

/// How far a coroutine has come, as [`JoinHandle::state`](crate::JoinHandle::state)
/// tells. The names are those of asyncio's futures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JoinState {
    /// It has not started.
    Pending,
    /// It has started and not ended. It may be waiting for something.
    Running,
    /// It has ended: it returned, which includes one that caught its cancellation
    /// and returned all the same; or it panicked, or could not be started.
    Done,
    /// It was unwound by a cancellation or a shutdown, or dropped by one before it
    /// started.
    Cancelled,
}

pub(crate) type Callback = Box<dyn FnOnce(JoinState) + Send>;

/// The callbacks of one coroutine.
pub(crate) struct Exits {
    /// Null until there is a callback; then it stays until the block is freed.
    list: AtomicPtr<List>,
}

struct List(Mutex<Waiting>);

struct Waiting {
    callbacks: VecDeque<Callback>,
    closed: bool,
}

impl Exits {
    pub(crate) fn new() -> Self {
        Self {
            list: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds a callback, for a caller that holds the block. `call` is given it if it
    /// comes too late, and others that do. It must not unwind.
    pub(crate) fn add(&self, life: &Life, callback: Callback, mut call: impl FnMut(Callback)) {
        let list = match self.get() {
            Some(list) => list,
            None if life.is_done() => return call(callback),
            None => self.make(),
        };
        if let Err(late) = list.add(callback) {
            return call(late);
        }
        if life.set_watched() {
            self.call_all(call);
        }
    }

    /// For who has set the second of DONE and WATCHED. `call` must not unwind, or
    /// the others would never be called.
    pub(crate) fn call_all(&self, mut call: impl FnMut(Callback)) {
        if let Some(list) = self.get() {
            while let Some(callback) = list.next() {
                call(callback);
            }
        }
    }

    /// Frees the list. Only for whoever has the block to itself.
    pub(crate) fn clear(&self) {
        // Ordering: Relaxed, as nobody else may look.
        let list = self.list.load(Ordering::Relaxed);
        if !list.is_null() {
            self.list.store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: `make` made it from a box, and nobody else has the block.
            drop(unsafe { Box::from_raw(list) });
        }
    }

    fn get(&self) -> Option<&List> {
        // Ordering: Acquire pairs with `make`.
        let list = self.list.load(Ordering::Acquire);
        // SAFETY: it is null or stays until the block is freed, of which the caller
        // holds a reference.
        unsafe { list.as_ref() }
    }

    #[cold]
    fn make(&self) -> &List {
        let new = Box::into_raw(Box::new(List(Mutex::new(Waiting {
            callbacks: VecDeque::new(),
            closed: false,
        }))));
        // Ordering: Release publishes the list, Acquire is for another's.
        match self
            .list
            .compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: it stays until the block is freed, of which the caller holds a
            // reference.
            Ok(_) => unsafe { &*new },
            Err(others) => {
                // SAFETY: just made, and shown to nobody.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: as above.
                unsafe { &*others }
            }
        }
    }
}

impl List {
    /// Gives the callback back if nobody will look again.
    fn add(&self, callback: Callback) -> Result<(), Callback> {
        let mut waiting = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if waiting.closed {
            return Err(callback);
        }
        waiting.callbacks.push_back(callback);
        Ok(())
    }

    /// The next to be called. None: the list is closed.
    fn next(&self) -> Option<Callback> {
        let mut waiting = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let next = waiting.callbacks.pop_front();
        waiting.closed = next.is_none();
        next
    }
}
