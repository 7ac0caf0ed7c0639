//! [`LoopStore`]: the contract, signed. Thin: each verb is in a file of its own.

use std::ffi::CStr;
use std::sync::Arc;

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::homes::{Place, Reflinks, Shape, as_path, obstacle, path_of};
use keiki_core::mount_plan::{AttachMode, MountPlan};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Resized, Snapshots, Transfer, Usage,
};
use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, open};

use crate::spec::Spec;
use crate::{attach, clone, create, destroy, list, resize, usage};

/// The word in front of our sources.
pub(crate) const KIND: &str = "loop";
/// The name that LXC gives to an image.
pub(crate) const IMAGE: &CStr = c"rootdev";

/// Root filesystems in image files on loop devices.
#[derive(Debug, Default)]
pub struct LoopStore {
    reflinks: Arc<Reflinks>,
}

impl LoopStore {
    /// Returns the store; it keeps nothing but what it learned about file systems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Availability {
    Availability::Unavailable { reason: reason.into(), remedy: remedy.into() }
}

/// Returns what the host lacks for images in `pool`, if anything.
fn missing(pool: &Pool) -> Option<Availability> {
    const CONTROL: &str = "/dev/loop-control";
    let fstype = match Spec::parse(&pool.options) {
        Ok(spec) => spec.new_type(),
        Err(error) => return Some(unavailable(error.full_message(), error.hints().join("; "))),
    };
    if let Err(error) = fstype.require_tools() {
        return Some(unavailable(error.full_message(), error.hints().join("; ")));
    }
    if let Err(errno) = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let reason = format!("cannot open `{CONTROL}`: {}", std::io::Error::from(errno));
        return Some(unavailable(reason, "run it as root; load the kernel module: `modprobe loop`"));
    }
    obstacle(pool)
}

#[async_trait]
impl BackingStore for LoopStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(KIND)
    }

    fn capabilities(&self, pool: &Pool) -> Result<Capabilities> {
        let cost = if self.reflinks.in_pool(pool)? { Cost::Constant } else { Cost::PerByte };
        Ok(Capabilities {
            residence: Residence::Home,
            snapshot_style: SnapshotStyle::Beside,
            snapshot_cost: cost,
            snapshot_of_snapshot: true,
            clone_cost: cost,
            clones_from: Vec::new(),
            snapshot_clones_by: None,
            parent_write: ParentWrite::Free,
            parent_delete: ParentDelete::Independent,
            // What a running container has not written back is not in the image.
            live: Live::NeedsStop,
            max_depth: None,
            id_mapping: IdMapping::Mount,
            durability: Durability::AfterSync,
            block: true,
            unprivileged: false,
        })
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        missing(pool).unwrap_or(Availability::Ready)
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        if let Some(origin) = origin {
            if origin.kind().as_str() != KIND {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("the loop store cannot clone from `{}`", origin.source),
                )
                .with_hint("copy instead: `keiki clone --copy --bdev loop`"));
            }
            clone::refuse_apart(path_of(origin)?, &placement.home)?;
        }
        Spec::parse(&placement.options)?;
        VolumeSource::at_path(self.kind(), &placement.home.join(as_path(IMAGE)))
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
        Place::of(volume, Shape::File)?.map_or(Ok(Presence::Absent), |place| place.presence())
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        list::list(pool)
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        let adopt = move |context: &Context| {
            Place::of_existing(&volume, Shape::File)?.adopt(context, "loop.adopt", copied)
        };
        context.run(adopt).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        let volume = volume.clone();
        context.run(move |_| attach::attach(&volume, mode)).await
    }

    /// Nothing was activated: the device comes and goes with the mount.
    async fn detach(&self, _context: &Context, _volume: &Volume) -> Result<()> {
        Ok(())
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        let (volumes, reflinks) = (volumes.to_vec(), Arc::clone(&self.reflinks));
        context.run(move |_| volumes.iter().map(|volume| usage::usage(volume, &reflinks)).collect()).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let volumes = volumes.to_vec();
        context.run(move |context| usage::sync(context, &volumes)).await
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
        Some(self)
    }

    fn quota(&self) -> Option<&dyn Quota> {
        None
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        None
    }

    fn promotion(&self) -> Option<&dyn Promote> {
        None
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        None
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        None
    }
}

#[async_trait]
impl Snapshots for LoopStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let (source, target) = (source.clone(), target.clone());
        context.run(move |context| clone::copy(context, &source, &target)).await
    }
}

#[async_trait]
impl Clones for LoopStore {
    /// One after the other: each of them waits for the source's lock.
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (source, target) = (source.clone(), job.target.clone());
            results.push(context.run(move |context| clone::copy(context, &source, &target)).await);
        }
        results
    }
}

#[async_trait]
impl Exchange for LoopStore {
    /// What is mounted stays mounted: a device is bound to a file and not to its name.
    async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()> {
        let (a, b) = (a.clone(), b.clone());
        let exchange = move |context: &Context| {
            let place = |volume| Place::of_existing(volume, Shape::File);
            Place::exchange(context, "loop.exchange", &place(&a)?, &place(&b)?)
        };
        context.run(exchange).await
    }
}

#[async_trait]
impl Resize for LoopStore {
    async fn resize(&self, context: &Context, volume: &Volume, size: Bytes) -> Result<Resized> {
        let volume = volume.clone();
        context.run(move |context| resize::resize(context, &volume, size)).await
    }
}
