//! What accompanies an operation: named steps, progress, a deadline, and the way onto the blocking pool.
//!
//! [`Context::step`] is journal hook and failpoint in one. Every effect announces itself by name *before* it happens;
//! in production nobody listens, in the conformance kit the listener kills the process, returns an error or fills the
//! disk at each name in turn. Effects are blocking system calls and tools: [`Context::run`] moves them off the caller's
//! executor, and dropping the returned future never leaves an effect half run, because the effect does not see it.
//!
//! What it does not do: it never writes to a terminal and holds no lock.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// How far a long effect has come; every field only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files, directories and other entries finished.
    pub entries: u64,
    /// Bytes of content finished.
    pub bytes: u64,
}

/// Hears what an operation does.
///
/// Called from any thread, often; it must be quick and must not call back into the engine.
pub trait Observer: Send + Sync {
    /// Is told the name of the effect that comes next, `verb.effect`; an error aborts the operation there.
    ///
    /// # Errors
    /// Whatever a test wants to happen at this step.
    fn step(&self, name: &str) -> Result<()>;

    /// Is told how far the effect in progress has come.
    fn progress(&self, progress: Progress);
}

/// Hears and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step(&self, _name: &str) -> Result<()> {
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

/// What accompanies one operation; cheap to clone.
#[derive(Clone)]
pub struct Context {
    observer: Arc<dyn Observer>,
    deadline: Option<Instant>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new(Arc::new(Silent))
    }
}

impl Context {
    /// Returns a context without a deadline that reports to `observer`.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, deadline: None }
    }

    /// Sets the moment after which waiting for locks and tools gives up.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Returns the same context without its deadline: for what must be finished once it has been decided.
    #[must_use]
    pub fn without_deadline(&self) -> Self {
        Self { observer: self.observer.clone(), deadline: None }
    }

    /// Returns the deadline, if there is one.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Announces the effect that comes next.
    ///
    /// # Errors
    /// What the observer returns, and [`ErrorKind::Timeout`] after the deadline; nothing was done then.
    pub fn step(&self, name: &str) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::new(ErrorKind::Timeout, format!("the deadline passed before `{name}`")));
        }
        self.observer.step(name)
    }

    /// Reports how far the effect in progress has come.
    pub fn progress(&self, progress: Progress) {
        self.observer.progress(progress);
    }

    /// Runs `effect` on the blocking pool and waits for it.
    ///
    /// # Behavior
    /// Dropping the future stops the waiting, never the effect. The pool's threads never change namespaces or
    /// credentials; what must do so runs in a program of its own.
    ///
    /// # Requires
    /// A tokio runtime, which the engine provides around every call of a store.
    ///
    /// # Errors
    /// What the effect returns, and [`ErrorKind::Internal`] when it panicked.
    pub async fn run<T, F>(&self, effect: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T> + Send + 'static,
    {
        let context = self.clone();
        match tokio::task::spawn_blocking(move || effect(&context)).await {
            Ok(result) => result,
            Err(panic) => {
                Err(Error::new(ErrorKind::Internal, "an effect of the store broke off").with_source(panic))
            }
        }
    }
}
