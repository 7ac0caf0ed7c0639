//! What a rule says when it forbids: who is in the way, and what would help. Becomes one [`Error`] of kind
//! [`HasDependents`](ErrorKind::HasDependents) at the crate's edge; nothing was changed then.

use serde::Serialize;

use super::destroy::{Blocker, Cause};
use super::{Lineage, NodeRole};
use crate::engine::ContainerKey;
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

impl Lineage {
    /// Builds the refusal of `verb` for volumes that are in the way because they need data that would change.
    pub(super) fn refusal(&self, verb: &'static str, key: &ContainerKey, blockers: &[usize]) -> Refusal {
        let blocker = |position: &usize| Blocker::new(self, *position, Cause::Dependent);
        let blockers: Vec<Blocker> = blockers.iter().map(blocker).collect();
        let mut remedies = self.flatten_remedies(&blockers);
        let name = &key.name;
        match verb {
            "start" | "write to" => {
                let command = self.command(key, &format!("clone {name} NEW"));
                remedies.push(format!("`{command}` makes another container to work in"));
            }
            "restore" => {
                let command = self.command(key, &format!("snapshot restore {name} SNAPSHOT --as NEW"));
                remedies.push(format!("`{command}` makes a new container of it"));
            }
            _ => {}
        }
        let subject = self.head(key).map_or_else(|| name.to_string(), |head| head.display(&self.lxcpath));
        Refusal { verb, subject, blockers, remedies }
    }

    /// Returns what takes blockers out of the way without destroying what they show.
    pub(super) fn flatten_remedies(&self, blockers: &[Blocker]) -> Vec<String> {
        let dependents = blockers.iter().filter(|blocker| blocker.cause == Cause::Dependent);
        let heads = dependents.filter(|blocker| blocker.role == NodeRole::Head);
        heads
            .map(|blocker| {
                let Blocker { container, name, .. } = blocker;
                let command = self.command(container, &format!("flatten {}", container.name));
                format!("`{command}` gives `{name}` data of its own")
            })
            .collect()
    }

    /// Returns a command about a container as a user seated in our lxcpath must write it.
    pub(super) fn command(&self, key: &ContainerKey, words: &str) -> String {
        if key.lxcpath == self.lxcpath {
            return format!("keiki {words}");
        }
        format!("keiki --lxcpath {} {words}", key.lxcpath.display())
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
