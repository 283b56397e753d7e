//! What the models must notice.

/// A file in which one thing is broken.
pub(crate) struct Mutant {
    /// What is broken, as the name of a module.
    pub(crate) name: &'static str,
    pub(crate) structure: &'static str,
    /// Text that occurs once in the file,
    pub(crate) original: &'static str,
    /// and what stands there instead.
    pub(crate) broken: &'static str,
    /// The model that must notice.
    pub(crate) caught_by: &'static str,
}

/// Mutants of the runtime's files.
pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "raw_condvar_releases_before_it_waits",
        structure: "raw_condvar",
        original: "        let mut waiters = self.waiters.lock();
        party.open();",
        broken: "        let unlock_again = release;
        unlock_again();
        let release = || {};
        let mut waiters = self.waiters.lock();
        party.open();",
        caught_by: "a_notification_is_heard",
    },
    Mutant {
        name: "raw_condvar_notifies_one_and_forgets_those_behind",
        structure: "raw_condvar",
        original: "            .store(!waiters.is_empty(), Ordering::Relaxed);
        drop(waiters);
        if let",
        broken: "            .store(false, Ordering::Relaxed);
        drop(waiters);
        if let",
        caught_by: "each_of_two_notifications_is_heard",
    },
    Mutant {
        name: "raw_condvar_leaves_and_forgets_those_behind",
        structure: "raw_condvar",
        original: "            .store(!waiters.is_empty(), Ordering::Relaxed);
        drop(waiters);
        match",
        broken: "            .store(false, Ordering::Relaxed);
        drop(waiters);
        match",
        caught_by: "one_that_gives_up_takes_no_notification_with_it",
    },
    Mutant {
        name: "raw_condvar_notifies_all_but_is_content_with_one",
        structure: "raw_condvar",
        original: "        let batch = waiters.pop_all();
        self.waited_for",
        broken: "        let mut batch = crate::sync::queue::Batch::new();
        if let Some(claimed) = waiters.pop() {
            batch.push(claimed);
        }
        self.waited_for",
        caught_by: "all_are_notified",
    },
    Mutant {
        name: "raw_oneshot_sets_and_wakes_nobody",
        structure: "raw_oneshot",
        original: "        state.value = Some(value);
        let batch = state.waiters.pop_all();
        drop(state);
        batch.wake(CHANGED);",
        broken: "        state.value = Some(value);",
        caught_by: "what_is_set_is_taken",
    },
    Mutant {
        name: "raw_oneshot_is_abandoned_and_wakes_nobody",
        structure: "raw_oneshot",
        original: "        state.promised = false;
        let batch = state.waiters.pop_all();
        drop(state);
        batch.wake(CHANGED);",
        broken: "        state.promised = false;",
        caught_by: "a_broken_promise_is_heard_of",
    },
    Mutant {
        name: "raw_oneshot_looks_before_it_has_the_lock",
        structure: "raw_oneshot",
        original: "        let mut state = self.state.lock();
        match state.take() {
            Err(Missing::Pending) => {}
            known => return known,
        }",
        broken: "        match self.try_take() {
            Err(Missing::Pending) => {}
            known => return known,
        }
        let mut state = self.state.lock();",
        caught_by: "what_is_set_is_taken",
    },
    Mutant {
        name: "raw_oneshot_can_be_set_again_once_it_was_taken",
        structure: "raw_oneshot",
        original: "        if state.set {",
        broken: "        if state.value.is_some() {",
        caught_by: "one_of_two_sets_it",
    },
    Mutant {
        name: "raw_oneshot_gives_up_with_the_value",
        structure: "raw_oneshot",
        original: "            match state.take() {
                Err(Missing::Pending) if ended != Ended::TimedOut => {}",
        broken: "            match state.take() {
                Ok(_) if ended == Ended::TimedOut => return Err(Missing::Pending),
                Err(Missing::Pending) if ended != Ended::TimedOut => {}",
        caught_by: "what_is_set_as_the_waiter_gives_up_is_not_lost",
    },
    Mutant {
        name: "raw_rwlock_does_not_say_that_it_waits",
        structure: "raw_rwlock",
        original: "                state | WAITERS
            };",
        broken: "                state
            };",
        caught_by: "writers_exclude_each_other",
    },
    Mutant {
        name: "raw_rwlock_reader_looks_before_it_has_the_queues",
        structure: "raw_rwlock",
        original: "            let mut waiters = self.waiters.lock();
            if self.take_or_announce(admits_reader, READER) {
                return true;
            }",
        broken: "            if self.take_or_announce(admits_reader, READER) {
                return true;
            }
            let mut waiters = self.waiters.lock();",
        caught_by: "a_writer_excludes_readers",
    },
    Mutant {
        name: "raw_rwlock_writer_looks_before_it_has_the_queues",
        structure: "raw_rwlock",
        original: "            let mut waiters = self.waiters.lock();
            if self.take_or_announce(admits_writer, WRITER) {
                return true;
            }",
        broken: "            if self.take_or_announce(admits_writer, WRITER) {
                return true;
            }
            let mut waiters = self.waiters.lock();",
        caught_by: "writers_exclude_each_other",
    },
    Mutant {
        name: "raw_rwlock_admits_a_writer_beside_readers",
        structure: "raw_rwlock",
        original: "    state & !WAITERS == 0",
        broken: "    state & WRITER == 0",
        caught_by: "a_writer_excludes_readers",
    },
    Mutant {
        name: "raw_rwlock_hands_over_and_lets_go",
        structure: "raw_rwlock",
        original: "self.state.store(WRITER | rest, Ordering::Relaxed);",
        broken: "self.state.store(rest, Ordering::Relaxed);",
        caught_by: "readers_and_writers_take_turns",
    },
    Mutant {
        name: "raw_rwlock_forgets_those_behind",
        structure: "raw_rwlock",
        original: "        if self.is_empty() { 0 } else { WAITERS }",
        broken: "        0",
        caught_by: "writers_exclude_each_other",
    },
    Mutant {
        name: "raw_rwlock_last_reader_does_not_make_way",
        structure: "raw_rwlock",
        original: "        if state == READER | WAITERS {",
        broken: "        if state == WAITERS {",
        caught_by: "a_writer_excludes_readers",
    },
    Mutant {
        name: "raw_rwlock_writer_leaves_and_lets_nobody_in",
        structure: "raw_rwlock",
        original: "        if !waiters.writers.is_empty() || !self.join_readers() {",
        broken: "        if true {",
        caught_by: "a_writer_that_gives_up_does_not_hold_up_readers",
    },
    Mutant {
        name: "raw_rwlock_writer_goes_on_as_a_reader_and_lets_nobody_in",
        structure: "raw_rwlock",
        original: "            let batch = waiters.readers.pop_all();
            self.store_readers(1",
        broken: "            let batch = waiters.writers.pop_all();
            self.store_readers(1",
        caught_by: "readers_that_wait_come_in_with_one_that_wrote",
    },
    Mutant {
        name: "raw_rwlock_lets_more_readers_in_than_it_counts",
        structure: "raw_rwlock",
        original: "self.store_readers(1 + batch.len(), &waiters);",
        broken: "self.store_readers(batch.len(), &waiters);",
        caught_by: "a_writer_that_goes_on_as_a_reader_lets_readers_in",
    },
    Mutant {
        name: "raw_rwlock_reader_releases_without_release",
        structure: "raw_rwlock",
        original: "self.state.fetch_sub(READER, Ordering::Release);",
        broken: "self.state.fetch_sub(READER, Ordering::Relaxed);",
        caught_by: "a_writer_excludes_readers",
    },
    Mutant {
        name: "raw_rwlock_writer_releases_without_release",
        structure: "raw_rwlock",
        original: ".compare_exchange(WRITER, 0, Ordering::Release, Ordering::Relaxed);",
        broken: ".compare_exchange(WRITER, 0, Ordering::Relaxed, Ordering::Relaxed);",
        caught_by: "writers_exclude_each_other",
    },
    Mutant {
        name: "raw_rwlock_makes_way_without_acquire",
        structure: "raw_rwlock",
        original: "            WAITERS | WRITER,
            Ordering::Acquire,",
        broken: "            WAITERS | WRITER,
            Ordering::Relaxed,",
        caught_by: "two_readers_make_way_for_a_writer",
    },
    Mutant {
        name: "raw_semaphore_does_not_say_that_it_waits",
        structure: "raw_semaphore",
        original: "                state | WAITERS
            };",
        broken: "                state
            };",
        caught_by: "one_permit_is_one_holder",
    },
    Mutant {
        name: "raw_semaphore_looks_before_it_has_the_queue",
        structure: "raw_semaphore",
        original: "            let mut waiters = self.waiters.lock();
            if self.take_or_announce(permits) {
                return true;
            }",
        broken: "            if self.take_or_announce(permits) {
                return true;
            }
            let mut waiters = self.waiters.lock();",
        caught_by: "one_permit_is_one_holder",
    },
    Mutant {
        name: "raw_semaphore_forgets_those_behind",
        structure: "raw_semaphore",
        original: "let served = if waiters.is_empty() { WAITERS } else { 0 };",
        broken: "let served = WAITERS;",
        caught_by: "one_permit_is_one_holder",
    },
    Mutant {
        name: "raw_semaphore_says_twice_that_nobody_waits",
        structure: "raw_semaphore",
        original: "        if state & WAITERS == 0 {
            // Another",
        broken: "        if false {
            // Another",
        caught_by: "one_that_wants_all_gets_them_bit_by_bit",
    },
    Mutant {
        name: "raw_semaphore_serves_one_at_a_time",
        structure: "raw_semaphore",
        original: "        while let Some(claimed) = waiters.pop_if(|wanted| wanted <= left) {",
        broken: "        if let Some(claimed) = waiters.pop_if(|wanted| wanted <= left) {",
        caught_by: "what_comes_back_at_once_serves_two",
    },
    Mutant {
        name: "raw_semaphore_leaves_and_serves_nobody",
        structure: "raw_semaphore",
        original: "            let batch = self.hand_out(&mut waiters);
            drop(waiters);
            batch.wake(HANDED);
            match",
        broken: "            drop(waiters);
            match",
        caught_by: "one_that_gives_up_makes_way_for_those_behind_it",
    },
    Mutant {
        name: "raw_semaphore_releases_without_release",
        structure: "raw_semaphore",
        original: "                Ordering::Release,
                Ordering::Relaxed,",
        broken: "                Ordering::Relaxed,
                Ordering::Relaxed,",
        caught_by: "one_permit_is_one_holder",
    },
    Mutant {
        name: "raw_semaphore_hands_out_without_acquire",
        structure: "raw_semaphore",
        original: "let state = self.state.load(Ordering::Acquire);",
        broken: "let state = self.state.load(Ordering::Relaxed);",
        caught_by: "one_that_wants_all_gets_them_bit_by_bit",
    },
    Mutant {
        name: "chan_admits_nobody",
        structure: "chan",
        original: "return Pull::Got(message, self.admit());",
        broken: "return Pull::Got(message, After::Nothing);",
        caught_by: "room_that_becomes_free_is_had_by_who_waits",
    },
    Mutant {
        name: "chan_hands_over_and_wakes_nobody",
        structure: "chan",
        original: "After::Wake(wakeup) => wakeup.wake(),",
        broken: "After::Wake(wakeup) => drop(wakeup),",
        caught_by: "senders_and_receivers_meet",
    },
    Mutant {
        name: "chan_receiver_lets_go_between_the_look_and_the_wait",
        structure: "chan",
        original: "            let slot = Slot::<T>::new();",
        broken: "            drop(state);
            let mut state = self.state.lock();
            let slot = Slot::<T>::new();",
        caught_by: "senders_and_receivers_meet",
    },
    Mutant {
        name: "chan_sender_lets_go_between_the_look_and_the_wait",
        structure: "chan",
        original: "            let entry = Entry::new(party, 0, offer.place());",
        broken: "            drop(state);
            let mut state = self.state.lock();
            let entry = Entry::new(party, 0, offer.place());",
        caught_by: "senders_and_receivers_meet",
    },
    Mutant {
        name: "chan_senders_leave_without_a_word",
        structure: "chan",
        original: "self.wake_all(|state| &mut state.receivers);",
        broken: "",
        caught_by: "the_end_of_one_side_is_told_to_the_other",
    },
    Mutant {
        name: "chan_receivers_leave_without_a_word",
        structure: "chan",
        original: "self.wake_all(|state| &mut state.senders);",
        broken: "",
        caught_by: "the_end_of_one_side_is_told_to_the_other",
    },
    Mutant {
        name: "chan_sender_that_gives_up_takes_its_message_for_sent",
        structure: "chan",
        original: "Ended::TimedOut => return Err(Unsent::Late(take())),",
        broken: "Ended::TimedOut => return Ok(()),",
        caught_by: "a_sender_that_gives_up_keeps_its_message",
    },
    Mutant {
        name: "select_does_not_look_again_under_the_locks",
        structure: "select",
        original: "let found = unsafe { look_at_all(arms, how) };",
        broken: "let found: Option<(usize, Found)> = None;",
        caught_by: "two_selects_that_want_each_other_meet_once",
    },
    Mutant {
        name: "select_lets_go_between_the_look_and_the_wait",
        structure: "select",
        original: "        let waits = party",
        broken: "        // SAFETY: locked above.
        unsafe { unlock_all(arms, order) };
        lock_all(arms, order);
        let waits = party",
        caught_by: "two_selects_that_want_each_other_meet_once",
    },
    Mutant {
        name: "select_takes_what_failed_for_done",
        structure: "select",
        original: "if outcome.kind() != AGAIN {",
        broken: "if true {",
        caught_by: "a_select_that_was_met_in_vain_waits_on",
    },
    Mutant {
        name: "select_locks_in_the_order_of_the_arms",
        structure: "select",
        original: "order.sort_by_key(|id| arms[*id].key());",
        broken: "",
        caught_by: "two_selects_that_want_each_other_meet_once",
    },
    Mutant {
        name: "raw_mutex_does_not_say_that_it_waits",
        structure: "raw_mutex",
        original: "                state | WAITERS
            };",
        broken: "                state
            };",
        caught_by: "holders_exclude_each_other",
    },
    Mutant {
        name: "raw_mutex_looks_before_it_has_the_queue",
        structure: "raw_mutex",
        original: "            let mut waiters = self.waiters.lock();
            if self.take_or_announce() {
                return true;
            }",
        broken: "            if self.take_or_announce() {
                return true;
            }
            let mut waiters = self.waiters.lock();",
        caught_by: "holders_exclude_each_other",
    },
    Mutant {
        name: "raw_mutex_hands_over_and_lets_go",
        structure: "raw_mutex",
        original: "self.state.store(LOCKED | rest, Ordering::Relaxed);",
        broken: "self.state.store(rest, Ordering::Relaxed);",
        caught_by: "one_that_is_passed_over_has_it_next",
    },
    Mutant {
        name: "raw_mutex_forgets_those_behind",
        structure: "raw_mutex",
        original: "let rest = if waiters.is_empty() { 0 } else { WAITERS };",
        broken: "let rest = 0;",
        caught_by: "holders_exclude_each_other",
    },
    Mutant {
        name: "raw_mutex_leaves_and_forgets_those_behind",
        structure: "raw_mutex",
        original: "        if waiters.is_empty() {
            self.state.fetch_and",
        broken: "        if true {
            self.state.fetch_and",
        caught_by: "one_that_gives_up_strands_nobody",
    },
    Mutant {
        name: "raw_mutex_releases_without_release",
        structure: "raw_mutex",
        original: ".compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);",
        broken: ".compare_exchange(LOCKED, 0, Ordering::Relaxed, Ordering::Relaxed);",
        caught_by: "holders_exclude_each_other",
    },
    Mutant {
        name: "deque_publishes_a_push_without_release",
        structure: "deque",
        original: "self.ring.pushes.store(pushes, Ordering::Release);",
        broken: "self.ring.pushes.store(pushes, Ordering::Relaxed);",
        caught_by: "an_owner_and_a_thief_share_out_what_was_pushed",
    },
    Mutant {
        name: "deque_pops_without_release",
        structure: "deque",
        original: "pack(pops.wrapping_add(1), claimed),
                Ordering::Release,",
        broken: "pack(pops.wrapping_add(1), claimed),
                Ordering::Relaxed,",
        caught_by: "an_owner_and_a_thief_share_out_what_was_pushed",
    },
    Mutant {
        name: "deque_claims_without_release",
        structure: "deque",
        original: ".compare_exchange(claims, claimed, Ordering::Release, Ordering::Relaxed)",
        broken: ".compare_exchange(claims, claimed, Ordering::Relaxed, Ordering::Relaxed)",
        caught_by: "two_thieves_share_out_what_was_pushed",
    },
    Mutant {
        name: "deque_frees_without_release",
        structure: "deque",
        original: ".store(claim.from.wrapping_add(claim.count), Ordering::Release);",
        broken: ".store(claim.from.wrapping_add(claim.count), Ordering::Relaxed);",
        caught_by: "a_full_ring_is_not_overwritten_under_a_thief",
    },
    Mutant {
        name: "deque_frees_for_itself_but_not_for_the_thief_before",
        structure: "deque",
        original: "if self.freed.load(Ordering::Acquire) != from {",
        broken: "if self.freed.load(Ordering::Relaxed) != from {",
        caught_by: "a_full_ring_is_not_overwritten_under_two_thieves",
    },
    Mutant {
        name: "deque_overwrites_what_a_thief_copies",
        structure: "deque",
        original: "self.freed.set(self.ring.freed.load(Ordering::Acquire));",
        broken: "self.freed.set(unpack(self.ring.claims.load(Ordering::Acquire)).1);",
        caught_by: "a_full_ring_is_not_overwritten_under_a_thief",
    },
    Mutant {
        name: "deque_lets_two_thieves_copy_at_once",
        structure: "deque",
        original: "if self.freed.load(Ordering::Acquire) != from {",
        broken: "if false {",
        caught_by: "a_full_ring_is_not_overwritten_under_two_thieves",
    },
    Mutant {
        name: "idle_announces_without_a_fence",
        structure: "idle",
        original: "self.states[me].store(SLEEPING, Ordering::Release);
        // Ordering: the sleeper's half of the handshake in the module's head.
        fence(Ordering::SeqCst);",
        broken: "self.states[me].store(SLEEPING, Ordering::Release);",
        caught_by: "a_worker_does_not_sleep_on_what_was_delivered",
    },
    Mutant {
        name: "idle_counts_a_sleeper_that_can_be_woken_already",
        structure: "idle",
        original: "self.sleeping.fetch_add(1, Ordering::Relaxed);
        // Ordering: Release, so that a waker counts down after that.
        self.states[me].store(SLEEPING, Ordering::Release);",
        broken: "self.states[me].store(SLEEPING, Ordering::Release);
        self.sleeping.fetch_add(1, Ordering::Relaxed);",
        caught_by: "the_count_of_sleepers_does_not_go_below_0",
    },
    Mutant {
        name: "idle_wakes_in_two_steps",
        structure: "idle",
        original: "let won = place
            .compare_exchange(SLEEPING, state, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();",
        broken: "place.store(state, Ordering::Release);
        let won = true;",
        caught_by: "a_sleeper_that_is_called_and_delivered_to_at_once_rises_once",
    },
    Mutant {
        name: "idle_rises_in_two_steps",
        structure: "idle",
        original: "match self.states[me].swap(AWAKE, Ordering::Acquire) {",
        broken: "let state = self.states[me].load(Ordering::Acquire);
        self.states[me].store(AWAKE, Ordering::Relaxed);
        match state {",
        caught_by: "a_sleeper_that_is_called_and_delivered_to_at_once_rises_once",
    },
    Mutant {
        name: "idle_forgets_that_a_worker_was_called",
        structure: "idle",
        original: "CALLED => Woken::ToSearch,",
        broken: "CALLED => Woken::ForInbox,",
        caught_by: "a_sleeper_that_is_called_and_delivered_to_at_once_rises_once",
    },
    Mutant {
        name: "idle_takes_the_callers_place_in_two_steps",
        structure: "idle",
        original: ".compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {",
        broken: ".load(Ordering::Relaxed)
                != 0
            {
                return None;
            }
            if self.searching.fetch_add(1, Ordering::Relaxed) == usize::MAX {",
        caught_by: "one_is_called_at_a_time",
    },
    Mutant {
        name: "idle_calls_nobody_and_keeps_the_place",
        structure: "idle",
        original: "            self.stop_searching();
            if !self.is_any_asleep() {",
        broken: "            if !self.is_any_asleep() {",
        caught_by: "a_sleeper_that_a_caller_overlooks_is_not_left_to_it",
    },
    Mutant {
        name: "idle_calls_nobody_and_does_not_look_again",
        structure: "idle",
        original: "if !self.is_any_asleep() {",
        broken: "if true {",
        caught_by: "a_sleeper_that_a_caller_overlooks_is_not_left_to_it",
    },
    Mutant {
        name: "idle_stops_searching_without_a_fence",
        structure: "idle",
        original: "self.searching.fetch_sub(1, Ordering::Relaxed);
        // Ordering: against",
        broken: "self.searching.fetch_sub(1, Ordering::Relaxed);
        if true {
            return;
        }
        // Ordering: against",
        caught_by: "what_is_left_to_a_searcher_that_finds_something_else_is_seen",
    },
    Mutant {
        name: "idle_makes_two_scouts",
        structure: "idle",
        original: "!self.scout.swap(true, Ordering::Relaxed)",
        broken: "{
            self.scout.store(true, Ordering::Relaxed);
            true
        }",
        caught_by: "there_is_one_scout",
    },
    Mutant {
        name: "idle_resigns_as_a_scout_without_a_fence",
        structure: "idle",
        original: "self.scout.store(false, Ordering::Relaxed);",
        broken: "self.scout.store(false, Ordering::Relaxed);
        if true {
            return;
        }",
        caught_by: "a_lone_spawn_is_not_left_to_a_scout_that_has_something_to_do",
    },
    Mutant {
        name: "inbox_pushes_without_release",
        structure: "inbox",
        original: "node.as_ptr(),
                Ordering::Release,",
        broken: "node.as_ptr(),
                Ordering::Relaxed,",
        caught_by: "nothing_sent_by_two_threads_is_lost",
    },
    Mutant {
        name: "inbox_drains_in_two_steps",
        structure: "inbox",
        original: "let last = self.head.swap(ptr::null_mut(), Ordering::Acquire);",
        broken: "let last = self.head.load(Ordering::Acquire);
        self.head.store(ptr::null_mut(), Ordering::Relaxed);",
        caught_by: "nothing_sent_by_two_threads_is_lost",
    },
    Mutant {
        name: "inbox_never_says_that_it_was_empty",
        structure: "inbox",
        original: "Ok(_) => return head.is_null(),",
        broken: "Ok(_) => return false,",
        caught_by: "a_worker_that_is_woken_by_the_first_to_push_sees_all",
    },
    Mutant {
        name: "injector_stores_its_length_after_unlocking",
        structure: "injector",
        original: "self.len.store(list.len(), Ordering::Relaxed);
        drop(list);",
        broken: "let len = list.len();
        drop(list);
        self.len.store(len, Ordering::Relaxed);",
        caught_by: "the_length_is_true_once_all_is_quiet",
    },
    Mutant {
        name: "injector_stores_no_length",
        structure: "injector",
        original: "self.len.store(list.len(), Ordering::Relaxed);",
        broken: "",
        caught_by: "a_pusher_and_a_worker_going_to_sleep_cannot_both_miss_the_other",
    },
    Mutant {
        name: "requests_version_changes_before_the_list",
        structure: "requests",
        original: "self.locked(|list| list.push(letter));
        // Ordering: Relaxed. A worker that sees the version finds the letter by
        // the lock; that it sees it in time is the fences' affair. After the
        // list: a version that was seen is not looked at again.
        self.version.fetch_add(1, Ordering::Relaxed);",
        broken: "self.version.fetch_add(1, Ordering::Relaxed);
        self.locked(|list| list.push(letter));",
        caught_by: "a_home_that_goes_to_sleep_hears_of_a_request",
    },
    Mutant {
        name: "requests_that_are_not_the_lookers_are_forgotten",
        structure: "requests",
        original: "*list = rest;",
        broken: "drop(rest);",
        caught_by: "what_is_not_a_workers_own_is_left_to_the_other",
    },
    Mutant {
        name: "token_skips_an_unpark_that_finds_a_token",
        structure: "token",
        original: "let next = permit
                |",
        broken: "if state & TOKEN != 0 {
                return false;
            }
            let next = permit
                |",
        caught_by: "each_of_two_unparks_is_seen",
    },
    Mutant {
        name: "token_stays_parked_after_an_unpark",
        structure: "token",
        original: "state & !PARKED
                };",
        broken: "state
                };",
        caught_by: "two_unparks_of_a_parked_coroutine_enqueue_it_once",
    },
    Mutant {
        name: "token_forgets_an_early_unpark",
        structure: "token",
        original: "state | TOKEN
                } else {",
        broken: "state
                } else {",
        caught_by: "a_wakeup_sent_before_parking_is_not_lost",
    },
    Mutant {
        name: "token_consumes_the_permit_in_an_internal_wait",
        structure: "token",
        original: "state & !TOKEN
            };",
        broken: "state & !(TOKEN | PERMIT)
            };",
        caught_by: "an_internal_wait_leaves_the_permit",
    },
    Mutant {
        name: "token_takes_the_permit_without_acquire",
        structure: "token",
        original: "self.state.fetch_and(!(PERMIT | TOKEN), Ordering::Acquire);",
        broken: "self.state.fetch_and(!(PERMIT | TOKEN), Ordering::Relaxed);",
        caught_by: "what_was_done_before_an_unpark_with_permit_is_seen_after_the_permit_is_taken",
    },
    Mutant {
        name: "life_registers_a_joiner_without_release",
        structure: "life",
        original: "self.word.fetch_or(JOINING, Ordering::AcqRel)",
        broken: "self.word.fetch_or(JOINING, Ordering::Acquire)",
        caught_by: "a_joiner_is_woken_or_hears_that_it_is_done",
    },
    Mutant {
        name: "life_frees_without_acquire",
        structure: "life",
        original: "if self.word.load(Ordering::Acquire) / ONE == 1 {",
        broken: "if self.word.load(Ordering::Relaxed) / ONE == 1 {",
        caught_by: "the_last_of_three_frees_the_block_after_the_others",
    },
    Mutant {
        name: "life_withdraws_whatever_has_happened",
        structure: "life",
        original: "self.word.fetch_and(!JOINING, Ordering::Acquire) & DONE == 0",
        broken: "{ self.word.fetch_and(!JOINING, Ordering::Acquire); true }",
        caught_by: "a_joiner_that_withdraws_has_its_cell_back_or_is_woken",
    },
    Mutant {
        name: "life_shows_its_callbacks_without_release",
        structure: "life",
        original: "self.word.fetch_or(WATCHED, Ordering::AcqRel)",
        broken: "self.word.fetch_or(WATCHED, Ordering::Acquire)",
        caught_by: "a_callback_is_the_finishers_or_whose_it_is",
    },
    Mutant {
        name: "life_leaves_the_first_late_callback_to_nobody",
        structure: "life",
        original: "before & (DONE | WATCHED) == DONE",
        broken: "before & (DONE | WATCHED) == DONE | WATCHED",
        caught_by: "a_callback_is_the_finishers_or_whose_it_is",
    },
    Mutant {
        name: "life_lets_go_of_a_block_with_callbacks",
        structure: "life",
        original: "let next = if word & (JOINING | WATCHED) == 0 {",
        broken: "let next = if word & JOINING == 0 {",
        caught_by: "a_callback_is_the_finishers_or_whose_it_is",
    },
    Mutant {
        name: "life_lets_go_of_the_block_before_it_wakes_the_joiner",
        structure: "life",
        original: "word | DONE
            };",
        broken: "(word | DONE) - ONE
            };",
        caught_by: "a_joiner_is_woken_or_hears_that_it_is_done",
    },
    Mutant {
        name: "exits_leave_what_came_while_others_were_called",
        structure: "exits",
        original: "            while let Some(callback) = list.next() {
                call(callback);
            }",
        broken: "            if let Some(callback) = list.next() {
                call(callback);
            }",
        caught_by: "each_of_two_callbacks_is_called_once_around_the_end",
    },
    Mutant {
        name: "exits_never_close",
        structure: "exits",
        original: "waiting.closed = next.is_none();",
        broken: "",
        caught_by: "each_of_two_callbacks_is_called_once_around_the_end",
    },
    Mutant {
        name: "exits_forget_the_list_of_who_came_first",
        structure: "exits",
        original: "        // Ordering: Release publishes the list, Acquire is for another's.",
        broken: "        if true {
            self.list.store(new, Ordering::Release);
            // SAFETY: a model frees nothing before its end.
            return unsafe { &*new };
        }",
        caught_by: "each_of_two_callbacks_is_called_once_around_the_end",
    },
    Mutant {
        name: "countdown_wakes_nobody",
        structure: "countdown",
        original: "            wakeup.wake();",
        broken: "            std::mem::forget(wakeup);",
        caught_by: "who_waits_goes_on_when_both_are_over",
    },
    Mutant {
        name: "countdown_looks_before_it_has_the_lock",
        structure: "countdown",
        original: "            let mut state = self.state.lock();
            if state.left == 0 {
                return true;
            }
            party.open();",
        broken: "            if self.state.lock().left == 0 {
                return true;
            }
            let mut state = self.state.lock();
            party.open();",
        caught_by: "who_waits_goes_on_when_both_are_over",
    },
    Mutant {
        name: "countdown_wakes_when_one_is_left",
        structure: "countdown",
        original: "if state.left > 0 {",
        broken: "if state.left != 1 {",
        caught_by: "who_waits_goes_on_when_both_are_over",
    },
    Mutant {
        name: "finished_wakes_nobody",
        structure: "finished",
        original: "            wakeup.wake();",
        broken: "            std::mem::forget(wakeup);",
        caught_by: "each_of_two_is_seen_once",
    },
    Mutant {
        name: "finished_looks_before_it_has_the_lock",
        structure: "finished",
        original: "            let mut state = self.state.lock();
            if let Some(number) = state.numbers.pop_front() {
                return Next::Number(number);
            }",
        broken: "            if let Some(number) = self.state.lock().numbers.pop_front() {
                return Next::Number(number);
            }
            let mut state = self.state.lock();",
        caught_by: "each_of_two_is_seen_once",
    },
    Mutant {
        name: "finished_stays_in_the_queue_past_its_deadline",
        structure: "finished",
        original: "            self.state.lock().waiting.remove(&entry);",
        broken: "            let _ = &entry;",
        caught_by: "one_that_gives_up_leaves_the_next_to_the_next_wait",
    },
];

/// Mutants of what a file of models copies from elsewhere in the runtime: a
/// protocol of which the structure is but one half.
pub(crate) const MISUSES: &[Mutant] = &[
    Mutant {
        name: "requests_canceller_looks_for_the_home_without_a_fence",
        structure: "requests",
        original: "self.cancels.push(id);
        fence(Ordering::SeqCst);",
        broken: "self.cancels.push(id);",
        caught_by: "a_home_that_goes_to_sleep_hears_of_a_request",
    },
    Mutant {
        name: "requests_worker_does_not_look_again_before_it_sleeps",
        structure: "requests",
        original: "if !self.has_requests() {",
        broken: "if true {",
        caught_by: "a_home_that_goes_to_sleep_hears_of_a_request",
    },
    Mutant {
        name: "idle_worker_does_not_look_again_before_it_sleeps",
        structure: "idle",
        original: "if self.must_stay_up() {",
        broken: "if false {",
        caught_by: "a_worker_that_gives_up_searching_does_not_sleep_on_what_is_injected",
    },
    Mutant {
        name: "idle_worker_does_not_look_into_its_inbox_before_it_sleeps",
        structure: "idle",
        original: "!self.shared.remotes[self.me].inbox.is_empty()
            || ",
        broken: "",
        caught_by: "a_worker_does_not_sleep_on_what_was_delivered",
    },
    Mutant {
        name: "idle_sender_delivers_without_a_fence",
        structure: "idle",
        original: ".push(self.nodes[id].send()) {
            fence(Ordering::SeqCst);",
        broken: ".push(self.nodes[id].send()) {",
        caught_by: "a_worker_does_not_sleep_on_what_was_delivered",
    },
    Mutant {
        name: "idle_outsider_injects_without_a_fence",
        structure: "idle",
        original: "self.injector.push(self.nodes[id].send());
        fence(Ordering::SeqCst);",
        broken: "self.injector.push(self.nodes[id].send());",
        caught_by: "a_worker_that_gives_up_searching_does_not_sleep_on_what_is_injected",
    },
    Mutant {
        name: "idle_searcher_finds_something_and_does_not_look_again",
        structure: "idle",
        original: "if self.mine.get() >= least || self.is_work_elsewhere(least) {",
        broken: "if least > BACKLOG {",
        caught_by: "what_is_left_to_a_searcher_that_finds_something_else_is_seen",
    },
    Mutant {
        name: "idle_spawner_looks_for_a_scout_without_a_fence",
        structure: "idle",
        original: "fence(Ordering::SeqCst);
        if waiting == 1 && self.idle.has_scout() {",
        broken: "if waiting == 1 && self.idle.has_scout() {",
        caught_by: "a_lone_spawn_is_not_left_to_a_scout_that_has_something_to_do",
    },
    Mutant {
        name: "idle_worker_that_is_no_scout_does_not_look_for_a_lone_spawn",
        structure: "idle",
        original: "if !scout && self.nobody_watches() {",
        broken: "if false {",
        caught_by: "a_lone_spawn_is_seen_by_one_that_takes_all_for_asleep",
    },
    Mutant {
        name: "idle_worker_leaves_to_a_searcher_what_it_took_without_a_fence",
        structure: "idle",
        original: "fence(Ordering::SeqCst);
        if idle.somebody_searches() {",
        broken: "if idle.somebody_searches() {",
        caught_by: "what_one_takes_beyond_its_need_is_not_left_to_a_searcher_that_misses_it",
    },
    Mutant {
        name: "idle_worker_leaves_what_it_took_beyond_its_need",
        structure: "idle",
        original: "self.mine.get() >= least || ",
        broken: "",
        caught_by: "what_one_takes_beyond_its_need_is_not_left_to_a_searcher_that_misses_it",
    },
    Mutant {
        name: "idle_scout_resigns_and_does_not_look_again",
        structure: "idle",
        original: "scout.found();",
        broken: "",
        caught_by: "a_lone_spawn_is_not_left_to_a_scout_that_has_something_to_do",
    },
    Mutant {
        name: "idle_last_worker_takes_notice_without_a_fence",
        structure: "idle",
        original: "+ 1 == self.remotes.len() {
            fence(Ordering::SeqCst);
            self.wake_all();",
        broken: "+ 1 == self.remotes.len() {
            self.wake_all();",
        caught_by: "nothing_stays_in_the_injector_of_a_runtime_that_has_stopped",
    },
    Mutant {
        name: "idle_last_worker_takes_notice_and_wakes_nobody",
        structure: "idle",
        original: "+ 1 == self.remotes.len() {
            fence(Ordering::SeqCst);
            self.wake_all();",
        broken: "+ 1 == self.remotes.len() {
            fence(Ordering::SeqCst);",
        caught_by: "the_last_to_take_notice_wakes_those_that_wait_for_it",
    },
    Mutant {
        name: "idle_outsider_injects_whether_it_stops_or_not",
        structure: "idle",
        original: "if self.is_stopping() {",
        broken: "if false {",
        caught_by: "nothing_stays_in_the_injector_of_a_runtime_that_has_stopped",
    },
];
