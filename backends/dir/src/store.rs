//! [`DirStore`]: the contract, verb by verb.

use std::sync::Arc;

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::homes::{DestroySteps, Place, Reflinks, Shape, obstacle, sync_file_systems};
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::spec::Spec;
use crate::{copy, create, list, usage};

/// The word in front of our sources.
pub(crate) const KIND: &str = "dir";

const DESTROY: DestroySteps = DestroySteps { aside: "destroy.aside", remove: "destroy.remove" };

/// Root filesystems in plain directories.
#[derive(Debug, Default)]
pub struct DirStore {
    reflinks: Arc<Reflinks>,
}

impl DirStore {
    /// Returns the store; it keeps nothing but what it learned about file systems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BackingStore for DirStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(KIND)
    }

    fn capabilities(&self, pool: &Pool) -> Result<Capabilities> {
        let cost = if self.reflinks.in_pool(pool)? { Cost::PerEntry } else { Cost::PerByte };
        Ok(Capabilities {
            residence: Residence::Home,
            snapshot_style: SnapshotStyle::Beside,
            snapshot_cost: cost,
            snapshot_of_snapshot: true,
            clone_cost: cost,
            clones_from: Vec::new(),
            snapshot_clones_by: Some(StoreKind::new("overlay")),
            parent_write: ParentWrite::Free,
            parent_delete: ParentDelete::Independent,
            live: Live::NeedsStop,
            max_depth: None,
            id_mapping: IdMapping::Mount,
            durability: Durability::AfterSync,
            block: false,
            unprivileged: true,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        obstacle(pool).unwrap_or(Availability::Ready)
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        if let Some(origin) = origin.filter(|origin| origin.kind().as_str() != KIND) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the dir store cannot clone from `{}`", origin.source),
            ));
        }
        let spec = Spec::parse(&placement.options)?;
        let path = spec.directory.unwrap_or_else(|| placement.home.join("rootfs"));
        VolumeSource::at_path(self.kind(), &path)
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::create(context, &volume)).await
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        let volume = volume.clone();
        context
            .run(move |context| {
                let Some(place) = Place::of(&volume, Shape::Directory)? else { return Ok(Destroyed::Absent) };
                place.destroy(context, &DESTROY, |_| Ok(()))
            })
            .await
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        Place::of(volume, Shape::Directory)?.map_or(Ok(Presence::Absent), |place| place.presence())
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        list::list(pool)
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        let adopt = move |context: &Context| {
            Place::of_existing(&volume, Shape::Directory)?.adopt(context, "adopt.mark", copied)
        };
        context.run(adopt).await
    }

    async fn attach(&self, _context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        // Whoever made it: a container of LXC is started before it is adopted.
        let place = Place::of_existing(volume, Shape::Directory)?;
        place.open_any()?;
        let recipe = MountRecipe::Directory { path: place.path().to_owned() };
        Ok(MountPlan { recipe, read_only: mode == AttachMode::ReadOnly })
    }

    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let (volumes, reflinks) = (volumes.to_vec(), Arc::clone(&self.reflinks));
        context.run(move |_| volumes.iter().map(|volume| usage::usage(volume, &reflinks)).collect()).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let volumes = volumes.to_vec();
        context.run(move |context| sync_file_systems(context, "barrier.syncfs", &volumes)).await
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
        None
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        None
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
impl Snapshots for DirStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let (source, target) = (source.clone(), target.clone());
        context.run(move |context| copy::copy(context, &source, &target, &copy::SNAPSHOT)).await
    }
}

#[async_trait]
impl Clones for DirStore {
    /// Copies one after the other: each copy uses every processor already.
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (source, target) = (source.clone(), job.target.clone());
            let done = context.run(move |context| copy::copy(context, &source, &target, &copy::CLONE)).await;
            results.push(done);
        }
        results
    }
}

#[async_trait]
impl Exchange for DirStore {
    async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()> {
        let (a, b) = (a.clone(), b.clone());
        let exchange = move |context: &Context| {
            let place = |volume| Place::of_existing(volume, Shape::Directory);
            Place::exchange(context, "exchange.rename", &place(&a)?, &place(&b)?)
        };
        context.run(exchange).await
    }
}
