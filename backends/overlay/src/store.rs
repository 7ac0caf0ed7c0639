//! [`OverlayStore`]: the contract, signed. Thin: each verb is in a file of its own.

use std::path::Path;

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, Result, ResultExt};
use rustix::fs::statfs;

use crate::spec::{self, DEPTH_MAX, DIRECTORIES, KIND};
use crate::{adopt, attach, clone, create, destroy, flatten, list, usage};

/// File systems that cannot hold an upper layer, by the number that `statfs` gives.
const NO_UPPER: [(i64, &str); 4] =
    [(0x794c_7630, "overlayfs"), (0x6969, "NFS"), (0x4d44, "FAT"), (0x2011_bab0, "exFAT")];

/// Root filesystems as stacks of layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct OverlayStore;

impl OverlayStore {
    /// Returns the store; it keeps nothing.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl BackingStore for OverlayStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(KIND)
    }

    fn capabilities(&self, _pool: &Pool) -> Result<Capabilities> {
        Ok(Capabilities {
            residence: Residence::Home,
            snapshot_style: SnapshotStyle::Freeze,
            snapshot_cost: Cost::Constant,
            snapshot_of_snapshot: true,
            clone_cost: Cost::Constant,
            clones_from: DIRECTORIES.map(StoreKind::new).to_vec(),
            snapshot_clones_by: None,
            parent_write: ParentWrite::Forbidden,
            parent_delete: ParentDelete::Refused,
            live: Live::NeedsStop,
            max_depth: u32::try_from(DEPTH_MAX).ok(),
            id_mapping: IdMapping::Layers,
            durability: Durability::AfterSync,
            block: false,
            unprivileged: true,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        match obstacle(&pool.path) {
            Ok(None) => Availability::Ready,
            Ok(Some((reason, remedy))) => Availability::Unavailable { reason, remedy },
            Err(error) => Availability::Unavailable {
                reason: error.full_message(),
                remedy: format!("make the directory `{}`, or choose another with `-P`", pool.path.display()),
            },
        }
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        spec::place(placement, origin)
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::create(context, &volume)).await
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        let volume = volume.clone();
        context.run(move |context| destroy::destroy(context, &volume)).await
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        destroy::presence(volume)
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        let pool = pool.clone();
        Context::default().run(move |_| list::list(&pool)).await
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| adopt::adopt(context, &volume, copied)).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        let volume = volume.clone();
        context.run(move |_| attach::plan(&volume, mode)).await
    }

    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let volumes = volumes.to_vec();
        context.run(move |_| volumes.iter().map(usage::usage).collect()).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let volumes = volumes.to_vec();
        context.run(move |context| usage::sync(context, &volumes)).await
    }

    /// None of its own: a snapshot freezes the source where it is and is made by cloning.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn exchange(&self) -> Option<&dyn Exchange> {
        None
    }

    fn rename(&self) -> Option<&dyn Rename> {
        None
    }

    fn resize(&self) -> Option<&dyn Resize> {
        None
    }

    fn quota(&self) -> Option<&dyn Quota> {
        None
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        None
    }

    fn promotion(&self) -> Option<&dyn Promote> {
        None
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        None
    }
}

#[async_trait]
impl Clones for OverlayStore {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let (from, work) = (source.clone(), jobs.to_vec());
        match context.run(move |context| Ok(clone::clone_all(context, &from, &work))).await {
            Ok(results) => results,
            Err(error) => jobs.iter().map(|_| Err(Error::new(error.kind(), error.full_message()))).collect(),
        }
    }
}

#[async_trait]
impl LineageOps for OverlayStore {
    async fn flatten(&self, context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
        let (volume, target) = (volume.clone(), target.clone());
        context.run(move |context| flatten::flatten(context, &volume, &target)).await
    }
}

/// Returns why overlays cannot live in `pool`, and what helps.
fn obstacle(pool: &Path) -> Result<Option<(String, String)>> {
    let shown = || format!("cannot look at `{}`", pool.display());
    let number = statfs(pool).or_err(shown)?.f_type;
    if let Some((_, name)) = NO_UPPER.iter().find(|(known, _)| *known == number) {
        let reason = format!("`{}` is on {name}, which cannot hold an upper layer", pool.display());
        return Ok(Some((reason, "choose an lxcpath on ext4, xfs, btrfs or tmpfs with `-P`".to_owned())));
    }
    if kernel_has_overlay()? {
        return Ok(None);
    }
    let reason = "this kernel has no overlay file system, and there is no module for it".to_owned();
    Ok(Some((reason, "install the kernel's modules, then `modprobe overlay`".to_owned())))
}

/// A module that is not loaded counts: the kernel loads it at the first mount.
fn kernel_has_overlay() -> Result<bool> {
    let shown = || "cannot read `/proc/filesystems`".to_owned();
    let known = std::fs::read_to_string("/proc/filesystems").map_err(|error| Error::io(shown(), error))?;
    if known.lines().any(|line| line.split_whitespace().last() == Some(KIND)) {
        return Ok(true);
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = format!("/lib/modules/{}/modules.dep", release.trim());
    Ok(std::fs::read_to_string(modules).is_ok_and(|list| list.contains("/overlay.ko")))
}
