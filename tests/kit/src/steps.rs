//! Listeners for the steps of an operation: one writes them down, one makes something happen at one of them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keiki_core::Result;
use keiki_core::context::{Context, Observer, Progress};

/// Writes down the names of steps, in order; a name may occur more than once.
#[derive(Debug, Default)]
pub struct Recorder {
    names: Mutex<Vec<String>>,
}

impl Recorder {
    /// Returns a recorder and the context that reports to it.
    #[must_use]
    pub fn listening() -> (Arc<Self>, Context) {
        let recorder = Arc::new(Self::default());
        let context = Context::new(Arc::clone(&recorder) as Arc<dyn Observer>);
        (recorder, context)
    }

    /// Returns the names so far.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn step(&self, name: &str) -> Result<()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

type Happening = Box<dyn Fn(&str) -> Result<()> + Send + Sync>;

/// Makes something happen at the `n`th step.
pub struct AtStep {
    wanted: usize,
    seen: AtomicUsize,
    then: Happening,
}

impl fmt::Debug for AtStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtStep").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl AtStep {
    /// Returns the context of an operation at whose step number `wanted` (from 0) `then` is called.
    pub fn context(wanted: usize, then: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Context {
        Context::new(Arc::new(Self { wanted, seen: AtomicUsize::new(0), then: Box::new(then) }))
    }
}

impl Observer for AtStep {
    fn step(&self, name: &str) -> Result<()> {
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.wanted { (self.then)(name) } else { Ok(()) }
    }

    fn progress(&self, _progress: Progress) {}
}
