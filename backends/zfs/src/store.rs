//! [`ZfsStore`]: the contract, signed. Thin: each verb is in a file of its own.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, Freed, LineageOps, Pool,
    Presence, Promote, Promoted, Quota, ReceivedHead, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, Result};

use crate::destroy::Remains;
use crate::{accounting, attach, clone, create, destroy, list, promote, rename, spec, tool, transfer};

/// Where volumes go unless told otherwise; LXC's default.
const DEFAULT_ROOT: &str = "lxc";

/// Root filesystems as zfs datasets.
#[derive(Debug, Clone)]
pub struct ZfsStore {
    root: String,
    /// Clones and snapshots that this process made and nobody has mounted since: zfs returns from making one when it is on the
    /// disk, so a barrier has nothing to wait for.
    durable: Arc<Mutex<HashSet<VolumeId>>>,
    /// What this process removed: an engine asks again to be sure, and nothing can be left of it.
    gone: Arc<Mutex<HashSet<VolumeId>>>,
}

impl Default for ZfsStore {
    fn default() -> Self {
        Self::new(DEFAULT_ROOT)
    }
}

impl ZfsStore {
    /// Returns the store that makes volumes below the dataset `root` unless `zfsroot` says otherwise
    /// (`lxc.bdev.zfs.root` of LXC's global configuration).
    #[must_use]
    pub fn new(root: &str) -> Self {
        Self { root: root.to_owned(), durable: Arc::default(), gone: Arc::default() }
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<VolumeId>> {
        // A set of identities is whole whatever its holder did.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> MutexGuard<'_, HashSet<VolumeId>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root_of(&self, pool: &Pool) -> Result<String> {
        spec::root(&self.root, &pool.options).map(str::to_owned)
    }
}

#[async_trait]
impl BackingStore for ZfsStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(spec::KIND)
    }

    fn capabilities(&self, _pool: &Pool) -> Result<Capabilities> {
        Ok(Capabilities {
            residence: Residence::Named,
            snapshot_style: SnapshotStyle::Beside,
            snapshot_cost: Cost::Constant,
            snapshot_of_snapshot: true,
            clone_cost: Cost::Constant,
            clones_from: Vec::new(),
            snapshot_clones_by: None,
            parent_write: ParentWrite::Free,
            parent_delete: ParentDelete::Deferred,
            live: Live::Consistent,
            max_depth: None,
            id_mapping: IdMapping::Mount,
            durability: Durability::AfterSync,
            block: false,
            unprivileged: false,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        let answer = match self.root_of(pool) {
            Ok(root) => Context::default().run(move |context| Ok(list::availability(context, &root))).await,
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error: Error| Availability::Unavailable {
            reason: error.full_message(),
            remedy: "name a dataset, as in `--zfsroot tank/lxc`".to_owned(),
        })
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        spec::place(&self.root, placement, origin)
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::create(context, &volume)).await
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        self.durable().remove(&volume.id);
        let remains = if self.gone().contains(&volume.id) { Remains::Impossible } else { Remains::Possible };
        let doomed = volume.clone();
        let destroyed = context.run(move |context| destroy::destroy(context, &doomed, remains)).await?;
        if destroyed == Destroyed::Removed {
            self.gone().insert(volume.id);
        }
        Ok(destroyed)
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        let volume = volume.clone();
        Context::default()
            .run(move |context| {
                let (place, sight) = tool::look_at(context, &volume)?;
                Ok(create::presence(&place, &volume, &sight))
            })
            .await
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        let root = self.root_of(pool)?;
        Context::default().run(move |context| list::list(context, &root)).await
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::adopt(context, &volume, copied)).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        self.durable().remove(&volume.id);
        let volume = volume.clone();
        context.run(move |context| attach::attach(context, &volume, mode)).await
    }

    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let volumes = volumes.to_vec();
        context.run(move |context| list::usage(context, &volumes)).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let durable = self.durable().clone();
        let volumes: Vec<Volume> =
            volumes.iter().filter(|volume| !durable.contains(&volume.id)).cloned().collect();
        context.run(move |context| list::sync(context, &volumes)).await
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn exchange(&self) -> Option<&dyn Exchange> {
        None
    }

    fn rename(&self) -> Option<&dyn Rename> {
        Some(self)
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

    fn promotion(&self) -> Option<&dyn Promote> {
        Some(self)
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }
}

#[async_trait]
impl Snapshots for ZfsStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let (from, to) = (source.clone(), target.clone());
        context.run(move |context| clone::snapshot(context, &from, &to)).await?;
        self.durable().insert(target.id);
        Ok(())
    }
}

#[async_trait]
impl Clones for ZfsStore {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        self.gone().retain(|id| jobs.iter().all(|job| job.target.id != *id));
        let (from, work) = (source.clone(), jobs.to_vec());
        match context.run(move |context| Ok(clone::clone_all(context, &from, &work))).await {
            Ok(results) => {
                let made = jobs.iter().zip(&results).filter(|(_, result)| result.is_ok());
                self.durable().extend(made.map(|(job, _)| job.target.id));
                results
            }
            Err(error) => vec![Err(error)],
        }
    }
}

#[async_trait]
impl Rename for ZfsStore {
    fn aside(&self, volume: &Volume) -> Result<VolumeSource> {
        rename::aside(volume)
    }

    fn follow(&self, volume: &Volume, moved: &VolumeSource, target: &VolumeSource) -> Result<VolumeSource> {
        rename::follow(volume, moved, target)
    }

    async fn options_of(&self, volume: &Volume) -> Result<Properties> {
        spec::options_of(volume)
    }

    async fn rename(&self, context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
        let (volume, target) = (volume.clone(), target.clone());
        context.run(move |context| rename::rename(context, &volume, &target)).await
    }
}

#[async_trait]
impl Accounting for ZfsStore {
    async fn freed(&self, context: &Context, volumes: &[Volume]) -> Result<Freed> {
        let volumes = volumes.to_vec();
        context.run(move |context| accounting::freed(context, &volumes)).await
    }
}

#[async_trait]
impl Promote for ZfsStore {
    async fn promote(&self, context: &Context, volume: &Volume, family: &[Volume]) -> Result<Promoted> {
        let (volume, family) = (volume.clone(), family.to_vec());
        context.run(move |context| promote::promote(context, &volume, &family)).await
    }

    async fn standing(&self, context: &Context, family: &[Volume]) -> Result<Promoted> {
        let family = family.to_vec();
        context.run(move |context| promote::standing(context, &family)).await
    }
}

#[async_trait]
impl Transfer for ZfsStore {
    fn format(&self) -> &'static str {
        transfer::FORMAT
    }

    fn received_head(&self) -> ReceivedHead {
        ReceivedHead::Follows
    }

    async fn send(
        &self,
        context: &Context,
        snapshot: &Volume,
        base: Option<&Volume>,
        out: OwnedFd,
    ) -> Result<()> {
        let (snapshot, base) = (snapshot.clone(), base.cloned());
        context.run(move |context| transfer::send(context, &snapshot, base.as_ref(), out)).await
    }

    async fn receive(
        &self,
        context: &Context,
        head: &Volume,
        snapshot: &Volume,
        base: Option<&Volume>,
        input: OwnedFd,
    ) -> Result<()> {
        self.durable().remove(&head.id);
        let (head, snapshot, base) = (head.clone(), snapshot.clone(), base.cloned());
        context.run(move |context| transfer::receive(context, &head, &snapshot, base.as_ref(), input)).await
    }
}

#[async_trait]
impl Quota for ZfsStore {
    async fn set_quota(&self, context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::set_quota(context, &volume, limit)).await
    }

    async fn limit_of(&self, context: &Context, volume: &Volume) -> Result<Option<Bytes>> {
        let volumes = [volume.clone()];
        let usages = context.run(move |context| list::usage(context, &volumes)).await?;
        Ok(usages.first().and_then(|usage| usage.limit))
    }
}
