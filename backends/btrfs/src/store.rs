//! [`BtrfsStore`]: the contract, signed. Thin: each verb is in a file of its own.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, ReceivedHead, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Result, ResultExt};
use keiki_sys::btrfs;
use rustix::fs::{Mode, OFlags, open};

use crate::clone::Settled;
use crate::{clone, create, destroy, exchange, list, quota, spec, subvolume, transfer, usage};

/// Root filesystems as btrfs subvolumes.
#[derive(Debug, Clone, Default)]
pub struct BtrfsStore {
    /// Clones and snapshots that are on the disk whole since this process made them: nothing was done to them since, so a
    /// barrier has nothing to wait for.
    durable: Arc<Mutex<HashSet<VolumeId>>>,
}

impl BtrfsStore {
    /// Returns the store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<VolumeId>> {
        // A set of identities is whole whatever its holder did.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: VolumeId, settled: Settled) {
        if settled == Settled::OnDisk {
            self.durable().insert(id);
        }
    }

    fn forget(&self, volume: &Volume) {
        self.durable().remove(&volume.id);
    }
}

#[async_trait]
impl BackingStore for BtrfsStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(spec::KIND)
    }

    fn capabilities(&self, _pool: &Pool) -> Result<Capabilities> {
        Ok(Capabilities {
            residence: Residence::Home,
            snapshot_style: SnapshotStyle::Beside,
            snapshot_cost: Cost::Constant,
            snapshot_of_snapshot: true,
            clone_cost: Cost::Constant,
            clones_from: Vec::new(),
            snapshot_clones_by: None,
            parent_write: ParentWrite::Free,
            parent_delete: ParentDelete::Independent,
            // Each subvolume's snapshot is atomic even while the container runs.
            live: Live::Consistent,
            max_depth: None,
            id_mapping: IdMapping::Mount,
            durability: Durability::AfterSync,
            block: false,
            unprivileged: true,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        match on_btrfs(&pool.path) {
            Ok(true) => Availability::Ready,
            Ok(false) => Availability::Unavailable {
                reason: format!("`{}` is not on a btrfs file system", pool.path.display()),
                remedy: "mount a btrfs there, or choose an lxcpath on one with `-P`".to_owned(),
            },
            Err(error) => Availability::Unavailable {
                reason: error.full_message(),
                remedy: format!("make the directory `{}`", pool.path.display()),
            },
        }
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        spec::place(placement, origin)
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        self.forget(volume);
        let volume = volume.clone();
        context.run(move |context| create::create(context, &volume)).await
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        self.forget(volume);
        let volume = volume.clone();
        context.run(move |context| destroy::destroy(context, &volume)).await
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        let volume = volume.clone();
        Context::default()
            .run(move |_| {
                subvolume::find(&volume)?.map_or(Ok(Presence::Absent), |at| subvolume::presence(&at))
            })
            .await
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        let path = pool.path.clone();
        Context::default().run(move |_| list::list(&path)).await
    }

    async fn adopt(&self, context: &Context, volume: &Volume, _copied: Option<VolumeId>) -> Result<()> {
        self.forget(volume);
        let volume = volume.clone();
        context.run(move |context| create::adopt(context, &volume)).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        self.forget(volume);
        let volume = volume.clone();
        context
            .run(move |_| {
                let place = subvolume::require(&volume)?;
                subvolume::opened(&place)?;
                Ok(MountPlan {
                    recipe: MountRecipe::Directory { path: place.path().to_owned() },
                    read_only: mode == AttachMode::ReadOnly,
                })
            })
            .await
    }

    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let volumes = volumes.to_vec();
        context.run(move |_| usage::usage(&volumes)).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let durable = self.durable().clone();
        let volumes: Vec<Volume> =
            volumes.iter().filter(|volume| !durable.contains(&volume.id)).cloned().collect();
        context.run(move |_| usage::sync(&volumes)).await
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn exchange(&self) -> Option<&dyn Exchange> {
        Some(self)
    }

    fn rename(&self) -> Option<&dyn Rename> {
        None
    }

    fn resize(&self) -> Option<&dyn Resize> {
        None
    }

    fn quota(&self) -> Option<&dyn Quota> {
        Some(self)
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        None
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }

    fn promotion(&self) -> Option<&dyn Promote> {
        None
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        None
    }
}

#[async_trait]
impl Snapshots for BtrfsStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let (source, target) = (source.clone(), target.clone());
        let id = target.id;
        let settled = context.run(move |context| clone::snapshot(context, &source, &target)).await?;
        self.note(id, settled);
        Ok(())
    }
}

#[async_trait]
impl Clones for BtrfsStore {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let (from, work) = (source.clone(), jobs.to_vec());
        match context.run(move |context| Ok(clone::clone_all(context, &from, &work))).await {
            Ok(results) => {
                let noted = |(job, result): (&CloneJob, Result<Settled>)| {
                    result.map(|settled| self.note(job.target.id, settled))
                };
                jobs.iter().zip(results).map(noted).collect()
            }
            Err(error) => vec![Err(error)],
        }
    }
}

#[async_trait]
impl Quota for BtrfsStore {
    async fn set_quota(&self, context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()> {
        self.forget(volume);
        let volume = volume.clone();
        context.run(move |context| quota::set(context, &volume, limit)).await
    }

    async fn limit_of(&self, context: &Context, volume: &Volume) -> Result<Option<Bytes>> {
        let volume = volume.clone();
        context.run(move |_| quota::limit_of(&volume)).await
    }
}

#[async_trait]
impl Transfer for BtrfsStore {
    fn format(&self) -> &'static str {
        transfer::FORMAT
    }

    fn received_head(&self) -> ReceivedHead {
        ReceivedHead::Apart
    }

    async fn send(
        &self,
        context: &Context,
        snapshot: &Volume,
        base: Option<&Volume>,
        out: OwnedFd,
    ) -> Result<()> {
        let (snapshot, base) = (snapshot.clone(), base.cloned());
        context.run(move |context| transfer::send(context, &snapshot, base.as_ref(), &out)).await
    }

    async fn receive(
        &self,
        context: &Context,
        _head: &Volume,
        snapshot: &Volume,
        base: Option<&Volume>,
        input: OwnedFd,
    ) -> Result<()> {
        let (snapshot, base) = (snapshot.clone(), base.cloned());
        context.run(move |context| transfer::receive(context, &snapshot, base.as_ref(), input)).await
    }
}

#[async_trait]
impl Exchange for BtrfsStore {
    async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()> {
        self.forget(a);
        self.forget(b);
        let (a, b) = (a.clone(), b.clone());
        context.run(move |context| exchange::exchange(context, &a, &b)).await
    }
}

fn on_btrfs(path: &Path) -> Result<bool> {
    let shown = || format!("cannot look at `{}`", path.display());
    let directory =
        open(PathBuf::from(path), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    btrfs::is_btrfs(directory.or_err(shown)?.as_fd()).or_err(shown)
}
