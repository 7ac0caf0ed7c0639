//! An installation of its own for one test: an lxcpath, a state directory, a store, and an engine that can be opened
//! again and again over them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keiki_core::capability::Capabilities;
use keiki_core::context::Context;
use keiki_core::engine::{
    CloneContainer, CloneMode, ContainerKey, CreateContainer, DestroyScope, Engine, EngineOptions, Identity,
    Outcome, Payload, RestoreTarget, SnapshotContainer,
};
use keiki_core::mount_plan::{self, AttachMode};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::reference::{Group, ReferenceDisk, ReferenceOptions, ReferenceStore};
use keiki_core::registry::{Registry, StoreChoice};
use keiki_core::store::{BackingStore, Pool};
use keiki_core::volume::{Properties, StoreKind, Volume};
use keiki_core::{ErrorKind, Result};
use tempfile::TempDir;

use crate::editor::Lines;
use crate::occupied::Occupied;

/// What every container's configuration begins with; the paths in it must follow a rename.
pub(crate) const CONFIG: &str = "# a test\nlxc.tty.max = 4\n";

/// The files of a root filesystem.
pub(crate) type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A store with its lineage.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Reference(ReferenceOptions),
    Dir,
    Overlay,
}

impl Profile {
    fn reference(name: &'static str, options: ReferenceOptions) -> Self {
        Self { name, kind: Kind::Reference(options) }
    }

    /// The reference store in all its shapes.
    pub(crate) fn references() -> Vec<Self> {
        vec![
            Self::reference("independent", ReferenceOptions::independent()),
            Self::reference("independent-home", ReferenceOptions::independent().in_home()),
            Self::reference(
                "no-exchange-home",
                ReferenceOptions::independent().in_home().without(Group::Exchange),
            ),
            Self::reference("freezing", ReferenceOptions::freezing()),
            Self::reference("freezing-home", ReferenceOptions::freezing().in_home()),
            Self::reference("deferring", ReferenceOptions::deferring()),
            Self::reference("refusing", ReferenceOptions::refusing()),
            Self::reference("deferring-plain", ReferenceOptions::deferring().plainly_named()),
            Self::reference("refusing-plain", ReferenceOptions::refusing().plainly_named()),
            Self::reference("copying-home", ReferenceOptions::copying().in_home()),
        ]
    }

    /// The stores that put real trees on a real file system.
    pub(crate) fn real() -> Vec<Self> {
        let all = vec![Self { name: "dir", kind: Kind::Dir }, Self { name: "overlay", kind: Kind::Overlay }];
        if rustix::process::geteuid().is_root() {
            return all;
        }
        println!("skipped: needs root to mount and to mark");
        Vec::new()
    }

    /// Every store.
    pub(crate) fn all() -> Vec<Self> {
        [Self::references(), Self::real()].concat()
    }

    /// The stores with these names.
    pub(crate) fn named(names: &[&str]) -> Vec<Self> {
        Self::all().into_iter().filter(|profile| names.contains(&profile.name)).collect()
    }

    pub(crate) fn kind(&self) -> StoreKind {
        match &self.kind {
            Kind::Reference(options) => options.kind.clone(),
            Kind::Dir => StoreKind::new("dir"),
            Kind::Overlay => StoreKind::new("overlay"),
        }
    }

    /// Whether containers can be given another's content by reading it.
    pub(crate) fn can_mount(&self) -> bool {
        !matches!(self.kind, Kind::Reference(_))
    }
}

/// One installation.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) profile: Profile,
    pub(crate) disk: ReferenceDisk,
    pub(crate) occupied: Arc<Occupied>,
    directory: TempDir,
    registry: Registry,
    reference: Option<ReferenceStore>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(crate) fn new(profile: &Profile) -> Self {
        let disk = ReferenceDisk::new();
        let mut registry = Registry::new();
        let mut reference = None;
        match &profile.kind {
            Kind::Reference(options) => {
                let store = ReferenceStore::new(options.clone(), &disk);
                registry = registry.with(Arc::new(store.clone()));
                reference = Some(store);
            }
            Kind::Dir => {
                registry = registry
                    .with(Arc::new(keiki_dir::DirStore::new()))
                    .with(Arc::new(keiki_overlay::OverlayStore::new()));
            }
            Kind::Overlay => {
                registry = registry
                    .with(Arc::new(keiki_overlay::OverlayStore::new()))
                    .with(Arc::new(keiki_dir::DirStore::new()));
            }
        }
        let rig = Self {
            profile: profile.clone(),
            disk,
            occupied: Arc::default(),
            directory: fast_directory(),
            registry,
            reference,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        };
        std::fs::create_dir(rig.lxcpath()).unwrap();
        rig
    }

    /// Opens the installation once more.
    pub(crate) fn engine(&self) -> Engine {
        self.try_engine().unwrap()
    }

    pub(crate) fn try_engine(&self) -> Result<Engine> {
        self.engine_that_waits(Duration::from_secs(10))
    }

    /// Opens the installation with another patience than that which outlasts a loaded machine.
    pub(crate) fn engine_that_waits(&self, lock_wait: Duration) -> Result<Engine> {
        Engine::open(EngineOptions {
            registry: self.registry.clone(),
            state: self.state(),
            activity: self.occupied.clone(),
            editor: Arc::new(Lines),
            lock_wait,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn lxcpath(&self) -> PathBuf {
        self.root().join("lxc")
    }

    pub(crate) fn key(&self, name: &str) -> ContainerKey {
        ContainerKey { lxcpath: self.lxcpath(), name: ContainerName::existing(name).unwrap() }
    }

    pub(crate) fn store(&self, kind: &StoreKind) -> &Arc<dyn BackingStore> {
        self.registry.get(kind).unwrap()
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let pool = Pool { path: self.lxcpath(), options: Properties::new() };
        self.store(&self.profile.kind()).capabilities(&pool).unwrap()
    }

    /// Everything that the volume shows.
    pub(crate) fn contents(&self, volume: &Volume) -> Tree {
        self.try_contents(volume).unwrap()
    }

    pub(crate) fn try_contents(&self, volume: &Volume) -> Result<Tree> {
        if let Some(reference) = &self.reference {
            return reference.contents(volume);
        }
        let store = self.store(volume.kind());
        let cx = Context::default();
        let plan = self.runtime.block_on(store.attach(&cx, volume, AttachMode::ReadOnly))?;
        let mount = mount_plan::execute(&plan)?;
        let tree = read_tree(Path::new(&format!("/proc/self/fd/{}", mount.as_raw_fd())));
        drop(mount);
        self.runtime.block_on(store.detach(&cx, volume))?;
        Ok(tree)
    }

    /// Writes a file into a volume, as its container would.
    pub(crate) fn write_volume(&self, volume: &Volume, path: &str, content: &str) {
        if let Some(reference) = &self.reference {
            return reference.write(volume, path, content.as_bytes()).unwrap();
        }
        let store = self.store(volume.kind());
        let cx = Context::default();
        let plan = self.runtime.block_on(store.attach(&cx, volume, AttachMode::ReadWrite)).unwrap();
        let mount = mount_plan::execute(&plan).unwrap();
        let path = format!("/proc/self/fd/{}/{path}", mount.as_raw_fd());
        std::fs::write(path, content).unwrap();
        drop(mount);
        self.runtime.block_on(store.detach(&cx, volume)).unwrap();
    }

    pub(crate) fn head(&self, engine: &Engine, name: &str) -> Volume {
        engine.container(&self.key(name)).unwrap().volume.unwrap()
    }

    pub(crate) fn write(&self, engine: &Engine, name: &str, path: &str, content: &str) {
        self.write_volume(&self.head(engine, name), path, content);
    }

    /// The content of one file of a container's head.
    pub(crate) fn read(&self, engine: &Engine, name: &str, path: &str) -> Option<String> {
        let tree = self.contents(&self.head(engine, name));
        tree.get(Path::new(path)).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    /// The content of one file of a snapshot.
    pub(crate) fn read_snapshot(
        &self,
        engine: &Engine,
        name: &str,
        snapshot: &str,
        path: &str,
    ) -> Option<String> {
        let records = engine.snapshots(&self.key(name)).unwrap();
        let record = records.into_iter().find(|record| record.name.as_str() == snapshot).unwrap();
        let tree = self.contents(&record.volume);
        tree.get(Path::new(path)).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    pub(crate) fn create_request(&self, name: &str) -> CreateContainer<'static> {
        CreateContainer {
            key: self.key(name),
            store: StoreChoice::Default,
            options: Properties::new(),
            config: CONFIG.as_bytes().to_vec(),
            fill: None,
        }
    }

    /// Makes a container with a file `f`.
    pub(crate) fn create(&self, engine: &Engine, name: &str, content: &str) -> Outcome {
        let outcome = engine.create(&Context::default(), self.create_request(name)).unwrap();
        self.write_volume(&outcome.volume, "f", content);
        outcome
    }

    pub(crate) fn clone_request(&self, source: &str, targets: &[&str], mode: CloneMode) -> CloneContainer {
        let (source, snapshot) = source.split_once('@').map_or((source, None), |(name, s)| (name, Some(s)));
        CloneContainer {
            source: self.key(source),
            snapshot: snapshot.map(|name| SnapshotName::parse(name).unwrap()),
            targets: targets.iter().map(|name| self.key(name)).collect(),
            mode,
            store: StoreChoice::Default,
            options: Properties::new(),
            identity: Identity::Fresh,
            payload: Payload::Persistent,
        }
    }

    pub(crate) fn clone(&self, engine: &Engine, source: &str, target: &str) -> Result<Outcome> {
        let request = self.clone_request(source, &[target], CloneMode::Snapshot);
        engine.clone_container(&Context::default(), &request).map(|mut outcomes| outcomes.remove(0))
    }

    pub(crate) fn snapshot_request(&self, name: &str) -> SnapshotContainer {
        SnapshotContainer { key: self.key(name), name: None, comment: Some("why".to_owned()) }
    }

    pub(crate) fn snapshot(&self, engine: &Engine, name: &str) -> String {
        engine.snapshot(&Context::default(), &self.snapshot_request(name)).unwrap().name
    }

    pub(crate) fn restore(
        &self,
        engine: &Engine,
        name: &str,
        snapshot: &str,
        to: &RestoreTarget,
    ) -> Result<Outcome> {
        let snapshot = SnapshotName::parse(snapshot).unwrap();
        engine.restore(&Context::default(), &self.key(name), &snapshot, to)
    }

    pub(crate) fn destroy(&self, engine: &Engine, name: &str, scope: DestroyScope) -> Result<()> {
        engine.destroy(&Context::default(), &self.key(name), scope).map(drop)
    }

    pub(crate) fn destroy_snapshot(&self, engine: &Engine, name: &str, snapshot: &str) -> Result<()> {
        engine.destroy_snapshot(&Context::default(), &self.key(name), &SnapshotName::parse(snapshot).unwrap())
    }

    pub(crate) fn names(&self, engine: &Engine) -> Vec<String> {
        let records = engine.containers(&self.lxcpath()).unwrap();
        records.into_iter().map(|record| record.key.name.to_string()).collect()
    }

    /// The identities of every volume of ours that a store finds.
    pub(crate) fn physical(&self) -> BTreeSet<String> {
        if self.reference.is_some() {
            return self.disk.ids().iter().map(ToString::to_string).collect();
        }
        let pool = Pool { path: self.lxcpath(), options: Properties::new() };
        let list = |store: &Arc<dyn BackingStore>| self.runtime.block_on(store.list(&pool)).unwrap();
        self.registry.stores().iter().flat_map(list).map(|found| found.id.to_string()).collect()
    }

    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.lxcpath().join(relative).symlink_metadata().is_ok()
    }

    pub(crate) fn text(&self, relative: &str) -> Option<String> {
        std::fs::read_to_string(self.lxcpath().join(relative)).ok()
    }
}

/// A directory in memory where there is one: every transaction waits for the disk otherwise.
fn fast_directory() -> TempDir {
    let builder = |place: &Path| tempfile::Builder::new().prefix("keiki-engine-").tempdir_in(place);
    builder(Path::new("/dev/shm")).or_else(|_| builder(&std::env::temp_dir())).unwrap()
}

fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(root).unwrap().to_owned();
                tree.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    tree
}

/// Asserts the kind of a refusal, with what was tried in the message.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T>,
    kind: ErrorKind,
    what: &str,
) -> keiki_core::Error {
    let Err(error) = result else { panic!("{what}: it was not refused") };
    assert_eq!(error.kind(), kind, "{what}: {error:?}");
    error
}
