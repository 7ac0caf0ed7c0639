//! [`Bench`]: what one case works with: a store, a fresh ground, and short words for the usual steps.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::capability::Capabilities;
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::store::{BackingStore, CloneJob, Pool, Presence};
use keiki_core::volume::{Placement, Volume, VolumeId, VolumeRole};
use keiki_tree::{DescribeOptions, Description, Difference, describe_tree};
use rustix::fs::{Mode, OFlags, openat};
use tokio::runtime::Runtime;

use crate::claim_eq;
use crate::rig::{Ground, Missing, Rig};
use crate::verdict::{Failure, Verdict};

/// A store on fresh ground.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The rig that it comes from; cases that need more grounds ask it.
    pub rig: &'a dyn Rig,
    /// The store under test.
    pub store: Arc<dyn BackingStore>,
    ground: Ground,
    runtime: Runtime,
}

impl<'a> Bench<'a> {
    /// Makes a bench on fresh ground.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn open(rig: &'a dyn Rig) -> Result<Self, Missing> {
        Self::on(rig, rig.fresh_pool()?)
    }

    /// Makes a bench on ground that can be filled.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn open_small(rig: &'a dyn Rig) -> Result<Self, Missing> {
        Self::on(rig, rig.small_pool()?)
    }

    /// Makes a bench on ground where limits are kept.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn open_limited(rig: &'a dyn Rig) -> Result<Self, Missing> {
        Self::on(rig, rig.limited_pool()?)
    }

    fn on(rig: &'a dyn Rig, ground: Ground) -> Result<Self, Missing> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|e| Missing(format!("threads ({e})")))?;
        Ok(Self { rig, store: rig.store(), ground, runtime })
    }

    /// Returns the ground.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Returns the pool that is the ground's lxcpath.
    #[must_use]
    pub fn pool(&self) -> Pool {
        Pool { path: self.ground.lxcpath(), options: self.ground.options().clone() }
    }

    /// Returns what the store promises in this pool.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn promises(&self) -> Verdict<Capabilities> {
        Ok(self.store.capabilities(&self.pool())?)
    }

    /// Waits for a verb of the store.
    pub fn wait<T>(&self, verb: impl Future<Output = T>) -> T {
        self.runtime.block_on(verb)
    }

    /// Returns a placement below `<lxcpath>/<name>`, whose home exists.
    ///
    /// # Errors
    /// A name that cannot be.
    pub fn placement(&self, name: &str, role: VolumeRole) -> Verdict<Placement> {
        let home = match &role {
            VolumeRole::Snapshot(snapshot) => {
                self.ground.lxcpath().join(name).join("snaps").join(snapshot.as_str())
            }
            VolumeRole::Head => self.ground.lxcpath().join(name),
            // The engine makes a new head in a home of its own, from which it is exchanged.
            VolumeRole::Successor => self.ground.lxcpath().join(format!("{name}.next")),
        };
        std::fs::create_dir_all(&home)?;
        let container = ContainerName::existing(name)?;
        let options = self.ground.options().clone();
        Ok(Placement { id: VolumeId::generate(), container, role, home, options })
    }

    /// Chooses the place of a head called `name`, which begins as `origin` if there is one.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn place(&self, name: &str, origin: Option<&Volume>) -> Verdict<Volume> {
        self.place_as(name, VolumeRole::Head, origin)
    }

    /// Chooses the place of a volume with a role.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn place_as(&self, name: &str, role: VolumeRole, origin: Option<&Volume>) -> Verdict<Volume> {
        let placement = self.placement(name, role)?;
        let source = self.store.place(&placement, origin)?;
        Ok(Volume { id: placement.id, source, properties: placement.options })
    }

    /// Makes an empty volume.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn create(&self, name: &str) -> Verdict<Volume> {
        let volume = self.place(name, None)?;
        self.wait(self.store.create(&Context::default(), &volume))?;
        Ok(volume)
    }

    /// Makes a volume that holds the file `who` with its name in it.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn create_filled(&self, name: &str) -> Verdict<Volume> {
        let volume = self.create(name)?;
        self.write(&volume, "who", name.as_bytes())?;
        Ok(volume)
    }

    /// Clones `source` into a head called `name`.
    ///
    /// # Errors
    /// What the store says; a failure when it has no clones.
    #[track_caller]
    pub fn clone_of(&self, source: &Volume, name: &str) -> Verdict<Volume> {
        let target = self.place(name, Some(source))?;
        self.clone_into(source, &target)?;
        Ok(target)
    }

    /// Makes a head called `name` that begins as `source`, the `generation`th after one that depends on nobody: a clone, or, where
    /// a chain of clones would be longer than the store allows, a volume that the source is flattened into.
    ///
    /// # Errors
    /// What the store says; a failure when it has no clones, or limits chains and cannot flatten.
    #[track_caller]
    pub fn next_generation(&self, source: &Volume, name: &str, generation: u32) -> Verdict<Volume> {
        let period = self.promises()?.max_depth.map_or(u32::MAX, |limit| limit + 1);
        if !generation.is_multiple_of(period) {
            return self.clone_of(source, name);
        }
        let Some(lineage) = self.store.lineage_ops() else {
            return Err(Failure::new("the store limits chains and cannot flatten"));
        };
        let target = self.place(name, None)?;
        self.wait(lineage.flatten(&Context::default(), source, &target))?;
        Ok(target)
    }

    /// Clones `source` into a place that was chosen.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn clone_into(&self, source: &Volume, target: &Volume) -> Verdict<()> {
        let Some(clones) = self.store.clones() else {
            return Err(Failure::new("the store has no clones"));
        };
        let job = CloneJob { target: target.clone() };
        let results = self.wait(clones.clone_from(&Context::default(), source, &[job]));
        claim_eq!(results.len(), 1, "one result a job");
        for result in results {
            result?;
        }
        Ok(())
    }

    /// Takes the snapshot `name@snapshot` of `source` by the store's own snapshots, or by clones where it freezes.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn snapshot_of(&self, source: &Volume, name: &str, snapshot: &str) -> Verdict<Volume> {
        let role = VolumeRole::Snapshot(SnapshotName::parse(snapshot)?);
        let Some(snapshots) = self.store.snapshots() else {
            let target = self.place_as(name, role, Some(source))?;
            self.clone_into(source, &target)?;
            return Ok(target);
        };
        let target = self.place_as(name, role, Some(source))?;
        self.wait(snapshots.snapshot(&Context::default(), source, &target))?;
        Ok(target)
    }

    /// Mounts a volume where nobody sees it.
    ///
    /// # Errors
    /// What the store or the kernel says.
    #[track_caller]
    pub fn attach(&self, volume: &Volume, mode: AttachMode) -> Verdict<Tree> {
        let plan = self.wait(self.store.attach(&Context::default(), volume, mode))?;
        Tree::open(execute(&plan)?)
    }

    /// Writes one file into a volume.
    ///
    /// # Errors
    /// What the store or the kernel says.
    #[track_caller]
    pub fn write(&self, volume: &Volume, path: &str, content: &[u8]) -> Verdict<()> {
        if let Some(direct) = self.rig.direct() {
            return Ok(direct.write(volume, Path::new(path), content)?);
        }
        let tree = self.attach(volume, AttachMode::ReadWrite)?;
        std::fs::write(tree.path().join(path), content)?;
        drop(tree);
        Ok(self.wait(self.store.detach(&Context::default(), volume))?)
    }

    /// Returns everything that a volume holds.
    ///
    /// # Errors
    /// What the store or the kernel says.
    #[track_caller]
    pub fn content(&self, volume: &Volume) -> Verdict<Content> {
        if let Some(direct) = self.rig.direct() {
            return Ok(Content::Files(direct.read(volume)?));
        }
        let described = self.attach(volume, AttachMode::ReadOnly)?.describe()?;
        self.wait(self.store.detach(&Context::default(), volume))?;
        Ok(Content::Tree(described))
    }

    /// Fails unless the store finds this at the volume's place.
    ///
    /// # Errors
    /// What it finds instead.
    #[track_caller]
    pub fn expect(&self, volume: &Volume, presence: Presence) -> Verdict<()> {
        let found = self.wait(self.store.probe(volume))?;
        claim_eq!(found, presence, "`{}` is probed", volume.source);
        Ok(())
    }
}

/// What a volume holds, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Of a volume that was mounted.
    Tree(Description),
    /// Of a volume that cannot be mounted.
    Files(BTreeMap<PathBuf, Vec<u8>>),
}

impl Content {
    /// Fails unless `other` holds the same; says what differs.
    ///
    /// # Errors
    /// The first differences.
    #[track_caller]
    pub fn expect(&self, other: &Self, what: &str) -> Verdict<()> {
        let differences = self.all_differences(other, &|_| true);
        if differences.is_empty() { Ok(()) } else { Err(Failure::new(format!("{what}: {differences}"))) }
    }

    /// Returns the first differences, the root's own times apart: file systems move them when a root changes places.
    #[must_use]
    pub fn differences(&self, other: &Self) -> String {
        self.all_differences(other, &|d| !(d.fact == "mtime" && d.path.as_os_str() == "."))
    }

    fn all_differences(&self, other: &Self, counts: &dyn Fn(&Difference) -> bool) -> String {
        match (self, other) {
            (Self::Tree(left), Self::Tree(right)) => {
                let differences = left.diff(right).into_iter().filter(counts).take(8);
                differences.map(|d| d.to_string()).collect::<Vec<_>>().join("; ")
            }
            (Self::Files(left), Self::Files(right)) if left == right => String::new(),
            (left, right) => format!("{right:?}, not {left:?}"),
        }
    }
}

/// A mounted volume that has no place in any mount table; unmounted when dropped.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// Takes a detached mount.
    ///
    /// # Errors
    /// What the kernel says.
    #[track_caller]
    pub fn open(mount: OwnedFd) -> Verdict<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: openat(&mount, ".", flags, Mode::empty())? })
    }

    /// Takes a directory.
    ///
    /// # Errors
    /// What the kernel says.
    #[track_caller]
    pub fn at(path: &Path) -> Verdict<Self> {
        Self::open(std::fs::File::open(path)?.into())
    }

    /// Returns a path by which this process reaches the tree.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd()))
    }

    /// Describes everything in it.
    ///
    /// # Errors
    /// What the kernel says.
    #[track_caller]
    pub fn describe(&self) -> Verdict<Description> {
        Ok(describe_tree(self.root.as_fd(), DescribeOptions::default())?)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}
