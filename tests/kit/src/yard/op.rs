//! [`Op`]: one operation of the engine as data.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use keiki_core::context::Context;
use keiki_core::engine::{
    CloneContainer, CloneMode, CreateContainer, DestroyScope, Divergence, Fill, Identity, Payload,
    ReceiveContainer, Received, RestoreTarget, SnapshotContainer,
};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::registry::StoreChoice;
use keiki_core::units::Bytes;
use keiki_core::volume::Properties;
use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Seed, Yard};

/// How a clone is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Means {
    /// An independent copy.
    Copy,
    /// A clone that shares data.
    Snapshot,
    /// The second where the store has it, else the first.
    Either,
}

impl Means {
    pub(crate) fn mode(self) -> CloneMode {
        match self {
            Self::Copy => CloneMode::Copy,
            Self::Snapshot => CloneMode::Snapshot,
            Self::Either => CloneMode::SnapshotOrCopy,
        }
    }
}

/// How far a destroy reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The container alone.
    Only,
    /// With its snapshots.
    Snapshots,
    /// With everything that depends on it.
    Dependents,
}

impl Reach {
    /// Returns the engine's word.
    #[must_use]
    pub fn scope(self) -> DestroyScope {
        match self {
            Self::Only => DestroyScope::Only,
            Self::Snapshots => DestroyScope::WithSnapshots,
            Self::Dependents => DestroyScope::WithDependents,
        }
    }
}

/// One operation. Names are those of containers in the yard's lxcpath.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the nouns of the operations")]
pub enum Op {
    /// Makes a container with three files.
    Create { name: String },
    /// Writes a file as a running container would.
    Write { name: String, file: String, text: String },
    /// Clones a container or one of its snapshots, once or more.
    Clone { source: String, snapshot: Option<String>, targets: Vec<String>, means: Means },
    /// Takes a snapshot, which the engine names.
    Snapshot { name: String },
    /// Restores a snapshot, in place or as a new container.
    Restore { name: String, snapshot: String, to: Option<String> },
    /// Destroys a snapshot.
    DestroySnapshot { name: String, snapshot: String },
    /// Destroys a container.
    Destroy { name: String, reach: Reach },
    /// Gives a container another name.
    Rename { name: String, to: String },
    /// Makes a container depend on nobody.
    Flatten { name: String },
    /// Turns a container's dependency round.
    Promote { name: String },
    /// Makes a container's volume so many bytes large.
    Resize { name: String, size: u64 },
    /// Limits what a container may hold to so many bytes.
    Quota { name: String, limit: u64 },
    /// Puts a container on disk as LXC lays it out. Not an operation of the engine.
    Plant { name: String },
    /// Marks a snapshot with a comment.
    Comment { name: String, snapshot: String, text: String },
    /// Receives the stream in a file as a container, new or brought up to date.
    Receive { file: PathBuf, name: String },
}

impl Op {
    /// Makes the container `name`.
    #[must_use]
    pub fn create(name: &str) -> Self {
        Self::Create { name: name.to_owned() }
    }

    /// Writes `text` into the file `file`.
    #[must_use]
    pub fn write(name: &str, file: &str, text: &str) -> Self {
        Self::Write { name: name.to_owned(), file: file.to_owned(), text: text.to_owned() }
    }

    /// Clones `source`, or the snapshot in `source@snapshot`.
    #[must_use]
    pub fn clone(source: &str, targets: &[&str], means: Means) -> Self {
        let (source, snapshot) = source.split_once('@').map_or((source, None), |(name, at)| (name, Some(at)));
        Self::Clone {
            source: source.to_owned(),
            snapshot: snapshot.map(str::to_owned),
            targets: targets.iter().map(|&name| name.to_owned()).collect(),
            means,
        }
    }

    /// Takes the next snapshot.
    #[must_use]
    pub fn snapshot(name: &str) -> Self {
        Self::Snapshot { name: name.to_owned() }
    }

    /// Restores in place.
    #[must_use]
    pub fn restore(name: &str, snapshot: &str) -> Self {
        Self::Restore { name: name.to_owned(), snapshot: snapshot.to_owned(), to: None }
    }

    /// Restores as a new container.
    #[must_use]
    pub fn restore_as(name: &str, snapshot: &str, to: &str) -> Self {
        Self::Restore { name: name.to_owned(), snapshot: snapshot.to_owned(), to: Some(to.to_owned()) }
    }

    /// Destroys a snapshot.
    #[must_use]
    pub fn destroy_snapshot(name: &str, snapshot: &str) -> Self {
        Self::DestroySnapshot { name: name.to_owned(), snapshot: snapshot.to_owned() }
    }

    /// Destroys a container.
    #[must_use]
    pub fn destroy(name: &str, reach: Reach) -> Self {
        Self::Destroy { name: name.to_owned(), reach }
    }

    /// Renames a container.
    #[must_use]
    pub fn rename(name: &str, to: &str) -> Self {
        Self::Rename { name: name.to_owned(), to: to.to_owned() }
    }

    /// Flattens a container.
    #[must_use]
    pub fn flatten(name: &str) -> Self {
        Self::Flatten { name: name.to_owned() }
    }

    /// Promotes a container.
    #[must_use]
    pub fn promote(name: &str) -> Self {
        Self::Promote { name: name.to_owned() }
    }

    /// Plants a container of LXC.
    #[must_use]
    pub fn plant(name: &str) -> Self {
        Self::Plant { name: name.to_owned() }
    }

    /// Sets a comment.
    #[must_use]
    pub fn comment(name: &str, snapshot: &str, text: &str) -> Self {
        Self::Comment { name: name.to_owned(), snapshot: snapshot.to_owned(), text: text.to_owned() }
    }
}

impl Yard<'_> {
    /// Carries out an operation.
    ///
    /// # Errors
    /// What the engine says.
    pub fn apply(&self, context: &Context, op: &Op) -> Result<()> {
        match op {
            Op::Create { name } => self.create(context, name),
            Op::Write { name, file, text } => self.write(name, file, text),
            Op::Clone { source, snapshot, targets, means } => {
                self.clone_all(context, source, snapshot.as_deref(), targets, *means)
            }
            Op::Snapshot { name } => {
                let request = SnapshotContainer { key: self.key(name)?, name: None, comment: None };
                self.engine.snapshot(context, &request).map(drop)
            }
            Op::Restore { name, snapshot, to } => self.restore(context, name, snapshot, to.as_deref()),
            Op::DestroySnapshot { name, snapshot } => {
                self.engine.destroy_snapshot(context, &self.key(name)?, &SnapshotName::parse(snapshot)?)
            }
            Op::Destroy { name, reach } => {
                self.engine.destroy(context, &self.key(name)?, reach.scope()).map(drop)
            }
            Op::Rename { name, to } => self.engine.rename(context, &self.key(name)?, &self.key(to)?.name),
            Op::Flatten { name } => self.engine.flatten(context, &self.key(name)?).map(drop),
            Op::Promote { name } => self.engine.promote(context, &self.key(name)?).map(drop),
            Op::Resize { name, size } => {
                self.engine.resize(context, &self.key(name)?, Bytes(*size)).map(drop)
            }
            Op::Quota { name, limit } => self.engine.quota(context, &self.key(name)?, Some(Bytes(*limit))),
            Op::Plant { name } => self.plant(name),
            Op::Comment { name, snapshot, text } => {
                self.engine.set_comment(&self.key(name)?, &SnapshotName::parse(snapshot)?, text)
            }
            Op::Receive { file, name } => {
                let input = File::open(file).map_err(|e| Error::io("cannot open the stream", e))?;
                self.receive(context, Box::new(input), name, Divergence::Refuse).map(drop)
            }
        }
    }

    /// Receives a stream into the store under test.
    ///
    /// # Errors
    /// What the engine says.
    pub fn receive(
        &self,
        context: &Context,
        input: Box<dyn Read + Send>,
        name: &str,
        divergence: Divergence,
    ) -> Result<Received> {
        let request = ReceiveContainer {
            lxcpath: self.lxcpath.clone(),
            name: Some(ContainerName::parse(name)?),
            store: StoreChoice::FirstOf(vec![self.rig.store().kind()]),
            options: self.options.clone(),
            divergence,
        };
        self.engine.receive(context, &request, input)
    }

    fn create(&self, context: &Context, name: &str) -> Result<()> {
        let mut seed = Seed(name);
        let key = self.key(name)?;
        let fill = self.rig.direct().is_none().then_some(&mut seed as &mut dyn Fill);
        let request = CreateContainer {
            key,
            store: StoreChoice::FirstOf(vec![self.rig.store().kind()]),
            options: self.options.clone(),
            config: b"lxc.tty.max = 4\n".to_vec(),
            fill,
        };
        self.engine.create(context, request).map(drop)
    }

    fn clone_all(
        &self,
        context: &Context,
        source: &str,
        snapshot: Option<&str>,
        targets: &[String],
        means: Means,
    ) -> Result<()> {
        let request = CloneContainer {
            source: self.key(source)?,
            snapshot: snapshot.map(SnapshotName::parse).transpose()?,
            targets: targets.iter().map(|name| self.key(name)).collect::<Result<_>>()?,
            mode: means.mode(),
            store: StoreChoice::Default,
            options: self.options_for_clone(source),
            identity: Identity::Fresh,
            payload: Payload::Persistent,
        };
        self.engine.clone_container(context, &request).map(drop)
    }

    /// A clone of a container in another store (one of LXC's, say) goes to that store, which knows nothing of our options.
    fn options_for_clone(&self, source: &str) -> Properties {
        let store = self.key(source).and_then(|key| self.engine.container(&key)).ok().and_then(|r| r.store);
        if store == Some(self.rig.store().kind()) { self.options.clone() } else { Properties::new() }
    }

    fn restore(&self, context: &Context, name: &str, snapshot: &str, to: Option<&str>) -> Result<()> {
        let target = match to {
            Some(name) => RestoreTarget::New(self.key(name)?),
            None => RestoreTarget::InPlace,
        };
        self.engine.restore(context, &self.key(name)?, &SnapshotName::parse(snapshot)?, &target).map(drop)
    }

    /// Puts down what `lxc-create -B dir` leaves.
    fn plant(&self, name: &str) -> Result<()> {
        let home = self.lxcpath.join(name);
        let rootfs = home.join("rootfs");
        let config = format!(
            "# Template used to create this container: busybox\nlxc.rootfs.path = dir:{}\nlxc.uts.name = {name}\n",
            rootfs.display()
        );
        let planted = std::fs::create_dir_all(&rootfs)
            .and_then(|()| std::fs::write(home.join("config"), config))
            .and_then(|()| std::fs::write(rootfs.join("who"), name))
            .and_then(|()| {
                let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
                let times = std::fs::FileTimes::new().set_accessed(moment).set_modified(moment);
                std::fs::File::options().write(true).open(rootfs.join("who"))?.set_times(times)
            });
        planted.map_err(|e| Error::new(ErrorKind::Io, format!("cannot plant `{name}`")).with_source(e))
    }
}
