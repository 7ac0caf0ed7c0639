//! Failures to come: at which verb, when within it, with which error.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The verbs at which a fault can be planted; each names its steps (`create.make`, `create.mark`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `create`.
    Create,
    /// `destroy`.
    Destroy,
    /// `probe`.
    Probe,
    /// `list`.
    List,
    /// `adopt`.
    Adopt,
    /// `usage`.
    Usage,
    /// `sync_barrier`.
    Sync,
    /// `snapshot`.
    Snapshot,
    /// `clone_from`, each job.
    Clone,
    /// `exchange`.
    Exchange,
    /// `rename`.
    Rename,
    /// `resize`.
    Resize,
    /// `set_quota`.
    Quota,
    /// `flatten`.
    Flatten,
    /// `promote`.
    Promote,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Probe => "probe",
            Self::List => "list",
            Self::Adopt => "adopt",
            Self::Usage => "usage",
            Self::Sync => "sync",
            Self::Snapshot => "snapshot",
            Self::Clone => "clone",
            Self::Exchange => "exchange",
            Self::Rename => "rename",
            Self::Resize => "resize",
            Self::Quota => "quota",
            Self::Flatten => "flatten",
            Self::Promote => "promote",
        })
    }
}

/// When a fault strikes within a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// A partial object is left; for verbs that are one step, as before.
    Halfway,
    /// Everything was done, and yet the verb fails.
    After,
}

/// A failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// At which verb.
    pub verb: Verb,
    /// At its how many-th call from now on; 1 is the next.
    pub nth: usize,
    /// When within it.
    pub moment: Moment,
    /// With which error.
    pub kind: ErrorKind,
}

/// The fault of one call, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike(pub(super) Option<Fault>);

impl Strike {
    pub(super) fn at(self, moment: Moment) -> Result<()> {
        match self.0 {
            Some(fault) if fault.moment == moment => {
                Err(Error::new(fault.kind, format!("a planted fault struck `{}`", fault.verb)))
            }
            _ => Ok(()),
        }
    }

    /// A fault within a verb that is one step strikes before it.
    pub(super) fn before_single_step(self) -> Result<()> {
        self.at(Moment::Before)?;
        self.at(Moment::Halfway)
    }
}
