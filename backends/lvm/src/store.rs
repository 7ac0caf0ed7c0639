//! [`LvmStore`]: the contract, signed. Thin: each verb is in a file of its own.

use async_trait::async_trait;
use keiki_core::Result;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Resized, Snapshots, Transfer, Usage,
};
use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeSource};

use crate::place::Place;
use crate::spec::{self, Spec};
use crate::{attach, clone, create, destroy, flatten, list, rename, resize};

/// Root filesystems as logical volumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct LvmStore;

#[async_trait]
impl BackingStore for LvmStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(spec::KIND)
    }

    fn capabilities(&self, pool: &Pool) -> Result<Capabilities> {
        let is_thin = Spec::parse(&pool.options)?.thinpool.is_some();
        Ok(Capabilities {
            residence: Residence::Named,
            snapshot_style: SnapshotStyle::Beside,
            snapshot_cost: Cost::Constant,
            snapshot_of_snapshot: is_thin,
            clone_cost: Cost::Constant,
            clones_from: Vec::new(),
            snapshot_clones_by: None,
            parent_write: ParentWrite::Free,
            parent_delete: if is_thin { ParentDelete::Independent } else { ParentDelete::Refused },
            // The device mapper freezes the file system for the moment of the snapshot.
            live: Live::Consistent,
            // A snapshot clone is a snapshot to LVM, and has none itself.
            max_depth: if is_thin { None } else { Some(1) },
            id_mapping: IdMapping::Mount,
            durability: Durability::AfterSync,
            block: true,
            unprivileged: false,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        let options = pool.options.clone();
        let looked = Context::default().run(move |context| Ok(list::availability(context, &options))).await;
        looked.unwrap_or_else(|error| Availability::Unavailable {
            reason: error.full_message(),
            remedy: "report this".to_owned(),
        })
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
        let volume = volume.clone();
        Context::default().run(move |context| list::probe(context, &volume)).await
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        let options = pool.options.clone();
        Context::default().run(move |context| list::list(context, &options)).await
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| create::adopt(context, &volume, copied)).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        let volume = volume.clone();
        context.run(move |context| attach::attach(context, &volume, mode)).await
    }

    async fn detach(&self, context: &Context, volume: &Volume) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| attach::detach(context, &volume)).await
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let volumes = volumes.to_vec();
        context.run(move |context| list::usage(context, &volumes)).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let volumes = volumes.to_vec();
        context.run(move |_| create::sync(&volumes)).await
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
        Some(self)
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
impl Snapshots for LvmStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let (source, target) = (source.clone(), target.clone());
        context.run(move |context| clone::snapshot(context, &source, &target)).await
    }
}

#[async_trait]
impl Clones for LvmStore {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let (from, work) = (source.clone(), jobs.to_vec());
        match context.run(move |context| Ok(clone::clone_all(context, &from, &work))).await {
            Ok(results) => results,
            Err(error) => vec![Err(error)],
        }
    }
}

#[async_trait]
impl Rename for LvmStore {
    fn aside(&self, volume: &Volume) -> Result<VolumeSource> {
        Place::of(volume)?.ghost(volume.id).source()
    }

    fn follow(&self, volume: &Volume, moved: &VolumeSource, target: &VolumeSource) -> Result<VolumeSource> {
        Ok(if volume.source == *moved { target.clone() } else { volume.source.clone() })
    }

    async fn options_of(&self, volume: &Volume) -> Result<Properties> {
        let volume = volume.clone();
        Context::default().run(move |context| list::options_of(context, &volume)).await
    }

    async fn rename(&self, context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
        let (volume, target) = (volume.clone(), target.clone());
        context.run(move |context| rename::rename(context, &volume, &target)).await
    }
}

#[async_trait]
impl Resize for LvmStore {
    async fn resize(&self, context: &Context, volume: &Volume, size: Bytes) -> Result<Resized> {
        let volume = volume.clone();
        context.run(move |context| resize::resize(context, &volume, size)).await
    }
}

#[async_trait]
impl LineageOps for LvmStore {
    async fn flatten(&self, context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
        let (volume, target) = (volume.clone(), target.clone());
        context.run(move |context| flatten::flatten(context, &volume, &target)).await
    }
}
