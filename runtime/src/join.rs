//! Waiting for several coroutines: all of them, some, each as it ends, or the first.

use std::convert::Infallible;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::coroutine::outcome::JoinError;
use crate::scope::ScopedJoinHandle;
use crate::spawn::JoinHandle;
use crate::sync::finished::{Finished, Next, Ticket};
use crate::task_group::{TaskError, TaskGroup, task_group};

/// Calls several closures at once, each in a coroutine of its own, waits for all of
/// them and returns a tuple of what they returned. They may borrow, as in a
/// [`scope`](crate::scope), which this is.
///
/// ```
/// let text = String::from("both borrow this");
/// let (words, letters) = filature::join!(
///     || text.split(' ').count(),
///     || text.chars().filter(|c| c.is_alphabetic()).count(),
/// );
/// assert_eq!((words, letters), (3, 14));
/// ```
///
/// # Panics
///
/// If a closure panics, with the panic of the first of them, in the order in which they
/// are given, after having waited for all; the panic hook is told of the others. And if
/// one cannot be started, or cancels itself. So in a destructor that a shutdown runs,
/// where nothing is started any more, call the closures one after the other.
///
/// # Cancellation
///
/// As [`scope`](crate::scope).
#[macro_export]
macro_rules! join {
    (@spawn $scope:ident [$($handle:ident)+]) => {
        ($($crate::macros::joined($handle),)+)
    };
    (@spawn $scope:ident [$($handle:ident)*] $f:expr, $($rest:expr,)*) => {{
        let handle = $scope.spawn($f);
        $crate::join!(@spawn $scope [$($handle)* handle] $($rest,)*)
    }};
    ($($f:expr),+ $(,)?) => {
        $crate::scope(|scope| $crate::join!(@spawn scope [] $($f,)+))
    };
}

/// For `join!`.
#[track_caller]
pub fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    match handle.join().map_err(JoinError::into_panic) {
        Ok(value) => value,
        Err(Ok(payload)) => resume_unwind(payload),
        Err(Err(e)) => panic!("join!: {e}"),
    }
}

/// Calls several closures at once, each in a coroutine of its own, and returns what the
/// first to end returns. The others are cancelled, and waited for: they may borrow.
/// [`race()`] is the same for any number of closures.
///
/// ```
/// use std::time::Duration;
///
/// let first = filature::race!(
///     || {
///         filature::sleep(Duration::from_secs(3600));
///         "slept"
///     },
///     || "did not sleep",
/// );
/// assert_eq!(first, "did not sleep");
/// ```
#[macro_export]
macro_rules! race {
    ($($f:expr),+ $(,)?) => {
        match $crate::macros::race_by(|group| {
            $(
                let racer = $f;
                group.spawn(move || ::core::result::Result::Err(racer()));
            )+
        }) {
            ::core::option::Option::Some(value) => value,
            ::core::option::Option::None => ::core::unreachable!("there is a closure"),
        }
    };
}

/// Calls closures at once, each in a coroutine of its own, and returns what the first
/// to end returns; nothing if there are none. The others are cancelled, and waited for:
/// they may borrow. One that has not started when the first ends never does.
///
/// ```
/// let hosts = ["a.example", "b.example"];
/// let first = filature::race(hosts.iter().map(|host| move || host.len()));
/// assert_eq!(first, Some(9));
/// ```
///
/// What others return after the first is dropped. The panic hook is told of their
/// panics, as of any.
///
/// # Panics
///
/// If the first to end panicked, with its panic, and if it could not be started or was
/// cancelled by itself or others.
///
/// # Cancellation
///
/// As [`task_group`]. If one has ended already its result is returned, and
/// the cancellation stays pending.
#[track_caller]
pub fn race<'env, I, F, T>(closures: I) -> Option<T>
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send + 'env,
    T: Send + 'env,
{
    race_by::<'env>(|group| {
        for racer in closures {
            group.spawn(move || Err(racer()));
        }
    })
}

/// For `race!`: a group in which to win is to fail.
#[track_caller]
pub fn race_by<'env, T, F>(f: F) -> Option<T>
where
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env, Infallible, T>),
{
    let (_, first) = task_group(f).err()?.into_iter().next()?;
    match first {
        TaskError::Failed(value) => Some(value),
        TaskError::Ended(e) => match e.into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(e) => panic!("race: {e}"),
        },
    }
}

/// Joins all of them: the results in the order of the handles.
///
/// ```
/// use filature::{join_all, spawn};
///
/// let squares = (1..=3).map(|n| spawn(move || n * n));
/// let squares: Result<Vec<_>, _> = join_all(squares).into_iter().collect();
/// assert_eq!(squares.unwrap(), [1, 4, 9]);
/// ```
///
/// [`JoinAll`] has a time limit and other reasons not to wait for all.
///
/// # Cancellation
///
/// As [`JoinHandle::join`]: those that are left are detached.
pub fn join_all<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<Result<T, JoinError>> {
    let handles: Vec<_> = handles.into_iter().collect();
    handles.into_iter().map(JoinHandle::join).collect()
}

/// Joins several, but not at any price: a time limit, the first failure or a number of
/// results may be enough. The options are those of gevent's `joinall`.
///
/// ```
/// use filature::{JoinAll, park, spawn};
/// # use std::time::Duration;
///
/// let handles = [spawn(|| 1), spawn(|| { park(); 2 })];
/// let joined = JoinAll::new().count(1).join(handles);
/// assert!(matches!(joined.finished[..], [(0, Ok(1))]));
///
/// let [(1, parked)] = <[_; 1]>::try_from(joined.unfinished).unwrap() else { panic!() };
/// parked.coroutine().unpark();
/// assert_eq!(parked.join().unwrap(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct JoinAll {
    timeout: Option<Duration>,
    count: Option<usize>,
    fail_fast: bool,
}

/// What [`JoinAll::join`] returns. Each comes with its number among the handles.
#[derive(Debug)]
pub struct Joined<T> {
    /// Those that have ended, in the order in which they did.
    pub finished: Vec<(usize, Result<T, JoinError>)>,
    /// The others, which go on. One may have ended meanwhile.
    pub unfinished: Vec<(usize, JoinHandle<T>)>,
}

impl JoinAll {
    /// Waits for all.
    pub fn new() -> JoinAll {
        JoinAll::default()
    }

    /// Waits no longer than that. With zero, takes what has ended already.
    pub fn timeout(mut self, timeout: Duration) -> JoinAll {
        self.timeout = Some(timeout);
        self
    }

    /// Waits until that many have ended.
    pub fn count(mut self, count: usize) -> JoinAll {
        self.count = Some(count);
        self
    }

    /// Waits until one has no value to return.
    pub fn fail_fast(mut self) -> JoinAll {
        self.fail_fast = true;
        self
    }

    /// Waits, a coroutine suspended, a plain thread blocked.
    ///
    /// # Cancellation
    ///
    /// As [`JoinHandle::join`]: all of them are detached.
    pub fn join<T>(&self, handles: impl IntoIterator<Item = JoinHandle<T>>) -> Joined<T> {
        let deadline = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let mut those_left = iter_finished(handles);
        let mut finished = Vec::new();
        while self.count.is_none_or(|count| finished.len() < count)
            && let Some(next) = those_left.next_until(deadline)
        {
            let failed = next.1.is_err();
            finished.push(next);
            if failed && self.fail_fast {
                break;
            }
        }
        Joined {
            finished,
            unfinished: those_left.into_unfinished(),
        }
    }
}

/// Joins several, each as it ends.
///
/// ```
/// use filature::{iter_finished, spawn, yield_now};
///
/// let slow = spawn(|| { filature::park(); "slow" });
/// let unpark = slow.coroutine().clone();
/// let mut finished = iter_finished([slow, spawn(|| "quick")]);
/// assert!(matches!(finished.next(), Some((1, Ok("quick")))));
/// unpark.unpark();
/// assert!(matches!(finished.next(), Some((0, Ok("slow")))));
/// assert!(finished.next().is_none());
/// ```
///
/// Those that have ended before the call come first, in the order of the handles.
pub fn iter_finished<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> IterFinished<T> {
    let handles: Vec<_> = handles.into_iter().map(Some).collect();
    let finished = Arc::new(Finished::new(handles.len()));
    for (number, handle) in handles.iter().flatten().enumerate() {
        if let Err(ticket) = handle.enter(Ticket::new(&finished, number)) {
            ticket.hand_in();
        }
    }
    IterFinished {
        left: handles.len(),
        handles,
        finished,
    }
}

/// Outcomes in the order in which coroutines end, each with its number among the
/// handles; made by [`iter_finished`].
///
/// Dropping it detaches those that are left.
///
/// # Cancellation
///
/// Waiting for the next is a suspension, at which a cancellation unwinds as out of
/// [`JoinHandle::join`].
pub struct IterFinished<T> {
    /// Those that were not handed out; the rest are in `finished`, or will be.
    handles: Vec<Option<JoinHandle<T>>>,
    finished: Arc<Finished>,
    left: usize,
}

impl<T> IterFinished<T> {
    /// None: all have been handed out, or the deadline has passed.
    fn next_until(&mut self, deadline: Option<Instant>) -> Option<(usize, Result<T, JoinError>)> {
        if self.left == 0 {
            return None;
        }
        let Next::Number(number) = self.finished.next(deadline) else {
            return None;
        };
        self.left -= 1;
        let handle = self.handles[number].take().expect("it ends once");
        Some((number, handle.join()))
    }

    fn into_unfinished(mut self) -> Vec<(usize, JoinHandle<T>)> {
        self.withdraw();
        let handles = std::mem::take(&mut self.handles);
        let numbered = handles.into_iter().enumerate();
        numbered
            .filter_map(|(number, handle)| Some((number, handle?)))
            .collect()
    }

    fn withdraw(&self) {
        for handle in self.handles.iter().flatten() {
            handle.withdraw();
        }
    }
}

impl<T> Iterator for IterFinished<T> {
    type Item = (usize, Result<T, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for IterFinished<T> {}
impl<T> FusedIterator for IterFinished<T> {}

impl<T> Drop for IterFinished<T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for IterFinished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterFinished")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
