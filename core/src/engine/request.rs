//! What is asked of the engine, what it answers, and what it asks of its surroundings.
//!
//! Requests are plain data, so that a plan can be printed before it is carried out. Answers say what was really done:
//! which store, by which means and at what cost.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::capability::Cost;
use crate::context::Context;
use crate::error::Result;
use crate::name::{ContainerName, SnapshotName};
use crate::registry::StoreChoice;
use crate::volume::{Properties, StoreKind, Volume};

/// Which container: a name within an lxcpath.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerKey {
    /// The absolute directory that holds containers; canonical, without a trailing slash.
    pub lxcpath: PathBuf,
    /// The name.
    pub name: ContainerName,
}

impl ContainerKey {
    /// Returns the container's directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.lxcpath.join(self.name.as_str())
    }

    /// Returns how a user seated in `lxcpath` names it: the bare name, with the lxcpath in front when it is another one.
    #[must_use]
    pub fn display(&self, lxcpath: &Path) -> String {
        if self.lxcpath == lxcpath { self.name.to_string() } else { self.home().display().to_string() }
    }

    /// Returns the directory of one of its snapshots.
    #[must_use]
    pub fn snapshot_home(&self, snapshot: &SnapshotName) -> PathBuf {
        self.home().join("snaps").join(snapshot.as_str())
    }
}

/// Puts the first content into a new volume.
pub trait Fill: Send + Debug {
    /// Writes the content below `root`, the root directory of the mounted volume. Names below it are followed only
    /// through this descriptor.
    ///
    /// # Errors
    /// Whatever goes wrong; the engine removes the volume then.
    fn fill(&mut self, context: &Context, root: BorrowedFd<'_>) -> Result<()>;
}

/// Makes a container.
#[derive(Debug)]
pub struct CreateContainer<'a> {
    /// Which; it must not exist.
    pub key: ContainerKey,
    /// In which store.
    pub store: StoreChoice,
    /// The store's options.
    pub options: Properties,
    /// The configuration in LXC's language, without `lxc.rootfs.path` and `lxc.uts.name`: the engine adds both.
    pub config: Vec<u8>,
    /// The first content; `None` leaves the volume empty.
    pub fill: Option<&'a mut dyn Fill>,
}

/// How a clone may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloneMode {
    /// An independent copy.
    Copy,
    /// A clone that shares data; refused where the store has none.
    Snapshot,
    /// A clone that shares data where the store has one, else a copy. The outcome says which.
    SnapshotOrCopy,
}

/// What a clone is given besides its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A new host name (the clone's) and new hardware addresses.
    Fresh,
    /// A new host name; hardware addresses stay: the same machine under another name.
    Renamed,
    /// Everything as in the source.
    Kept,
}

/// Makes clones of one container or snapshot; all of them or none.
#[derive(Debug, Clone)]
pub struct CloneContainer {
    /// The source.
    pub source: ContainerKey,
    /// A snapshot of the source; `None` is its head.
    pub snapshot: Option<SnapshotName>,
    /// The clones; none of them may exist.
    pub targets: Vec<ContainerKey>,
    /// By which means.
    pub mode: CloneMode,
    /// In which store; `Default` is the source's own (or the one that makes its snapshot clones).
    pub store: StoreChoice,
    /// Options for that store.
    pub options: Properties,
    /// What the clones are called inside.
    pub identity: Identity,
    /// Whether the clones live in memory and vanish when they stop.
    pub payload: Payload,
}

/// Where a clone keeps what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// On disk, until it is destroyed.
    Persistent,
    /// On disk; the container is destroyed when it stops (`lxc.ephemeral = 1`).
    Ephemeral,
    /// In memory, gone when it stops (`lxc.ephemeral = 1`). Only for stores that stack.
    EphemeralInMemory,
}

/// Takes a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotContainer {
    /// Of which container; it must be stopped where the store needs that.
    pub key: ContainerKey,
    /// Its name; `None` takes the lowest free `snapN`.
    pub name: Option<SnapshotName>,
    /// A comment, kept in LXC's `comment` file.
    pub comment: Option<String>,
}

/// Where a snapshot is restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreTarget {
    /// The container itself; its present head goes once the new one is durable.
    InPlace,
    /// A new container.
    New(ContainerKey),
}

/// How far a destroy may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DestroyScope {
    /// The container alone; refused while snapshots or dependents exist.
    Only,
    /// The container and its snapshots; refused while other containers depend on any of them.
    WithSnapshots,
    /// The container, its snapshots and every container that depends on them.
    WithDependents,
}

/// What was done, for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The container or snapshot that now exists, as the user would name it.
    pub name: String,
    /// The volume behind it.
    pub volume: Volume,
    /// Whether data is shared (`snapshot`) or was copied (`copy`); `None` where nothing was cloned.
    pub means: Option<Means>,
    /// What it cost.
    pub cost: Cost,
}

/// How data got into a new volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// By sharing it with its origin.
    Snapshot,
    /// By copying it.
    Copy,
}

/// One container, as the catalogue knows it. No tool is run and nothing is mounted to answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerRecord {
    /// Which.
    pub key: ContainerKey,
    /// The store of its head; `None` for a container that LXC made with a source that no store here understands.
    pub store: Option<StoreKind>,
    /// Its head; `None` as above.
    pub volume: Option<Volume>,
    /// Where it was cloned from: `name` or `name@snapshot`, with the lxcpath in front when that is another one.
    pub origin: Option<String>,
    /// Containers and snapshots whose data needs this one's, in the same form as `origin`, sorted.
    pub dependents: Vec<String>,
    /// Its snapshots, in the order in which they were taken.
    pub snapshots: Vec<SnapshotName>,
    /// When it was made, in seconds since 1970; `None` for containers of LXC.
    pub created: Option<u64>,
    /// Whether the catalogue holds it, or only LXC's own files do so far.
    pub adopted: bool,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotRecord {
    /// Its name.
    pub name: SnapshotName,
    /// When it was taken, in seconds since 1970.
    pub created: Option<u64>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its volume.
    pub volume: Volume,
    /// Containers that depend on it, sorted.
    pub dependents: Vec<String>,
}

/// Who uses a container right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What it does, for the message: `running`, `starting`, `running under lxc-start`.
    pub activity: String,
    /// Its process, if known.
    pub pid: Option<u32>,
}

/// Tells the engine whether a container is in use. The runtime implements it; the engine never guesses.
pub trait Activity: Send + Sync + Debug {
    /// Returns who uses the container now, or `None`.
    ///
    /// # Errors
    /// When it cannot be found out; the operation is refused then.
    fn holder(&self, key: &ContainerKey) -> Result<Option<Holder>>;
}

/// Edits LXC configuration text. The engine treats configuration as bytes, except for these questions.
pub trait ConfigEditor: Send + Sync + Debug {
    /// Returns the value of `lxc.rootfs.path`, with includes not followed; `None` when it is not set.
    ///
    /// # Errors
    /// `InvalidArgument` with `file:line:column` for text that is not LXC configuration.
    fn rootfs(&self, config: &[u8], file: &Path) -> Result<Option<String>>;

    /// Returns `config` with `lxc.rootfs.path` set to `source`; every other byte stays where it can.
    ///
    /// # Errors
    /// As [`Self::rootfs`].
    fn with_rootfs(&self, config: &[u8], source: &str) -> Result<Vec<u8>>;

    /// Returns `config` for a container called `name` that lives in `home` instead of `old_home`: `lxc.uts.name` (for
    /// a fresh identity), hardware addresses (for a fresh identity), paths below the old home, `lxc.ephemeral`.
    ///
    /// # Errors
    /// As [`Self::rootfs`].
    fn for_clone(&self, config: &[u8], request: &CloneConfig<'_>) -> Result<Vec<u8>>;

    /// Returns the paths below `home` that `config` names and whose files a clone needs as well: an fstab, hook scripts,
    /// includes. Not log files, not what is mounted. They need not exist.
    ///
    /// # Errors
    /// As [`Self::rootfs`].
    fn companions(&self, config: &[u8], home: &Path) -> Result<Vec<PathBuf>>;
}

/// What [`ConfigEditor::for_clone`] is told.
#[derive(Debug, Clone, Copy)]
pub struct CloneConfig<'a> {
    /// The clone's name.
    pub name: &'a ContainerName,
    /// The source's directory.
    pub old_home: &'a Path,
    /// The clone's directory.
    pub home: &'a Path,
    /// The clone's source, for `lxc.rootfs.path`.
    pub source: &'a str,
    /// Whether it gets a host name and hardware addresses of its own.
    pub identity: Identity,
    /// Whether `lxc.ephemeral = 1` is set.
    pub payload: Payload,
}
