//! The stack of tasks that the threads of a walk share; it knows when nothing can come any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Result, TreeError};

/// Tasks, last in, first out.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    stopped: AtomicBool,
}

struct State<T> {
    tasks: Vec<T>,
    /// Tasks taken and not finished: each may add others.
    busy: usize,
    /// Threads that wait.
    idle: usize,
    failure: Option<TreeError>,
}

/// Counts a task as finished when it is dropped, so that a panic in a task never leaves the others waiting.
pub(super) struct Receipt<'a, T>(&'a Queue<T>);

impl<T> Receipt<'_, T> {
    /// Counts the task as finished; a failure stops every thread.
    pub(super) fn finish(self, result: Result<()>) {
        if let Err(failure) = result {
            self.0.stop(Some(failure));
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { tasks: Vec::new(), busy: 0, idle: 0, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a task failed, so that nothing more need be done.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Adds tasks.
    pub(super) fn add(&self, tasks: Vec<T>) {
        if tasks.is_empty() {
            return;
        }
        let mut state = self.lock();
        let wake = state.idle.min(tasks.len());
        state.tasks.extend(tasks);
        drop(state);
        (0..wake).for_each(|_| self.changed.notify_one());
    }

    /// Returns the next task, waiting for one; `None` when everything is done or a task failed.
    pub(super) fn take(&self) -> Option<(T, Receipt<'_, T>)> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.busy += 1;
                return Some((task, Receipt(self)));
            }
            if state.busy == 0 {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Returns whether there is nothing to take at the moment.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().tasks.is_empty()
    }

    /// Returns the first failure.
    pub(super) fn result(&self) -> Result<()> {
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    fn stop(&self, failure: Option<TreeError>) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        if state.failure.is_none() {
            state.failure = failure;
        }
        let abandoned = std::mem::take(&mut state.tasks);
        drop(state);
        self.changed.notify_all();
        drop(abandoned);
    }
}

impl<T> Drop for Receipt<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(None);
        }
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 {
            self.0.changed.notify_all();
        }
    }
}
