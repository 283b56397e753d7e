//! `channel::select!` and `channel::Select`.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{Counter, FOR_EVER, Gate, everywhere, inside_everywhere};
use filature::channel::{
    Receiver, RecvError, Select, SendError, Sender, after, bounded, never, select, select_biased,
    tick, unbounded,
};
use filature::{JoinError, catch_cancel, current, spawn, yield_now};

fn let_others_wait() {
    for _ in 0..20 {
        yield_now();
    }
}

#[test]
fn what_is_ready_is_done() {
    inside_everywhere(|| {
        let (s1, r1) = bounded(1);
        let (s2, r2) = bounded(1);
        let (full, _r) = bounded(1);
        full.send(0).unwrap();
        s1.send("one").unwrap();
        let got = filature::select! {
            recv(r1) -> msg => msg.unwrap(),
            recv(r2) -> _ => unreachable!(),
            send(full, 1) -> _ => unreachable!(),
        };
        assert_eq!(got, "one");
        select! {
            recv(r1) -> _ => unreachable!(),
            send(s2, "two") -> res => res.unwrap()
        }
        assert_eq!(r2.try_recv(), Ok("two"));
        let (gone, _) = bounded::<u8>(1);
        select!(send(gone, 1) -> res => assert_eq!(res, Err(SendError(1))));
        drop(s2);
        select!(recv(r2) -> msg => assert_eq!(msg, Err(RecvError)));
    });
}

#[test]
fn every_form_of_an_arm_is_read() {
    inside_everywhere(|| {
        let (s, r) = bounded::<u32>(1);
        let boxed = (Box::new(s.clone()), Some(&r));
        for round in 0..4 {
            let sent = select! {
                send(*boxed.0, round,) -> res => { res.unwrap(); true }
                default(FOR_EVER,) => false,
            };
            assert!(sent);
            let got = 'found: loop {
                select! {
                    recv(boxed.1.unwrap_or(&never()),) -> msg => break 'found msg.unwrap(),
                    default() => continue,
                };
            };
            assert_eq!(got, round);
        }
        let question = || -> Result<u32, RecvError> {
            select! {
                recv(&&&r) -> msg => Ok(msg?),
                default => Ok(77),
            }
        };
        assert_eq!(question(), Ok(77));
        let mut messages = Vec::new();
        select! {
            send(s, { messages.push(1); 1 }) -> _ => messages.push(2),
            recv({ messages.push(0); &r }) -> mut msg => assert_eq!(msg.as_mut(), Ok(&mut 1)),
        }
        assert_eq!(messages, [0, 1, 2]);
        // Arms may use up what was selected on.
        select! {
            recv(r) -> msg => { drop(r); assert_eq!(msg, Ok(1)) }
            send(s, 5) -> _ => drop((r, s)),
        }
        assert_eq!(select!(default => 3), 3);
        select!(default(Duration::from_millis(1)) => {});
    });
}

#[test]
fn of_those_that_are_ready_each_has_its_turn() {
    inside_everywhere(|| {
        let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
        for (s, _) in &channels {
            (0..3000).for_each(|i| s.send(i).unwrap());
        }
        let (_full_s, empty) = bounded::<u32>(1);
        let mut hits = [0; 3];
        for _ in 0..3000 {
            select! {
                recv(channels[0].1) -> _ => hits[0] += 1,
                recv(empty) -> _ => unreachable!(),
                recv(channels[1].1) -> _ => hits[1] += 1,
                recv(channels[2].1) -> _ => hits[2] += 1,
            }
        }
        // 13 standard deviations.
        assert!(hits.iter().all(|hit| (650..1350).contains(hit)), "{hits:?}");
        for _ in 0..100 {
            select_biased! {
                recv(empty) -> _ => unreachable!(),
                recv(channels[1].1) -> _ => {}
                recv(channels[0].1) -> _ => unreachable!(),
            }
        }
    });
}

#[test]
fn selects_meet_each_other_and_never_themselves() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for _ in 0..20 {
            let (s, r) = bounded::<usize>(0);
            let (s2, r2) = bounded::<usize>(0);
            let pair = |me: usize| {
                let (s, r, s2, r2) = (s.clone(), r.clone(), s2.clone(), r2.clone());
                move || {
                    select! {
                        send(s, me) -> res => { res.unwrap(); None }
                        recv(r2) -> msg => Some(msg.unwrap()),
                        send(s2, me) -> res => { res.unwrap(); None }
                        recv(r) -> msg => Some(msg.unwrap()),
                    }
                }
            };
            let coroutines: Vec<_> = (0..30).map(|me| runtime.spawn(pair(me))).collect();
            let threads: Vec<_> = (30..34).map(|me| std::thread::spawn(pair(me))).collect();
            let met: Vec<_> = coroutines
                .into_iter()
                .map(|c| c.join().unwrap())
                .chain(threads.into_iter().map(|t| t.join().unwrap()))
                .collect();
            let mut heard: Vec<_> = met.iter().flatten().copied().collect();
            heard.sort_unstable();
            heard.dedup();
            assert_eq!(heard.len(), 17);
            assert!(met.iter().enumerate().all(|(me, heard)| *heard != Some(me)));
        }
    });
}

#[test]
fn a_message_that_fails_to_be_made_lets_the_receiver_wait_on() {
    common::hush();
    everywhere(|setup| {
        for capacity in [0, 1] {
            for selects_first in [true, false] {
                let runtime = setup.runtime();
                let (s, r) = bounded::<u32>(capacity);
                let receiver = runtime.spawn(move || r.recv());
                if !selects_first {
                    runtime.run(let_others_wait);
                }
                runtime.run(|| {
                    let made = Counter::new();
                    let fail = || -> u32 {
                        made.up();
                        yield_now();
                        panic!("on purpose")
                    };
                    let failed = catch_unwind(AssertUnwindSafe(
                        || select!(send(s, fail()) -> _ => unreachable!()),
                    ));
                    failed.unwrap_err();
                    assert_eq!(made.get(), 1);
                    current().cancel().unwrap();
                    let cancelled = catch_cancel(
                        || select!(send(s, { yield_now(); 1 }) -> _ => unreachable!()),
                    );
                    assert!(cancelled.is_err());
                    left_by(&s);
                    select!(send(s, { yield_now(); 9 }) -> res => res.unwrap());
                });
                assert_eq!(receiver.join().unwrap(), Ok(9));
                assert!(s.is_empty());
            }
        }
    });
}

/// Chooses to send, and returns instead.
fn left_by(s: &Sender<u32>) {
    let none = None;
    select! {
        send(s, match none {
            Some(message) => message,
            None => return,
        }) -> _ => unreachable!(),
    }
}

#[test]
fn one_that_tries_to_receive_waits_for_the_message_of_a_select() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (s, r) = bounded(0);
        let gate = Gate::new();
        let sender = runtime.spawn({
            let gate = gate.clone();
            move || select!(send(s, { gate.wait(); 5 }) -> res => res.unwrap())
        });
        let opener = runtime.spawn(move || {
            let_others_wait();
            gate.open();
        });
        let got = runtime.run(|| {
            loop {
                if let Ok(got) = r.try_recv() {
                    break got;
                }
                yield_now();
            }
        });
        assert_eq!(got, 5);
        sender.join().unwrap();
        opener.join().unwrap();
    });
}

#[test]
fn a_cancelled_select_has_done_nothing() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for capacity in [0, 1] {
                for round in 0..60 {
                    let (s, r) = bounded(capacity);
                    let (s2, r2) = bounded(capacity);
                    // Disconnected channels would be ready, too.
                    let _kept = (s.clone(), s2.clone());
                    let one: Vec<_> = (0..4)
                        .map(|_| {
                            let (r, r2) = (r.clone(), r2.clone());
                            spawn(move || {
                                select! {
                                    recv(r) -> msg => msg.unwrap(),
                                    recv(r2) -> msg => msg.unwrap(),
                                }
                            })
                        })
                        .collect();
                    let sender = spawn(move || {
                        for i in 0..4 {
                            select! {
                                send(s, i) -> res => res.unwrap(),
                                send(s2, i) -> res => res.unwrap(),
                            }
                        }
                    });
                    if round % 2 == 0 {
                        yield_now();
                    }
                    one[round % 4].cancel().unwrap();
                    one[(round + 1) % 4].cancel().unwrap();
                    let mut all = Vec::new();
                    let mut cut_short = 0;
                    for handle in one {
                        match handle.join() {
                            Ok(message) => all.push(message),
                            Err(JoinError::Cancelled) => cut_short += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    for _ in 0..cut_short {
                        select! {
                            recv(r) -> msg => all.push(msg.unwrap()),
                            recv(r2) -> msg => all.push(msg.unwrap()),
                        }
                    }
                    sender.join().unwrap();
                    all.sort_unstable();
                    assert_eq!(all, [0, 1, 2, 3]);
                }
            }
        });
    });
}

#[test]
fn times_are_arms_like_others() {
    inside_everywhere(|| {
        let (_s, r) = unbounded::<u8>();
        let ticks = tick(Duration::from_millis(1));
        let end = after(Duration::from_millis(5));
        let mut count = 0;
        loop {
            select! {
                recv(r) -> _ => unreachable!(),
                recv(ticks) -> at => { at.unwrap(); count += 1 }
                recv(end) -> _ => break,
                recv(never::<u8>()) -> _ => unreachable!(),
            }
        }
        assert!((1..=5).contains(&count));
        let expired = select! {
            recv(r) -> _ => false,
            default(Duration::from_millis(1)) => true,
        };
        assert!(expired);
    });
}

#[test]
fn a_list_of_operations_is_selected_from() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let channels: Vec<(Sender<usize>, Receiver<usize>)> =
            (0..60).map(|i| bounded(i % 3)).collect();
        let senders: Vec<_> = channels
            .iter()
            .enumerate()
            .map(|(i, (s, _))| {
                let s = s.clone();
                runtime.spawn(move || s.send(i).unwrap())
            })
            .collect();
        runtime.run(|| {
            let mut select = Select::new();
            for (_, r) in &channels {
                select.recv(r);
            }
            let mut copy = select.clone();
            let mut seen = Vec::new();
            for _ in 0..30 {
                let operation = select.select();
                let index = operation.index();
                assert_eq!(operation.recv(&channels[index].1), Ok(index));
                select.remove(index);
                seen.push(index);
            }
            for _ in 0..30 {
                let index = copy.ready();
                assert_eq!(channels[index].1.try_recv(), Ok(index));
                copy.remove(index);
                seen.push(index);
            }
            assert!(copy.try_ready().is_err() && select.try_select().is_err());
            assert!(select.select_timeout(Duration::from_millis(1)).is_err());
            assert!(copy.ready_timeout(Duration::ZERO).is_err());
            seen.sort_unstable();
            assert_eq!(seen, (0..60).collect::<Vec<_>>());
        });
        senders.into_iter().for_each(|s| s.join().unwrap());
    });
}

#[test]
fn all_that_watch_are_told() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for capacity in [0, 1] {
            let (s, r) = bounded::<u32>(capacity);
            let watching: Vec<_> = (0..6)
                .map(|_| {
                    let r = r.clone();
                    runtime.spawn(move || {
                        let mut select = Select::new();
                        select.recv(&r);
                        select.ready()
                    })
                })
                .collect();
            runtime.run(let_others_wait);
            let sender = runtime.spawn(move || s.send(1).unwrap());
            for watcher in watching {
                assert_eq!(watcher.join().unwrap(), 0);
            }
            assert_eq!(r.recv(), Ok(1));
            sender.join().unwrap();
        }
    });
}

#[test]
fn an_operation_that_is_dropped_gives_back_what_it_holds() {
    common::hush();
    inside_everywhere(|| {
        for capacity in [0, 1] {
            let (s, r) = bounded(capacity);
            let sender = spawn({
                let s = s.clone();
                move || s.send(3).unwrap()
            });
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                let mut select = Select::new();
                select.recv(&r);
                let _operation = select.select();
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            dropped.unwrap_err();
            sender.join().unwrap();
            assert_eq!(r.try_recv(), Ok(3));
        }
        let (s, r) = bounded(1);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let mut select = Select::new();
            select.send(&s);
            let operation = select.select();
            assert_eq!(s.try_send(1).unwrap_err().into_inner(), 1);
            let shown = format!("{operation:?} on purpose");
            drop(operation);
            unreachable!("{shown}");
        }));
        let text = *dropped.unwrap_err().downcast::<&str>().unwrap();
        assert!(text.contains("without completing"));
        s.try_send(2).unwrap();
        assert_eq!(r.recv(), Ok(2));
    });
}

#[test]
#[should_panic(expected = "a receiver that wasn't selected")]
fn an_operation_is_completed_with_its_own_handle() {
    let (_s, r) = bounded::<u8>(1);
    let (s2, other) = bounded(1);
    s2.send(String::new()).unwrap();
    drop(_s);
    let mut select = Select::new();
    select.recv(&r);
    let operation = select.select();
    let _ = operation.recv(&other);
}

#[test]
#[should_panic(expected = "no operations")]
fn a_select_of_nothing_is_a_mistake() {
    let _ = Select::new().select();
}

#[test]
fn a_message_of_the_clock_that_comes_back_is_told_of() {
    let (ours, theirs) = (after(Duration::ZERO), std::sync::Arc::new(()));
    let clone = ours.clone();
    let mut select = Select::new();
    select.recv(&ours);
    let operation = select.select();
    let weak = std::sync::Arc::downgrade(&theirs);
    let waiter = std::thread::spawn(move || {
        drop(theirs);
        clone.recv().is_ok()
    });
    while weak.strong_count() > 0 {
        std::thread::yield_now();
    }
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(operation)));
    assert!(dropped.is_err());
    assert!(waiter.join().unwrap());
}
