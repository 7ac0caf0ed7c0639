//! How one volume hangs on another. The terms of a dependency are data: they were promised by the child's store when the
//! child was made, and they stay true of the child whatever its store learns later.

use serde::{Deserialize, Serialize};

use super::NodeId;
use crate::capability::{Capabilities, ParentDelete, ParentWrite, Residence};

/// What a dependency means for the parent; decided by the child's store when the child was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// What a write to the parent does to the child.
    pub write: ParentWrite,
    /// What destroying the parent means while the child exists.
    pub delete: ParentDelete,
    /// How the child finds the parent.
    pub binding: Binding,
}

/// How a child finds its parent's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// By a path: the parent's home may not be renamed.
    Path,
    /// By what the store itself keeps track of: renames are harmless.
    Store,
}

impl Dependency {
    /// Returns the terms that a store with `capabilities` sets for the parents of its volumes, or `None` when its
    /// volumes need no parent.
    #[must_use]
    pub fn of(capabilities: &Capabilities) -> Option<Self> {
        let binding = match capabilities.residence {
            Residence::Home => Binding::Path,
            Residence::Named => Binding::Store,
        };
        // A ghost has no home any more: a parent that is found by its path, in its home, cannot become one.
        let delete = match (capabilities.parent_delete, binding) {
            (ParentDelete::Deferred, Binding::Path) => ParentDelete::Refused,
            (delete, _) => delete,
        };
        let terms = Self { write: capabilities.parent_write, delete, binding };
        capabilities.clones_depend().then_some(terms)
    }

    /// Returns whether the parent's data is needed at all.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.delete != ParentDelete::Independent
    }
}

/// What an edge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// The child's data needs the parent's.
    Dependency(Dependency),
    /// The child was copied from the parent and needs it no more.
    Provenance,
}

/// One edge. A child has at most one dependency and at most one provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// What came from it.
    pub child: NodeId,
    /// Where it came from.
    pub parent: NodeId,
    /// Which kind.
    pub kind: EdgeKind,
}

impl Edge {
    /// Returns the edge that a clone made by a store with `capabilities` has: a dependency where its clones depend,
    /// else provenance.
    #[must_use]
    pub fn of_clone(child: NodeId, parent: NodeId, capabilities: &Capabilities) -> Self {
        let kind = Dependency::of(capabilities).map_or(EdgeKind::Provenance, EdgeKind::Dependency);
        Self { child, parent, kind }
    }

    /// Returns the edge of a copy.
    #[must_use]
    pub fn provenance(child: NodeId, parent: NodeId) -> Self {
        Self { child, parent, kind: EdgeKind::Provenance }
    }
}
