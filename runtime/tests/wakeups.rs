//! Wake-ups between workers, threads and runtimes: none is lost.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use common::{Counter, everywhere, on_several_workers};
use filature::{Coroutine, JoinHandle, Runtime, current, park, yield_now};

#[test]
fn a_wakeup_that_races_with_the_park_is_not_lost() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (send, receive) = mpsc::channel::<Coroutine>();
        let handle = runtime.spawn(move || {
            for _ in 0..3000 {
                send.send(current()).unwrap();
                park();
            }
        });
        for coroutine in receive {
            coroutine.unpark();
        }
        handle.join().unwrap();
    });
}

/// Each in turn counts one up and wakes the next: `spawners` says where each of
/// them runs. A wake-up that is lost hangs the ring.
fn ring(rounds: usize, members: Vec<Box<dyn FnOnce(Member) -> Running + '_>>) {
    let count = members.len();
    let turn = Arc::new(AtomicUsize::new(0));
    let (introduce, introduced) = mpsc::channel();
    let running: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(number, start)| {
            let (send, next) = mpsc::channel();
            let member = Member {
                number,
                count,
                rounds,
                turn: turn.clone(),
                introduce: introduce.clone(),
                next,
            };
            (start(member), send)
        })
        .collect();
    let mut handles = vec![None; count];
    for _ in 0..count {
        let (number, handle): (usize, Coroutine) = introduced.recv().unwrap();
        handles[number] = Some(handle);
    }
    for (i, (_, send)) in running.iter().enumerate() {
        send.send(handles[(i + 1) % count].clone().unwrap())
            .unwrap();
    }
    for (running, _) in running {
        match running {
            Running::Coroutine(handle) => handle.join().unwrap(),
            Running::Thread(handle) => handle.join().unwrap(),
        }
    }
    assert_eq!(turn.load(Ordering::Relaxed), rounds * count);
}

enum Running {
    Coroutine(JoinHandle<()>),
    Thread(std::thread::JoinHandle<()>),
}

struct Member {
    number: usize,
    count: usize,
    rounds: usize,
    turn: Arc<AtomicUsize>,
    introduce: mpsc::Sender<(usize, Coroutine)>,
    next: mpsc::Receiver<Coroutine>,
}

impl Member {
    fn run(self) {
        self.introduce.send((self.number, current())).unwrap();
        let next = loop {
            match self.next.try_recv() {
                Ok(next) => break next,
                Err(_) => yield_now(),
            }
        };
        for round in 0..self.rounds {
            let mine = round * self.count + self.number;
            // What the one before wrote is seen through the unpark alone.
            while self.turn.load(Ordering::Relaxed) != mine {
                park();
            }
            self.turn.store(mine + 1, Ordering::Relaxed);
            next.unpark();
        }
    }
}

fn on(runtime: &Runtime) -> Box<dyn FnOnce(Member) -> Running + '_> {
    Box::new(|member| Running::Coroutine(runtime.spawn(move || member.run())))
}

fn on_thread<'a>() -> Box<dyn FnOnce(Member) -> Running + 'a> {
    Box::new(|member| Running::Thread(std::thread::spawn(move || member.run())))
}

#[test]
fn two_coroutines_wake_each_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        ring(3000, vec![on(&runtime), on(&runtime)]);
    });
}

#[test]
fn a_coroutine_and_a_thread_wake_each_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        ring(1000, vec![on(&runtime), on_thread()]);
    });
}

#[test]
fn two_threads_wake_each_other() {
    ring(1000, vec![on_thread(), on_thread()]);
}

#[test]
fn coroutines_of_two_runtimes_wake_each_other() {
    everywhere(|setup| {
        let (one, other) = (setup.runtime(), setup.runtime());
        ring(1000, vec![on(&one), on(&other)]);
    });
}

#[test]
fn threads_and_coroutines_of_all_kinds_wake_each_other() {
    everywhere(|setup| {
        let (one, other) = (setup.runtime(), setup.runtime());
        let members = vec![
            on(&one),
            on(&one),
            on_thread(),
            on(&other),
            on(&one),
            on_thread(),
            on(&other),
            on(&other),
        ];
        ring(300, members);
    });
}

#[test]
fn coroutines_at_home_on_different_workers_wake_each_other() {
    on_several_workers(|setup| {
        let runtime = setup.runtime();
        // Each holds its worker until the other is there: so they are on two.
        let barrier = Arc::new(Barrier::new(2));
        let start = || -> Box<dyn FnOnce(Member) -> Running + '_> {
            let barrier = barrier.clone();
            Box::new(|member| {
                Running::Coroutine(runtime.spawn(move || {
                    barrier.wait();
                    member.run();
                }))
            })
        };
        ring(3000, vec![start(), start()]);
    });
}

#[test]
fn many_wake_one_and_each_of_them_is_heard() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let sent = Counter::new();
        let sleeper = runtime.spawn({
            let sent = sent.clone();
            move || {
                while sent.get() < 4000 {
                    park();
                }
            }
        });
        std::thread::scope(|scope| {
            for i in 0..4 {
                let (sent, coroutine) = (sent.clone(), sleeper.coroutine().clone());
                let send = move || {
                    for _ in 0..1000 {
                        sent.up();
                        coroutine.unpark();
                    }
                };
                if i % 2 == 0 {
                    scope.spawn(send);
                } else {
                    runtime.spawn(send);
                }
            }
        });
        sleeper.join().unwrap();
    });
}
