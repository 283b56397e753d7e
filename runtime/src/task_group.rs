//! [`task_group`]: coroutines of which the first to fail takes the others along.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::coroutine::outcome::{JoinError, Unwinding};
use crate::nursery::{Nursery, OnPanic, Ran, unwind_told};
use crate::scheduler::wait::here;
use crate::spawn::{Builder, JoinHandle, unwind_too};

/// Where tasks are spawned that succeed together or not at all; made by
/// [`task_group`]. A task is a coroutine that returns a `Result<T, E>` and may borrow
/// what lives for `'env`.
pub struct TaskGroup<'scope, 'env: 'scope, T, E> {
    nursery: Nursery,
    outcomes: Mutex<Outcomes<T, E>>,
    // Invariant, as a `Scope`'s.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

struct Outcomes<T, E> {
    /// In the order of spawning.
    tasks: Vec<Task<T>>,
    /// In the order in which they happened. None: the task was dropped unrun, and its
    /// handle knows why.
    errors: Vec<(usize, Option<TaskError<E>>)>,
}

enum Task<T> {
    Unfinished(Option<JoinHandle<()>>),
    Succeeded(T),
    Failed,
}

/// Calls `f` with a group, in which it spawns tasks, and waits for all of them.
/// Returns what they returned, in the order in which they were spawned. The first that
/// fails cancels the others; what went wrong until all had ended is in the error.
///
/// ```
/// use filature::{TaskError, sleep, task_group};
/// # use std::time::Duration;
///
/// let words = ["six", "times", "seven"];
/// let lengths = task_group(|group| {
///     for word in &words {
///         group.spawn(|| Ok::<_, String>(word.len()));
///     }
/// });
/// assert_eq!(lengths.unwrap(), [3, 5, 5]);
///
/// let failed = task_group(|group| {
///     group.spawn(|| Ok(sleep(Duration::from_secs(3600))));
///     group.spawn(|| Err("no answer"));
/// });
/// let errors = failed.unwrap_err();
/// assert_eq!(errors.len(), 1);
/// assert!(matches!(errors.first(), (1, TaskError::Failed("no answer"))));
/// ```
///
/// The idea is that of trio's nurseries and of asyncio's `TaskGroup`. It is a call that
/// takes a closure, and not a value, so that tasks may borrow and nothing can be
/// forgotten: as [`scope`](crate::scope), it neither returns nor unwinds while a task is
/// left. Tasks may spawn others in the group. `f` itself is not cut short when a task
/// fails, so what takes long belongs in a task; what is spawned in a group that has
/// failed never runs.
///
/// The tasks run on the caller's runtime, those of a plain thread on the process-wide
/// one.
///
/// # Errors
///
/// If a task returned an error, panicked, could not be started, or was cancelled by
/// anything but the group.
///
/// # Panics
///
/// With `f`'s panic if it panics, after having cancelled the tasks and waited for them.
///
/// # Cancellation
///
/// A coroutine that is cancelled, or whose runtime is shut down, while it is in `f` or
/// waits after it cancels the tasks, waits for them, and then unwinds from here. If
/// tasks have failed it returns their errors instead, and the cancellation stays
/// pending. Under `panic = "abort"` nothing is cancelled.
///
/// A borrow ends where the group does:
///
/// ```compile_fail,E0373
/// filature::task_group(|group| {
///     let inside = String::from("gone before the group");
///     group.spawn(|| Ok::<_, ()>(inside.len()));
/// });
/// ```
///
/// and what goes into a task is `Send`:
///
/// ```compile_fail,E0277
/// let not_send = std::rc::Rc::new(1);
/// filature::task_group(|group| {
///     group.spawn(|| Ok::<_, ()>(println!("{not_send}")));
/// });
/// ```
///
/// as is what comes out of it:
///
/// ```compile_fail,E0277
/// filature::task_group(|group| {
///     group.spawn(|| Ok::<_, ()>(std::rc::Rc::new(1)));
/// });
/// ```
#[track_caller]
pub fn task_group<'env, T, E, F>(f: F) -> Result<Vec<T>, TaskErrors<E>>
where
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env, T, E>),
{
    let group = TaskGroup {
        nursery: Nursery::new(),
        outcomes: Mutex::new(Outcomes {
            tasks: Vec::new(),
            errors: Vec::new(),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let Ran { value: (), told } = group.nursery.run(OnPanic::CancelThem, || f(&group));
    let Outcomes { mut tasks, errors } = mem::replace(
        &mut *group.outcomes(),
        Outcomes {
            tasks: Vec::new(),
            errors: Vec::new(),
        },
    );
    let errors: Vec<_> = errors
        .into_iter()
        .map(|(number, error)| (number, error.unwrap_or_else(|| tasks[number].why())))
        .collect();
    let are_cancellations = |(_, error): &(usize, TaskError<E>)| matches!(error, TaskError::Ended(e) if e.is_cancelled());
    if errors.iter().all(are_cancellations) {
        // As for a join of what fell to the caller's own end.
        if told {
            unwind_told();
        } else if !errors.is_empty() {
            unwind_too(false);
        }
    } else if told
        && let Some(here) = here()
        && here.is_last_chance()
    {
        here.unwind();
    }
    if !errors.is_empty() {
        return Err(TaskErrors { errors });
    }
    let values = tasks.into_iter().map(|task| match task {
        Task::Succeeded(value) => value,
        Task::Unfinished(_) | Task::Failed => unreachable!("no task failed, none is left"),
    });
    Ok(values.collect())
}

impl<'scope, 'env, T, E> TaskGroup<'scope, 'env, T, E> {
    /// Spawns a task. If it cannot be had, that is the task's failure.
    #[track_caller]
    pub fn spawn<F>(&'scope self, f: F)
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
        E: Send + 'scope,
    {
        self.spawn_with(Builder::new(), f);
    }

    /// Spawns a task with a name or a stack size.
    #[track_caller]
    pub fn spawn_with<F>(&'scope self, builder: Builder, f: F)
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
        E: Send + 'scope,
    {
        let number = {
            let tasks = &mut self.outcomes().tasks;
            tasks.push(Task::Unfinished(None));
            tasks.len() - 1
        };
        let unrun = Unrun {
            group: self,
            number,
        };
        let body = move || unrun.run(f);
        // SAFETY: a group can only be had for `'scope`, which is within the call that
        // waits for the task and outlived by all that the closure borrows.
        let spawned = unsafe { self.nursery.spawn(builder, body) };
        let mut outcomes = self.outcomes();
        let ended = match (&mut outcomes.tasks[number], spawned) {
            (Task::Unfinished(place), Ok(handle)) => place.replace(handle),
            (_, Ok(handle)) => Some(handle),
            (_, Err(e)) => {
                // Dropping `unrun` has noted that it failed.
                let error = outcomes.errors.iter_mut().find(|(n, _)| *n == number);
                if let Some((_, why)) = error {
                    *why = Some(TaskError::Ended(JoinError::NotStarted(e)));
                }
                None
            }
        };
        drop(outcomes);
        drop(ended);
    }

    /// Whether the group has failed, or is cancelled, so that what is spawned in it
    /// never runs.
    pub fn is_cancelled(&self) -> bool {
        self.nursery.is_cancelled()
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes<T, E>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the end of a task that has run.
    fn end(&self, number: usize, end: Result<T, TaskError<E>>) {
        let failed = end.is_err();
        let mut outcomes = self.outcomes();
        let task = match end {
            Ok(value) => Task::Succeeded(value),
            Err(error) => {
                outcomes.errors.push((number, Some(error)));
                Task::Failed
            }
        };
        let before = mem::replace(&mut outcomes.tasks[number], task);
        drop(outcomes);
        drop(before);
        if failed {
            self.nursery.cancel();
        }
    }
}

/// A task that has not run.
struct Unrun<'scope, 'env, T, E> {
    group: &'scope TaskGroup<'scope, 'env, T, E>,
    number: usize,
}

impl<T, E> Unrun<'_, '_, T, E> {
    fn run(self, f: impl FnOnce() -> Result<T, E>) {
        let Unrun { group, number } = self;
        mem::forget(self);
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(value)) => group.end(number, Ok(value)),
            Ok(Err(error)) => group.end(number, Err(TaskError::Failed(error))),
            Err(payload) if payload.is::<Unwinding>() => {
                if !group.is_cancelled() {
                    group.end(number, Err(TaskError::Ended(JoinError::Cancelled)));
                }
                resume_unwind(payload);
            }
            Err(payload) => {
                group.end(number, Err(TaskError::Ended(JoinError::Panicked(payload))));
            }
        }
    }
}

impl<T, E> Drop for Unrun<'_, '_, T, E> {
    /// It could not start, or was cancelled before.
    fn drop(&mut self) {
        if !self.group.is_cancelled() {
            self.group.outcomes().errors.push((self.number, None));
            self.group.nursery.cancel();
        }
    }
}

impl<T> Task<T> {
    /// Why it was dropped unrun.
    fn why<E>(&mut self) -> TaskError<E> {
        let Task::Unfinished(Some(handle)) = mem::replace(self, Task::Failed) else {
            unreachable!("it was spawned, and has not run");
        };
        match handle.join_masked() {
            Err(why) => TaskError::Ended(why),
            Ok(()) => unreachable!("it has not run"),
        }
    }
}

impl<T, E> fmt::Debug for TaskGroup<'_, '_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Why a task of a [`task_group`] has no value to return.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError<E> {
    /// It returned this error.
    Failed(E),
    /// It panicked, could not be started, or was cancelled by others than the group.
    Ended(JoinError),
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Failed(e) => e.fmt(f),
            TaskError::Ended(e) => e.fmt(f),
        }
    }
}

impl<E: Error> Error for TaskError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TaskError::Failed(e) => e.source(),
            TaskError::Ended(e) => e.source(),
        }
    }
}

/// All that went wrong in a [`task_group`], in the order in which it happened: each
/// error with the number of its task, counted from 0 in the order of spawning. There is
/// at least one. Tasks that the group itself cancelled are not in it.
#[derive(Debug)]
pub struct TaskErrors<E> {
    errors: Vec<(usize, TaskError<E>)>,
}

impl<E> TaskErrors<E> {
    /// The one that cancelled the other tasks.
    pub fn first(&self) -> (usize, &TaskError<E>) {
        let (number, error) = &self.errors[0];
        (*number, error)
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is at least one, always")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &TaskError<E>)> {
        self.errors.iter().map(|(number, error)| (*number, error))
    }
}

impl<E> IntoIterator for TaskErrors<E> {
    type Item = (usize, TaskError<E>);
    type IntoIter = std::vec::IntoIter<(usize, TaskError<E>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.into_iter()
    }
}

impl<E: fmt::Display> fmt::Display for TaskErrors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, error) = self.first();
        write!(f, "task {number} failed: {error}")?;
        match self.len() - 1 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl<E: Error + 'static> Error for TaskErrors<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first().1.source()
    }
}
