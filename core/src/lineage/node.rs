//! One volume in the graph, and how people name it.

use std::path::Path;

use serde::Serialize;

use super::NodeId;
use crate::engine::ContainerKey;
use crate::name::SnapshotName;
use crate::volume::StoreKind;

/// What a volume is to its container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    /// What the container starts from.
    Head,
    /// A snapshot that a user made.
    Snapshot(SnapshotName),
    /// A former head, frozen by a snapshot; without a name.
    Layer,
    /// Destroyed by its user, kept because others need its data.
    Ghost,
}

impl NodeRole {
    /// Returns whether a user can name it, so that only a user's wish removes it.
    #[must_use]
    pub fn is_named(&self) -> bool {
        matches!(self, Self::Head | Self::Snapshot(_))
    }

    /// Returns the word for it in messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Head => "container",
            Self::Snapshot(_) => "snapshot",
            Self::Layer => "layer",
            Self::Ghost => "ghost",
        }
    }
}

/// One volume in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// The container that it serves, or served before it became a ghost.
    pub container: ContainerKey,
    /// What it is to that container.
    pub role: NodeRole,
    /// The store that keeps it, to be shown; no rule looks at it.
    pub store: StoreKind,
}

impl Node {
    /// Returns how a user seated in `lxcpath` names it: `name` or `name@snapshot`, with the lxcpath in front when it is
    /// another one. Layers and ghosts go by their container's name.
    #[must_use]
    pub fn display(&self, lxcpath: &Path) -> String {
        let mut text = String::new();
        if self.container.lxcpath != lxcpath {
            text.push_str(&self.container.lxcpath.to_string_lossy());
            text.push('/');
        }
        text.push_str(self.container.name.as_str());
        if let NodeRole::Snapshot(name) = &self.role {
            text.push('@');
            text.push_str(name.as_str());
        }
        text
    }
}
