//! Runs a model through all its interleavings.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Enough preemptions for the queues: their operations are short.
pub(crate) const QUEUES: usize = 3;
/// Parking and joining take turns rather than collide, and wait in between.
pub(crate) const WAITS: usize = 2;

/// When the model's main thread comes to its own part.
///
/// loom starts from the order in which threads would run if nobody preempted
/// them, and looks for accesses that could have come the other way round. It
/// remembers but the last access to an atomic. Where one thread loads, and then
/// another loads and exchanges, the second thread's own load hides the first's
/// from it, and it does not try the exchange before that first load. It does
/// find all this from the opposite order, so every model is run from both.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    First,
    Last,
}

impl Turn {
    /// Called by the main thread once it has spawned the others.
    pub(crate) fn await_it(self) {
        if let Self::Last = self {
            loom::thread::yield_now();
        }
    }
}

/// Runs `model` in every interleaving with at most `preemptions` involuntary
/// switches, and returns how many there were.
///
/// # Panics
///
/// If the model panics, deadlocks or races in one of them, and also if there
/// was only one: then it does not test anything.
pub(crate) fn explore(preemptions: usize, model: impl Fn(Turn) + Send + Sync + 'static) -> usize {
    let model = Arc::new(model);
    let runs = Arc::new(AtomicUsize::new(0));
    for turn in [Turn::First, Turn::Last] {
        let (model, counter) = (model.clone(), runs.clone());
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            model(turn);
        });
    }
    let runs = runs.load(Ordering::Relaxed);
    println!("{runs} interleavings");
    assert!(runs > 2, "the model has a single interleaving");
    runs
}

/// What a model that deadlocks leaves behind. loom's `Arc` panics if it is
/// dropped after a deadlock, which during the unwinding would be the end.
pub(crate) struct Leftover<T>(ManuallyDrop<T>);

impl<T> Leftover<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Leftover<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Leftover<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: nobody but this, once, drops it.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// Asserts that `model` fails, as a model of a mutant must.
pub(crate) fn catches(model: fn()) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(model));
    assert!(outcome.is_err(), "the model did not notice the mutant");
}

#[test]
fn loom_explores_both_orders_of_a_store_and_a_load() {
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let tally = seen.clone();
    let runs = explore(QUEUES, move |turn| {
        let word = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let writer = loom::thread::spawn({
            let word = word.clone();
            move || word.store(1, Ordering::Relaxed)
        });
        turn.await_it();
        tally[word.load(Ordering::Relaxed)].fetch_add(1, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert!(runs > 2);
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) > 0));
}

#[test]
#[should_panic(expected = "single interleaving")]
fn a_model_without_concurrency_fails() {
    explore(QUEUES, |_| {});
}

#[test]
#[should_panic(expected = "did not notice")]
fn a_mutant_that_survives_fails() {
    catches(|| {});
}
