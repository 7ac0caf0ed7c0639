//! What a store promises.
//!
//! Capabilities are *facts with a cost*, answered for one pool (a path, a volume group, a dataset), because the same
//! store can clone in constant time on one file system and must copy on another. Whether a verb exists at all is not
//! written here: the presence of the optional group in [`BackingStore`](crate::store::BackingStore) says it, so a flag
//! cannot lie. The conformance kit proves every promise and every refusal.

use serde::{Deserialize, Serialize};

use crate::volume::StoreKind;

/// How the price of an operation grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// It does not grow with the data.
    Constant,
    /// It grows with the number of files (reflink copies).
    PerEntry,
    /// It grows with the bytes.
    PerByte,
}

/// How a snapshot comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotStyle {
    /// A second object is made beside the source, which stays as it is.
    Beside,
    /// The source is frozen where it is, and both the snapshot and the container's new head are made upon it.
    Freeze,
}

/// What a write to the parent does to those whose data needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParentWrite {
    /// Nothing: children keep what they saw.
    Free,
    /// It would show through: the parent must not be started or written while children exist.
    Forbidden,
}

/// What destroying a parent means while children exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParentDelete {
    /// Children are independent; there is no dependency at all.
    Independent,
    /// The name is freed at once; the data stays as a ghost until the last child goes.
    Deferred,
    /// It must be refused: the children would be lost.
    Refused,
}

/// What must be true of a source while it is cloned or snapshotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// Nothing: the effect is atomic.
    Consistent,
    /// Writers must be frozen.
    NeedsFreeze,
    /// The container must be stopped.
    NeedsStop,
}

/// When an effect is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When the verb returns.
    OnReturn,
    /// After [`sync_barrier`](crate::store::BackingStore::sync_barrier).
    AfterSync,
}

/// How owners are mapped for a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMapping {
    /// The mount of the volume itself can be id-mapped.
    Mount,
    /// Each layer is id-mapped before they are stacked.
    Layers,
    /// Owners on disk must be changed.
    Shift,
}

/// Where a store's objects live, which decides what a rename of the container's directory moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residence {
    /// Below the container's directory; they move with it.
    Home,
    /// In a name space of their own (a volume group, a zfs pool).
    Named,
}

/// What one store can do in one pool, and at what cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Where objects live.
    pub residence: Residence,
    /// How snapshots come into being.
    pub snapshot_style: SnapshotStyle,
    /// What a snapshot costs.
    pub snapshot_cost: Cost,
    /// Whether a snapshot can itself be snapshotted or cloned natively.
    pub snapshot_of_snapshot: bool,
    /// What a clone made by this store costs.
    pub clone_cost: Cost,
    /// Kinds of store besides its own whose volumes it can clone from: an overlay stacks upon any directory.
    pub clones_from: Vec<StoreKind>,
    /// The store that makes snapshot clones of this one's volumes when its own clones are copies.
    pub snapshot_clones_by: Option<StoreKind>,
    /// What a write to a parent of this store's clones does.
    pub parent_write: ParentWrite,
    /// What destroying a parent of this store's clones means.
    pub parent_delete: ParentDelete,
    /// What a source needs while it is cloned or snapshotted.
    pub live: Live,
    /// The longest chain of dependencies, if there is a limit.
    pub max_depth: Option<u32>,
    /// How owners are mapped.
    pub id_mapping: IdMapping,
    /// When effects are durable.
    pub durability: Durability,
    /// Whether the volume is a block device with a file system in it.
    pub block: bool,
    /// Whether an unprivileged user in a user namespace can use the store.
    pub unprivileged: bool,
}

impl Capabilities {
    /// Returns whether children of this store need their parent's data.
    #[must_use]
    pub fn clones_depend(&self) -> bool {
        self.parent_delete != ParentDelete::Independent
    }
}

/// Whether a store can be used on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Availability {
    /// Everything is there.
    Ready,
    /// It works with something missing.
    Degraded {
        /// What is missing and what that costs.
        reason: String,
        /// What to install or run.
        remedy: String,
    },
    /// It cannot work.
    Unavailable {
        /// Why, in the words of the tool or kernel.
        reason: String,
        /// What to install or run.
        remedy: String,
    },
}
