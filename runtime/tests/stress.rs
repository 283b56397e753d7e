//! Everything at once, at random, under a scheduler that takes random turns.
//!
//! A failure names its seed; `FILATURE_STRESS_SEED` repeats the decisions (the
//! threads' timing is their own), and `FILATURE_STRESS_ROUNDS` makes it last.

mod common;

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Counter, Random, Watchdog, pollers};
use filature::{
    Builder, Coroutine, Io, JoinError, JoinHandle, Runtime, current, park, park_timeout, run,
    sleep, spawn, spawn_local, yield_now,
};

/// What all coroutines of a round share.
#[derive(Clone)]
struct World {
    /// Coroutines made and, as their captures go, gone.
    made: Counter,
    gone: Counter,
    /// Whoever is sent here is unparked by a plain thread, then told so.
    wakers: mpsc::SyncSender<(Coroutine, Option<Arc<AtomicBool>>)>,
    /// Another runtime, to have dealings with.
    abroad: Arc<Runtime>,
    /// How many more coroutines there may be.
    budget: Arc<std::sync::atomic::AtomicIsize>,
}

/// In a runtime that goes on, a join gives what was returned or thrown. When
/// the runtime is shut down it may give neither.
struct CutShort;

impl World {
    fn may_grow(&self) -> bool {
        self.budget.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// A coroutine whose outcome is the number of coroutines below it and
    /// itself, returned or thrown.
    fn grow(&self, random: &mut Random) -> JoinHandle<usize> {
        let mut seed = random.fork();
        let node = self.node(seed.fork());
        match seed.below(8) {
            0 => spawn_local(node),
            1 => {
                let size = 64 << (10 + seed.below(3));
                Builder::new().stack_size(size).spawn(node).unwrap()
            }
            2 => self.abroad.spawn(node),
            _ => spawn(node),
        }
    }

    fn node(&self, random: Random) -> impl FnOnce() -> usize + Send + 'static {
        self.made.up();
        let (world, guard) = (self.clone(), self.gone.on_drop());
        move || {
            let _guard = guard;
            world.live(random)
        }
    }

    fn live(self, mut random: Random) -> usize {
        let home = std::thread::current().id();
        let throws = random.below(10) == 0;
        let local = Rc::new(Cell::new(0));
        let mut children = Vec::new();
        let mut count = 1;
        for _ in 0..random.below(12) {
            if random.below(3) == 0 && self.may_grow() {
                children.push(self.grow(&mut random));
            }
            match self.act(&mut random, &local, &mut children) {
                Ok(more) => count += more,
                Err(CutShort) => return count,
            }
            assert_eq!(std::thread::current().id(), home);
        }
        for child in children {
            match harvest(child) {
                Ok(more) => count += more,
                Err(CutShort) => return count,
            }
        }
        assert_eq!(std::thread::current().id(), home);
        if throws {
            resume_unwind(Box::new(count));
        }
        count
    }

    /// Something that takes time, and children that it has harvested.
    fn act(
        &self,
        random: &mut Random,
        local: &Rc<Cell<u64>>,
        children: &mut Vec<JoinHandle<usize>>,
    ) -> Result<usize, CutShort> {
        let micros = Duration::from_micros(random.below(300) as u64);
        match random.below(11) {
            0 | 1 => yield_now(),
            2 => sleep(micros),
            3 => park_timeout(micros),
            4 => {
                // Woken by a thread, and only by it.
                let _ = self.wakers.send((current(), None));
                park();
            }
            5 => {
                // Woken by a thread, or by the clock, again and again.
                let woken = Arc::new(AtomicBool::new(false));
                let _ = self.wakers.send((current(), Some(woken.clone())));
                while !woken.load(Ordering::Acquire) {
                    park_timeout(Duration::from_micros(50));
                }
                // The permit may have been taken or not; now it has.
                current().unpark();
                park();
            }
            6 => {
                let me = current();
                drop(spawn(move || me.unpark()));
                park();
            }
            7 => self.ping_pong(1 + random.below(20))?,
            8 => {
                let before = local.get();
                let theirs = local.clone();
                let neighbour = spawn_local(move || {
                    yield_now();
                    theirs.set(theirs.get() + 1);
                });
                cut_short(neighbour.join())?;
                assert_eq!(local.get(), before + 1);
            }
            9 => {
                let mut lent = 1;
                let lent = &mut lent;
                let abroad = random.below(2) == 0;
                let borrows = move || {
                    yield_now();
                    *lent += 1;
                    *lent
                };
                let value = if abroad {
                    self.abroad.run(borrows)
                } else {
                    run(borrows)
                };
                assert_eq!(value, 2);
            }
            _ => {
                if !children.is_empty() {
                    let child = children.swap_remove(random.below(children.len()));
                    return harvest(child);
                }
            }
        }
        Ok(0)
    }

    /// With a partner that is somewhere: one permit each way, in turn. If the
    /// partner is shut down, so is this one, whose runtime is the same.
    fn ping_pong(&self, rounds: usize) -> Result<(), CutShort> {
        let me = current();
        let partner = spawn(move || {
            for _ in 0..rounds {
                park();
                me.unpark();
            }
        });
        for _ in 0..rounds {
            partner.coroutine().unpark();
            park();
        }
        cut_short(partner.join())
    }
}

fn cut_short<T>(outcome: Result<T, JoinError>) -> Result<T, CutShort> {
    match outcome {
        Ok(value) => Ok(value),
        Err(error) if error.is_cancelled() => Err(CutShort),
        Err(error) => panic!("{error}"),
    }
}

/// What a node returned or threw.
fn harvest(child: JoinHandle<usize>) -> Result<usize, CutShort> {
    match child.join() {
        Err(error) if error.is_panic() => match error.downcast::<usize>() {
            Ok(thrown) => Ok(*thrown),
            Err(error) => panic!("a coroutine failed: {error}"),
        },
        outcome => cut_short(outcome),
    }
}

/// Threads that wake whom they are sent.
fn wakers(count: usize) -> mpsc::SyncSender<(Coroutine, Option<Arc<AtomicBool>>)> {
    // Bounded by far more than can wait at once, so that no send blocks a worker.
    let (send, receive) = mpsc::sync_channel::<(Coroutine, Option<Arc<AtomicBool>>)>(100_000);
    let receive = Arc::new(std::sync::Mutex::new(receive));
    for _ in 0..count {
        let receive = receive.clone();
        std::thread::spawn(move || {
            loop {
                let next = receive.lock().unwrap().recv();
                let Ok((coroutine, woken)) = next else { return };
                coroutine.unpark();
                if let Some(woken) = woken {
                    woken.store(true, Ordering::Release);
                }
            }
        });
    }
    send
}

fn rounds() -> u64 {
    match std::env::var("FILATURE_STRESS_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("FILATURE_STRESS_ROUNDS is a number"),
        Err(_) => 3,
    }
}

/// Runs a round with each of some setups; the seed comes with whatever fails.
fn stress(round: impl Fn(&mut Random, &Runtime, World)) {
    let seed = Random::seed();
    println!("to repeat this: FILATURE_STRESS_SEED={seed}");
    let mut random = Random::new(seed);
    for number in 0..rounds() {
        for io in pollers() {
            for workers in [1, 2, 8] {
                let _watchdog = Watchdog::new(format!(
                    "{workers} workers on {io} in round {number} of FILATURE_STRESS_SEED={seed}"
                ));
                let built = |chaos: u64, io: Io| {
                    let builder = Runtime::builder().workers(workers).io(io);
                    builder.chaos(chaos).build().unwrap()
                };
                let runtime = built(random.next(), io);
                let world = World {
                    made: Counter::new(),
                    gone: Counter::new(),
                    wakers: wakers(2),
                    abroad: Arc::new(built(random.next(), io)),
                    budget: Arc::new(400.into()),
                };
                round(&mut random, &runtime, world);
            }
        }
    }
}

#[test]
fn a_random_forest_loses_and_doubles_nothing() {
    stress(|random, runtime, world| {
        let roots: Vec<_> = (0..8)
            .map(|_| runtime.spawn(world.node(random.fork())))
            .collect();
        let mut count = 0;
        for root in roots {
            match harvest(root) {
                Ok(more) => count += more,
                Err(CutShort) => panic!("nothing shuts this runtime down"),
            }
        }
        assert_eq!(count, world.made.get());
        assert_eq!(world.gone.get(), world.made.get());
    });
}

#[test]
fn a_random_forest_of_detached_coroutines_ends() {
    stress(|random, runtime, world| {
        for _ in 0..8 {
            drop(runtime.spawn({
                let (world, mut random) = (world.clone(), random.fork());
                move || {
                    for _ in 0..10 {
                        // Whether it ends before or after its handle goes.
                        let child = world.grow(&mut random);
                        if random.below(2) == 0 {
                            yield_now();
                        }
                        match random.below(3) {
                            0 => drop(std::thread::spawn(move || drop(child))),
                            1 => drop(spawn(move || drop(child))),
                            _ => drop(child),
                        }
                    }
                }
            }));
        }
        world.made.wait_for(80);
        while world.gone.get() < world.made.get() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_random_forest_is_felled_at_a_random_moment() {
    stress(|random, runtime, world| {
        let mut world = world;
        // The runtime that ends is the world's other one, so that some of those
        // who wait for it are at home elsewhere.
        let doomed = std::mem::replace(
            &mut world.abroad,
            Arc::new(Runtime::builder().workers(1).build().unwrap()),
        );
        let doomed = Arc::into_inner(doomed).expect("nobody else has it");
        let started = Counter::new();
        let roots: Vec<_> = (0..16)
            .map(|i| {
                let node = world.node(random.fork());
                let started = started.clone();
                let node = move || {
                    started.up();
                    node()
                };
                if i % 4 == 0 {
                    runtime.spawn(node)
                } else {
                    doomed.spawn(node)
                }
            })
            .collect();
        started.wait_for(random.below(10));
        for _ in 0..random.below(200) {
            std::thread::yield_now();
        }
        drop(doomed);
        for root in roots {
            let _ = harvest(root);
        }
        // What the others still have running ends by itself.
        while world.gone.get() < world.made.get() {
            std::thread::yield_now();
        }
    });
}
