//! [`WaitGroup`].

use std::fmt;
use std::sync::Arc;

use super::event::Event;

/// Waits until all clones of it are dropped: until all parts of some work are done. Shaped as
/// `crossbeam_utils::sync::WaitGroup`, since what is dropped in the end is counted also if its holder panics or is
/// cancelled, where a count that is taken down by hand would be forgotten.
///
/// ```
/// use filature::{spawn, sync::WaitGroup};
///
/// # filature::run(|| {
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let group = group.clone();
///     spawn(move || {
///         // some work
///         drop(group);
///     });
/// }
/// group.wait();
/// # });
/// ```
///
/// A coroutine that waits suspends, a plain thread blocks. What was done before a clone was dropped is seen behind the
/// wait. A clone that is forgotten is waited for, for ever.
#[derive(Clone)]
pub struct WaitGroup {
    member: Arc<Member>,
}

/// What all clones have in common: the last to go drops it.
struct Member {
    all_gone: Arc<Event>,
}

impl WaitGroup {
    /// The first of its group.
    #[must_use]
    pub fn new() -> WaitGroup {
        WaitGroup {
            member: Arc::new(Member {
                all_gone: Arc::new(Event::new()),
            }),
        }
    }

    /// Drops this one, and waits until all others are dropped.
    ///
    /// # Cancellation
    ///
    /// Waiting is a suspension: a coroutine that is cancelled there unwinds; this one is dropped by then.
    pub fn wait(self) {
        let all_gone = Arc::clone(&self.member.all_gone);
        drop(self);
        all_gone.wait();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.all_gone.set();
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").finish_non_exhaustive()
    }
}
