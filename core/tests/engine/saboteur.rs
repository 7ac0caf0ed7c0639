//! Observers that write down the steps of an operation and break it at one of them.

use std::sync::Arc;
use std::sync::Mutex;

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::{Error, ErrorKind, Result};

/// How an operation is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// One step fails, the way back is free.
    Once,
    /// This step and every later one fails, as if the process had died here.
    ForEver,
}

/// Counts steps, and fails at the chosen one.
#[derive(Debug)]
pub(crate) struct Saboteur {
    steps: Mutex<Vec<String>>,
    at: Option<(usize, Blow)>,
}

impl Saboteur {
    /// Only listens.
    pub(crate) fn listening() -> Arc<Self> {
        Arc::new(Self { steps: Mutex::default(), at: None })
    }

    /// Strikes at the `nth` step, counted from 0.
    pub(crate) fn striking(nth: usize, blow: Blow) -> Arc<Self> {
        Arc::new(Self { steps: Mutex::default(), at: Some((nth, blow)) })
    }

    pub(crate) fn context(self: &Arc<Self>) -> Context {
        Context::new(self.clone())
    }

    pub(crate) fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap().clone()
    }
}

impl Observer for Saboteur {
    fn step(&self, name: &str) -> Result<()> {
        let mut steps = self.steps.lock().unwrap();
        let index = steps.len();
        steps.push(name.to_owned());
        let strikes = match self.at {
            Some((nth, Blow::Once)) => index == nth,
            Some((nth, Blow::ForEver)) => index >= nth,
            None => false,
        };
        if strikes {
            return Err(Error::new(ErrorKind::NoSpace, format!("sabotaged at `{name}`")));
        }
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}
