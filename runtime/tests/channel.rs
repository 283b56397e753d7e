//! `channel`: sending, receiving and the ends of both.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::{Counter, FOR_EVER, Gate, everywhere, inside_everywhere, on_a_thread};
use filature::channel::{
    RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, after, at, bounded,
    never, tick, unbounded,
};
use filature::{JoinError, catch_cancel, current, spawn, yield_now};

/// Every kind of channel.
const CAPACITIES: [Option<usize>; 5] = [Some(0), Some(1), Some(3), Some(200), None];

fn channel<T>(
    capacity: Option<usize>,
) -> (filature::channel::Sender<T>, filature::channel::Receiver<T>) {
    match capacity {
        Some(capacity) => bounded(capacity),
        None => unbounded(),
    }
}

/// Lets others come to where they wait; on one worker that is certain.
fn let_others_wait() {
    for _ in 0..20 {
        yield_now();
    }
}

#[test]
fn each_message_arrives_once_and_in_its_senders_order() {
    everywhere(|setup| {
        for capacity in CAPACITIES {
            let runtime = setup.runtime();
            let (s, r) = channel(capacity);
            let send = |s: filature::channel::Sender<(usize, u32)>, who| {
                move || (0..300).for_each(|i| s.send((who, i)).unwrap())
            };
            let coroutines: Vec<_> = (0..6)
                .map(|who| runtime.spawn(send(s.clone(), who)))
                .collect();
            let threads: Vec<_> = (6..8)
                .map(|who| std::thread::spawn(send(s.clone(), who)))
                .collect();
            drop(s);
            let receive = |r: filature::channel::Receiver<(usize, u32)>| move || r.iter().collect();
            let received: Vec<_> = (0..3).map(|_| runtime.spawn(receive(r.clone()))).collect();
            let mut lists: Vec<Vec<(usize, u32)>> = vec![receive(r)()];
            lists.extend(received.into_iter().map(|list| list.join().unwrap()));
            coroutines.into_iter().for_each(|s| s.join().unwrap());
            threads.into_iter().for_each(|s| s.join().unwrap());
            for list in &lists {
                for who in 0..8 {
                    let of_one = || list.iter().filter(|(from, _)| *from == who);
                    assert!(of_one().is_sorted(), "{capacity:?}");
                }
            }
            let mut all: Vec<_> = lists.concat();
            all.sort_unstable();
            let expected: Vec<_> = (0..8)
                .flat_map(|who| (0..300).map(move |i| (who, i)))
                .collect();
            assert_eq!(all, expected, "{capacity:?}");
        }
    });
}

#[test]
fn a_full_channel_and_an_empty_one_say_so() {
    inside_everywhere(|| {
        let (s, r) = bounded(2);
        assert_eq!((s.len(), s.capacity(), s.is_empty()), (0, Some(2), true));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(
            r.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
        s.try_send(1).unwrap();
        s.send(2).unwrap();
        assert_eq!(s.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(
            s.send_timeout(3, Duration::from_millis(1)),
            Err(SendTimeoutError::Timeout(3))
        );
        assert_eq!((r.len(), r.is_full(), s.is_full()), (2, true, true));
        assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
        let (s, r) = bounded(0);
        assert_eq!(s.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!((r.len(), r.is_full(), r.is_empty()), (0, true, true));
        let (s, r) = unbounded::<u8>();
        assert_eq!((s.capacity(), r.is_full()), (None, false));
    });
}

#[test]
fn what_was_sent_is_received_after_the_senders_are_gone() {
    inside_everywhere(|| {
        let (s, r) = unbounded();
        (0..1000).for_each(|i| s.send(i).unwrap());
        drop(s.clone());
        assert_eq!(r.recv(), Ok(0));
        drop(s);
        assert_eq!(r.iter().collect::<Vec<_>>(), (1..1000).collect::<Vec<_>>());
        assert_eq!(r.recv(), Err(RecvError));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn the_last_of_one_side_wakes_all_of_the_other() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        for capacity in [0, 2] {
            let (s, r) = bounded::<u32>(capacity);
            let receivers: Vec<_> = (0..5)
                .map(|_| {
                    runtime.spawn({
                        let r = r.clone();
                        move || r.recv()
                    })
                })
                .collect();
            runtime.run(let_others_wait);
            drop(s);
            for receiver in receivers {
                assert_eq!(receiver.join().unwrap(), Err(RecvError));
            }
            let (s, r) = bounded::<u32>(capacity);
            (0..capacity).for_each(|_| s.send(0).unwrap());
            let senders: Vec<_> = (0..5)
                .map(|i| {
                    runtime.spawn({
                        let s = s.clone();
                        move || s.send(i).unwrap_err().into_inner()
                    })
                })
                .collect();
            runtime.run(let_others_wait);
            drop(r);
            for (i, sender) in senders.into_iter().enumerate() {
                assert_eq!(sender.join().unwrap() as usize, i);
            }
        }
    });
}

#[test]
fn the_last_receiver_drops_what_is_left() {
    inside_everywhere(|| {
        for capacity in [Some(300), None] {
            let dropped = Counter::new();
            let (s, r) = channel(capacity);
            (0..300).for_each(|_| s.send(dropped.on_drop()).unwrap());
            drop(r.recv().unwrap());
            drop(r.clone());
            assert_eq!(dropped.get(), 1);
            drop(r);
            assert_eq!(dropped.get(), 300);
            drop(s.send(dropped.on_drop()).unwrap_err());
            assert_eq!(dropped.get(), 301);
        }
    });
}

#[test]
fn a_destructor_that_panics_keeps_nobody_waiting() {
    common::hush();
    everywhere(|setup| {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let runtime = setup.runtime();
        let (s, r) = bounded(1);
        s.send(Some(Panics)).unwrap();
        let sender = runtime.spawn(move || s.send(None).is_err());
        runtime.run(let_others_wait);
        catch_unwind(AssertUnwindSafe(|| drop(r))).unwrap_err();
        assert!(sender.join().unwrap());
    });
}

#[test]
fn a_cancelled_receiver_swallows_nothing() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for capacity in CAPACITIES {
                for round in 0..40 {
                    let (s, r) = channel(capacity);
                    let waiting: Vec<_> = (0..4)
                        .map(|_| {
                            let r = r.clone();
                            spawn(move || r.recv().unwrap())
                        })
                        .collect();
                    let sender = spawn(move || (0..4).for_each(|i| s.send(i).unwrap()));
                    if round % 2 == 0 {
                        yield_now();
                    }
                    waiting[round % 4].cancel().unwrap();
                    waiting[(round + 1) % 4].cancel().unwrap();
                    let mut all: Vec<u32> = Vec::new();
                    let mut cut_short = 0;
                    for handle in waiting {
                        match handle.join() {
                            Ok(message) => all.push(message),
                            Err(JoinError::Cancelled) => cut_short += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    all.extend((0..cut_short).map(|_| r.recv().unwrap()));
                    sender.join().unwrap();
                    all.sort_unstable();
                    assert_eq!(all, [0, 1, 2, 3], "{capacity:?}");
                }
            }
        });
    });
}

#[test]
fn a_cancelled_sender_has_sent_or_drops_its_message_once() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            for capacity in [0, 1, 3] {
                for round in 0..40 {
                    let dropped = Counter::new();
                    let (s, r) = bounded(capacity);
                    let senders: Vec<_> = (0..8)
                        .map(|_| {
                            let (s, message) = (s.clone(), dropped.on_drop());
                            spawn(move || s.send(message).unwrap())
                        })
                        .collect();
                    drop(s);
                    if round % 2 == 0 {
                        let_others_wait();
                    }
                    (0..3).for_each(|i| senders[(round + i) % 8].cancel().unwrap());
                    let received: Vec<_> = r.iter().collect();
                    let sent = senders.into_iter().filter_map(|s| s.join().ok()).count();
                    assert_eq!(received.len(), sent, "{capacity}");
                    assert_eq!(dropped.get(), 8 - sent);
                    drop(received);
                    assert_eq!(dropped.get(), 8);
                }
            }
        });
    });
}

#[test]
fn what_waits_is_unwound_and_may_go_on() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let handle = runtime.spawn(|| {
            let (s, r) = bounded(0);
            let me = current();
            me.cancel().unwrap();
            assert!(catch_cancel(|| r.recv()).is_err());
            me.cancel().unwrap();
            assert!(catch_cancel(|| s.send(1)).is_err());
            me.cancel().unwrap();
            assert!(catch_cancel(|| never::<u8>().recv()).is_err());
            me.cancel().unwrap();
            assert!(catch_cancel(|| after(FOR_EVER).recv()).is_err());
            let other = spawn(move || r.recv());
            s.send(2).unwrap();
            other.join().unwrap()
        });
        assert_eq!(handle.join().unwrap(), Ok(2));
    });
}

#[test]
fn a_shutdown_unwinds_those_that_wait() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (dropped, waiting) = (Counter::new(), Counter::new());
        let (s, r) = bounded(0);
        let (empty_s, empty_r) = bounded::<u8>(0);
        for _ in 0..10 {
            let (s, message, waits) = (s.clone(), dropped.on_drop(), waiting.clone());
            runtime.spawn(move || {
                waits.up();
                s.send(message).unwrap();
            });
            let (r, waits) = (empty_r.clone(), waiting.clone());
            runtime.spawn(move || {
                waits.up();
                r.recv().unwrap();
            });
        }
        waiting.wait_for(20);
        drop(runtime);
        assert_eq!(dropped.get(), 10);
        assert!(r.try_recv().is_err());
        assert_eq!(empty_s.try_send(1), Err(TrySendError::Full(1)));
    });
}

#[test]
fn coroutines_and_threads_meet() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        runtime.run(|| {
            let (to, from) = (bounded::<u32>(0), bounded::<u32>(0));
            let echo = {
                let (r, s) = (to.1.clone(), from.0.clone());
                move || r.iter().for_each(|i| s.send(i + 1).unwrap())
            };
            let thread = spawn(|| on_a_thread(echo));
            for i in 0..100 {
                to.0.send(i).unwrap();
                assert_eq!(from.1.recv(), Ok(i + 1));
            }
            drop(to);
            thread.join().unwrap();
        });
    });
}

#[test]
fn a_coroutine_that_tries_in_a_loop_lets_others_run() {
    everywhere(|setup| {
        setup.runtime().run(|| {
            let (s, r) = unbounded();
            let sender = spawn(move || s.send(7).unwrap());
            let got = loop {
                if let Ok(got) = r.try_recv() {
                    break got;
                }
            };
            assert_eq!(got, 7);
            sender.join().unwrap();
        });
    });
}

#[test]
fn a_coroutine_that_never_has_to_wait_lets_others_run() {
    everywhere(|setup| {
        let runtime = setup.runtime();
        let stop = Gate::new();
        let busy = runtime.spawn({
            let stop = stop.clone();
            move || {
                let (s, r) = unbounded();
                while !stop.is_open() {
                    s.send(1).unwrap();
                    r.recv().unwrap();
                }
            }
        });
        // Somewhere among these is one on its worker.
        let others: Vec<_> = (0..32).map(|_| runtime.spawn(yield_now)).collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        stop.open();
        busy.join().unwrap();
    });
}

#[test]
fn clocks_tell_when_they_were_due() {
    inside_everywhere(|| {
        let start = Instant::now();
        let when = start + Duration::from_millis(2);
        let once = at(when);
        let clone = once.clone();
        assert!(once.same_channel(&clone) && !once.same_channel(&at(when)));
        assert_eq!(once.recv(), Ok(when));
        assert!(Instant::now() >= when);
        assert_eq!(clone.try_recv(), Err(TryRecvError::Empty));
        assert_eq!((clone.len(), clone.capacity()), (0, Some(1)));

        let ticks = tick(Duration::from_millis(1));
        let times: Vec<_> = ticks.iter().take(5).collect();
        assert!(times.is_sorted() && times[0] >= start + Duration::from_millis(1));
        assert_eq!(
            after(FOR_EVER).recv_timeout(Duration::from_millis(1)),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(
            never::<u8>().recv_deadline(Instant::now()),
            Err(RecvTimeoutError::Timeout)
        );
    });
}

#[test]
fn large_and_empty_messages_pass() {
    inside_everywhere(|| {
        for capacity in CAPACITIES {
            let (s, r) = channel::<[u64; 1000]>(capacity);
            let (empty_s, empty_r) = channel::<()>(capacity);
            let sender = spawn(move || {
                for i in 0..20 {
                    s.send([i; 1000]).unwrap();
                    empty_s.send(()).unwrap();
                }
            });
            for i in 0..20 {
                assert!(r.recv().unwrap() == [i; 1000]);
                empty_r.recv().unwrap();
            }
            sender.join().unwrap();
        }
    });
}

#[test]
fn messages_are_all_dropped_though_a_destructor_is_cut_short() {
    struct Waits(bool, Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            if self.0 {
                self.1.open();
                filature::park();
            }
        }
    }
    everywhere(|setup| {
        let runtime = setup.runtime();
        let (sender, receiver) = unbounded();
        let (reply, replies) = bounded::<u32>(1);
        let dropping = Gate::new();
        sender
            .send((Waits(true, dropping.clone()), None))
            .ok()
            .unwrap();
        sender
            .send((Waits(false, dropping.clone()), Some(reply)))
            .ok()
            .unwrap();
        let dropper = runtime.spawn(move || drop(receiver));
        dropping.wait();
        dropper.cancel().unwrap();
        assert!(dropper.join().unwrap_err().is_cancelled());
        assert!(replies.recv().is_err());
    });
}
