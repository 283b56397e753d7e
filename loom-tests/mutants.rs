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
        name: "life_lets_go_of_the_block_before_it_wakes_the_joiner",
        structure: "life",
        original: "word | DONE
            };",
        broken: "(word | DONE) - ONE
            };",
        caught_by: "a_joiner_is_woken_or_hears_that_it_is_done",
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
