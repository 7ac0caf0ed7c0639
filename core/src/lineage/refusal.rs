//! What a rule says when it forbids: who is in the way, and what would help. Becomes one [`Error`] of kind
//! [`HasDependents`](ErrorKind::HasDependents) at the crate's edge; nothing was changed then.

use serde::Serialize;

use super::Lineage;
use super::destroy::{Blocker, Cause};
use crate::error::{Error, ErrorKind};

/// Why something may not be done: every volume in the way, and what to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What was asked, as in `destroy`.
    pub verb: &'static str,
    /// To what, as the user names it.
    pub subject: String,
    /// Who is in the way; never empty.
    pub blockers: Vec<Blocker>,
    /// Commands that would help, in the order of how little they destroy.
    pub remedies: Vec<String>,
}

impl Refusal {
    /// Builds the refusal of `verb` for volumes that are in the way because they need data that would change.
    pub(super) fn of_dependents(
        lineage: &Lineage,
        verb: &'static str,
        subject: String,
        blockers: Vec<usize>,
    ) -> Self {
        let blockers: Vec<Blocker> =
            blockers.into_iter().map(|position| Blocker::new(lineage, position, Cause::Dependent)).collect();
        let mut remedies: Vec<String> = blockers.iter().filter_map(Blocker::remedy).collect();
        remedies.push(format!("`keiki clone {subject} NAME` makes another container to work in"));
        Self { verb, subject, blockers, remedies }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { verb, subject, blockers, remedies } = refusal;
        let names: Vec<&str> = blockers.iter().map(|blocker| blocker.name.as_str()).collect();
        let all = names.join(", ");
        let why = if blockers.iter().all(|blocker| blocker.cause == Cause::Snapshot) {
            format!("it has snapshots: {all}")
        } else if blockers.iter().all(|blocker| blocker.cause == Cause::Dependent) {
            format!("its data is needed by {all}")
        } else {
            format!("it has snapshots and its data is needed by others: {all}")
        };
        let error = Self::new(ErrorKind::HasDependents, format!("cannot {verb} `{subject}`: {why}"))
            .with_context("dependents", all);
        remedies.into_iter().fold(error, Self::with_hint)
    }
}
