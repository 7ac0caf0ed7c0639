//! [`ReferenceStore`]: a complete backing store in memory, for tests of the engine and as an oracle for other stores.
//!
//! Its volumes are trees (`path → bytes`) on a [`ReferenceDisk`] that several stores and engines of one process share.
//! Every capability can be chosen, so that one engine test runs against the lineage of overlay, zfs, lvm or btrfs
//! without any of them. It is *strict*: what a real store would punish with silent loss (a write to a frozen parent,
//! destroying a parent of dependents) is refused or recorded as a violation. Faults can be planted at each verb, before,
//! in the middle of and after its effect.
//!
//! It cannot be mounted: `attach` is `Unsupported`, so containers in it are created without a fill and written through
//! [`ReferenceStore::write`]. Nothing survives the process, except that with [`Residence::Home`] a volume's place is a
//! file in the container's home, which moves with it.

mod disk;
mod groups;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;

use crate::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::mount_plan::{AttachMode, MountPlan};
use crate::store::{
    Accounting, BackingStore, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence, Promote, Quota,
    Rename, Resize, Snapshots, Transfer, Usage,
};
use crate::volume::{Placement, StoreKind, Volume, VolumeId, VolumeRole, VolumeSource};

pub use disk::{Fault, Moment, ReferenceDisk, TreeContent, Verb};

/// An optional group of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// [`Snapshots`].
    Snapshots,
    /// [`Clones`].
    Clones,
    /// [`Exchange`].
    Exchange,
    /// [`Rename`].
    Rename,
    /// [`Resize`].
    Resize,
    /// [`Quota`].
    Quota,
    /// [`LineageOps`].
    Flatten,
    /// [`Promote`].
    Promote,
}

/// How volumes with names of their own are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// With the identity in the name: no two ever collide.
    Unique,
    /// As lvm and zfs call them (`web1`, `web1@snap0`): the name of a ghost is in the way until it goes aside, and a snapshot moves
    /// with its head.
    Plain,
}

/// What the store shall be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceOptions {
    /// By which word it is chosen.
    pub kind: StoreKind,
    /// What it promises.
    pub capabilities: Capabilities,
    /// Which optional groups it has.
    pub groups: BTreeSet<Group>,
    /// How its volumes are called.
    pub naming: Naming,
}

impl ReferenceOptions {
    /// Returns a store that can do everything at constant cost, with independent clones: the lineage of btrfs.
    #[must_use]
    pub fn independent() -> Self {
        use Group::{Clones, Exchange, Flatten, Quota, Rename, Resize, Snapshots};
        Self {
            kind: StoreKind::new("reference"),
            capabilities: Capabilities {
                residence: Residence::Named,
                snapshot_style: SnapshotStyle::Beside,
                snapshot_cost: Cost::Constant,
                snapshot_of_snapshot: true,
                clone_cost: Cost::Constant,
                clones_from: Vec::new(),
                snapshot_clones_by: None,
                parent_write: ParentWrite::Free,
                parent_delete: ParentDelete::Independent,
                live: Live::Consistent,
                max_depth: None,
                id_mapping: IdMapping::Mount,
                durability: Durability::OnReturn,
                block: false,
                unprivileged: true,
            },
            groups: BTreeSet::from([Snapshots, Clones, Exchange, Rename, Resize, Quota, Flatten]),
            naming: Naming::Unique,
        }
    }

    /// Returns a store that freezes its source and stacks upon it: the lineage of overlay.
    #[must_use]
    pub fn freezing() -> Self {
        let mut options = Self::independent();
        options.capabilities.snapshot_style = SnapshotStyle::Freeze;
        options.capabilities.parent_write = ParentWrite::Forbidden;
        options.capabilities.parent_delete = ParentDelete::Refused;
        options.capabilities.live = Live::NeedsStop;
        options.without(Group::Snapshots).without(Group::Exchange)
    }

    /// Returns a store whose parents become ghosts: the lineage of zfs.
    #[must_use]
    pub fn deferring() -> Self {
        let mut options = Self::independent();
        options.capabilities.parent_delete = ParentDelete::Deferred;
        options.groups.insert(Group::Promote);
        options
    }

    /// Returns a store whose snapshots have none of their own and hold their source: the lineage of plain LVM.
    #[must_use]
    pub fn refusing() -> Self {
        let mut options = Self::independent();
        options.capabilities.parent_delete = ParentDelete::Refused;
        options.capabilities.snapshot_of_snapshot = false;
        options
    }

    /// Returns a store that only copies: the lineage of dir.
    #[must_use]
    pub fn copying() -> Self {
        let mut options = Self::independent();
        options.capabilities.snapshot_cost = Cost::PerByte;
        options.capabilities.clone_cost = Cost::PerByte;
        options.capabilities.live = Live::NeedsStop;
        options
    }

    /// Sets the word by which it is chosen.
    #[must_use]
    pub fn named(mut self, kind: &str) -> Self {
        self.kind = StoreKind::new(kind);
        self
    }

    /// Calls volumes as lvm and zfs do.
    #[must_use]
    pub fn plainly_named(mut self) -> Self {
        self.naming = Naming::Plain;
        self.without(Group::Exchange)
    }

    /// Takes a group away.
    #[must_use]
    pub fn without(mut self, group: Group) -> Self {
        self.groups.remove(&group);
        self
    }

    /// Makes effects durable only after a barrier.
    #[must_use]
    pub fn unsynced(mut self) -> Self {
        self.capabilities.durability = Durability::AfterSync;
        self
    }

    /// Makes volumes live below the container's home.
    #[must_use]
    pub fn in_home(mut self) -> Self {
        self.capabilities.residence = Residence::Home;
        self.groups.remove(&Group::Rename);
        self
    }
}

/// A backing store in memory.
#[derive(Debug, Clone)]
pub struct ReferenceStore {
    options: ReferenceOptions,
    disk: ReferenceDisk,
}

impl ReferenceStore {
    /// Returns a store on `disk`; stores on one disk see each other's volumes.
    #[must_use]
    pub fn new(options: ReferenceOptions, disk: &ReferenceDisk) -> Self {
        Self { options, disk: disk.clone() }
    }

    /// Returns the disk.
    #[must_use]
    pub fn disk(&self) -> &ReferenceDisk {
        &self.disk
    }

    /// Returns everything that a volume shows.
    ///
    /// # Errors
    /// `NotFound` for a volume that is not complete, `Corrupt` for one whose parent is gone.
    pub fn contents(&self, volume: &Volume) -> Result<TreeContent> {
        self.disk.contents(volume)
    }

    /// Writes one file of a volume, as its container would.
    ///
    /// # Behavior
    /// Where the store forbids writes to parents, the children see it, as overlayfs would have it, and the disk
    /// remembers a [violation](ReferenceDisk::violations).
    ///
    /// # Errors
    /// `NotFound` for a volume that is not complete.
    pub fn write(&self, volume: &Volume, path: &str, bytes: &[u8]) -> Result<()> {
        self.disk.write(volume, Path::new(path), Some(bytes))
    }

    /// Removes one file of a volume; as [`Self::write`].
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn remove(&self, volume: &Volume, path: &str) -> Result<()> {
        self.disk.write(volume, Path::new(path), None)
    }

    fn has(&self, group: Group) -> bool {
        self.options.groups.contains(&group)
    }

    fn unsupported(&self, verb: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("store `{}` cannot {verb}", self.options.kind))
    }

    /// Makes an effect durable at once where the store promises that.
    fn settle<'a>(&self, sources: impl IntoIterator<Item = &'a VolumeSource>) -> Result<()> {
        match self.options.capabilities.durability {
            Durability::OnReturn => self.disk.settle(sources),
            Durability::AfterSync => Ok(()),
        }
    }

    fn check_options(&self, placement: &Placement) -> Result<()> {
        let Some(option) = placement.options.keys().find(|option| option.as_str() != "size") else {
            return Ok(());
        };
        let message = format!("store `{}` knows no option `{option}`", self.options.kind);
        Err(Error::new(ErrorKind::InvalidArgument, message).with_hint("it knows `size`"))
    }

    fn check_origin(&self, origin: &Volume) -> Result<()> {
        let capabilities = &self.options.capabilities;
        if *origin.kind() != self.options.kind && !capabilities.clones_from.contains(origin.kind()) {
            return Err(self.unsupported(&format!("clone from store `{}`", origin.kind())));
        }
        if capabilities.clones_depend() {
            let depth = self.disk.depth(origin) + 1;
            if let Some(limit) = capabilities.max_depth.filter(|limit| depth > *limit) {
                let message = format!("a clone of `{}` would be {depth} deep", origin.source);
                return Err(
                    Error::new(ErrorKind::LimitExceeded, message).with_context("limit", limit.to_string())
                );
            }
        }
        Ok(())
    }
}

#[async_trait]
impl BackingStore for ReferenceStore {
    fn kind(&self) -> StoreKind {
        self.options.kind.clone()
    }

    fn capabilities(&self, _pool: &Pool) -> Result<Capabilities> {
        Ok(self.options.capabilities.clone())
    }

    async fn availability(&self, _pool: &Pool) -> Availability {
        self.disk.availability()
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        self.check_options(placement)?;
        if let Some(origin) = origin {
            self.check_origin(origin)?;
        }
        let short = placement.id.short();
        if self.options.capabilities.residence == Residence::Home {
            let kind = &self.options.kind;
            let file = match placement.role {
                VolumeRole::Successor => format!("volume-{short}.{kind}"),
                VolumeRole::Head | VolumeRole::Snapshot(_) => format!("volume.{kind}"),
            };
            return VolumeSource::at_path(self.kind(), &placement.home.join(file));
        }
        // The container's name is for people; the identity keeps two containers of that name, and its ghost, apart.
        let name = match &placement.role {
            VolumeRole::Snapshot(snapshot) => format!("{}@{snapshot}", placement.container),
            VolumeRole::Head | VolumeRole::Successor => placement.container.to_string(),
        };
        let is_plain = self.options.naming == Naming::Plain && placement.role != VolumeRole::Successor;
        VolumeSource::new(self.kind(), if is_plain { name } else { format!("{name}-{short}") })
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        self.disk.make(context, Verb::Create, volume, disk::Making::Empty).await?;
        self.settle([&volume.source])
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        let destroyed = self.disk.destroy(context, volume).await?;
        self.settle([&volume.source])?;
        Ok(destroyed)
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        self.disk.probe(volume)
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        self.disk.list(&self.options.kind, self.options.capabilities.residence, &pool.path)
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        self.disk.adopt(context, volume, copied).await?;
        self.settle([&volume.source])
    }

    async fn attach(&self, _context: &Context, _volume: &Volume, _mode: AttachMode) -> Result<MountPlan> {
        Err(self.unsupported("attach a volume: it lives in memory").with_hint("create without a template"))
    }

    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, _context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        self.disk.usage(volumes)
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        self.disk.sync(context).await?;
        self.disk.settle(volumes.iter().map(|volume| &volume.source))
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.has(Group::Snapshots).then_some(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        self.has(Group::Clones).then_some(self)
    }

    fn exchange(&self) -> Option<&dyn Exchange> {
        self.has(Group::Exchange).then_some(self)
    }

    fn rename(&self) -> Option<&dyn Rename> {
        self.has(Group::Rename).then_some(self)
    }

    fn resize(&self) -> Option<&dyn Resize> {
        self.has(Group::Resize).then_some(self)
    }

    fn quota(&self) -> Option<&dyn Quota> {
        self.has(Group::Quota).then_some(self)
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        self.has(Group::Flatten).then_some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        None
    }

    fn promotion(&self) -> Option<&dyn Promote> {
        self.has(Group::Promote).then_some(self)
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        None
    }
}
