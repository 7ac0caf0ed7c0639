//! [`DirStore`]: the contract, verb by verb.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keiki_core::capability::{
    Availability, Capabilities, Cost, Durability, IdMapping, Live, ParentDelete, ParentWrite, Residence,
    SnapshotStyle,
};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::probe;
use rustix::fs::{Mode, OFlags, fstat, open};

use crate::place::{self, Place, path_of};
use crate::spec::Spec;
use crate::{adopt, copy, create, destroy, exchange, list, usage};

/// The word in front of our sources.
pub(crate) const KIND: &str = "dir";

/// Root filesystems in plain directories.
#[derive(Debug, Default)]
pub struct DirStore {
    reflinks: Arc<Reflinks>,
}

/// Which devices share blocks between files; asked once each.
#[derive(Debug, Default)]
pub(crate) struct Reflinks(Mutex<HashMap<u64, bool>>);

impl DirStore {
    /// Returns the store; it keeps nothing but what it learned about file systems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Reflinks {
    /// Returns whether files in the open directory `path` can share blocks; one that cannot be asked cannot.
    pub(crate) fn at(&self, path: &Path, directory: &OwnedFd) -> Result<bool> {
        let device = fstat(directory).or_err(|| format!("cannot look at `{}`", path.display()))?.st_dev;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(can) = known.get(&device) {
            return Ok(*can);
        }
        let answer = probe(directory.as_fd());
        if let Ok(abilities) = &answer {
            known.insert(device, abilities.reflink);
        }
        Ok(answer.is_ok_and(|abilities| abilities.reflink))
    }
}

fn open_pool(pool: &Pool) -> Result<OwnedFd> {
    open(&pool.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_err(|| format!("cannot open `{}`", pool.path.display()))
}

fn unavailable(error: &Error, remedy: &str) -> Availability {
    Availability::Unavailable { reason: error.full_message(), remedy: remedy.to_owned() }
}

#[async_trait]
impl BackingStore for DirStore {
    fn kind(&self) -> StoreKind {
        StoreKind::new(KIND)
    }

    fn capabilities(&self, pool: &Pool) -> Result<Capabilities> {
        let can_share = self.reflinks.at(&pool.path, &open_pool(pool)?)?;
        let cost = if can_share { Cost::PerEntry } else { Cost::PerByte };
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
        let directory = match open_pool(pool) {
            Ok(directory) => directory,
            Err(error) => return unavailable(&error, "make the directory, or choose another with --lxcpath"),
        };
        match probe(directory.as_fd()).or_err(|| format!("cannot write in `{}`", pool.path.display())) {
            Ok(abilities) if abilities.marks => Availability::Ready,
            Ok(_) => Availability::Unavailable {
                reason: format!("the file system of `{}` keeps no extended attributes", pool.path.display()),
                remedy: "choose an lxcpath on ext4, xfs, btrfs or tmpfs".to_owned(),
            },
            Err(error) => unavailable(&error, "choose a writable lxcpath with --lxcpath"),
        }
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
        context.run(move |context| destroy::destroy(context, &volume)).await
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        let Some(place) = Place::open(volume)? else { return Ok(Presence::Absent) };
        Ok(match place.look()? {
            place::Found::Marked(_, mark) => mark.parse().map_or(Presence::Foreign, Presence::Complete),
            place::Found::Unmarked(_) | place::Found::NoDirectory => Presence::Foreign,
            place::Found::Nothing if place.is_aside()? => Presence::Partial,
            place::Found::Nothing => Presence::Absent,
        })
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        list::list(pool)
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        let volume = volume.clone();
        context.run(move |context| adopt::adopt(context, &volume, copied)).await
    }

    async fn attach(&self, _context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        // Whoever made it: a container of LXC is started before it is adopted.
        Place::open_any(volume)?;
        let recipe = MountRecipe::Directory { path: path_of(volume)?.to_owned() };
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
        context.run(move |context| exchange::exchange(context, &a, &b)).await
    }
}
