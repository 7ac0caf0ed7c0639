//! [`Yard`]: an engine on a ground, operations as data, and views of everything that can be seen.
//!
//! [`Op`] travels to other processes as JSON and is written down in histories. [`View`] holds what a user can see — names,
//! origins, dependents, configuration, snapshots, content — and nothing that differs from run to run, so that the state
//! after a crash can be compared with the state before and after the same operation elsewhere.

mod op;
mod view;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use keiki_core::capability::Capabilities;
use keiki_core::context::Context;
use keiki_core::engine::{Activity, ContainerKey, Engine, EngineOptions, Fill, Holder};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::name::ContainerName;
use keiki_core::registry::Registry;
use keiki_core::store::{BackingStore, Pool};
use keiki_core::volume::{Properties, Volume};
use keiki_core::{ErrorKind, Result};

use crate::bench::{Bench, Content, Tree};
use crate::editor::LineEditor;
use crate::rig::{Ground, Rig};
use crate::verdict::{Failure, Verdict};

pub use op::{Means, Op, Reach};
pub use view::{ContainerView, Seen, SnapshotView, View};

/// Says that nothing runs.
#[derive(Debug, Clone, Copy)]
pub struct Idle;

impl Activity for Idle {
    fn holder(&self, _key: &ContainerKey) -> Result<Option<Holder>> {
        Ok(None)
    }
}

/// Says that the containers named run.
#[derive(Debug, Clone)]
pub struct Running(pub Vec<String>);

impl Activity for Running {
    fn holder(&self, key: &ContainerKey) -> Result<Option<Holder>> {
        let runs = self.0.iter().any(|name| name == key.name.as_str());
        Ok(runs.then(|| Holder { activity: "running".to_owned(), pid: Some(std::process::id()) }))
    }
}

/// An engine on a ground.
#[derive(Debug)]
pub struct Yard<'a> {
    /// The rig whose stores it has.
    pub rig: &'a dyn Rig,
    /// The engine.
    pub engine: Engine,
    /// The directory that holds containers.
    pub lxcpath: PathBuf,
    /// The options that find the pool of the store under test.
    pub options: Properties,
}

impl<'a> Yard<'a> {
    /// Opens an engine on a bench's ground; what was interrupted there is recovered.
    ///
    /// # Errors
    /// What the engine says.
    #[track_caller]
    pub fn open(bench: &Bench<'a>) -> Verdict<Self> {
        Self::on(bench.rig, bench.ground())
    }

    /// Opens an engine on a ground.
    ///
    /// # Errors
    /// What the engine says.
    #[track_caller]
    pub fn on(rig: &'a dyn Rig, ground: &Ground) -> Verdict<Self> {
        Ok(Self::at(rig, ground, Arc::new(Idle), PATIENCE)?)
    }

    /// Opens an engine.
    ///
    /// # Errors
    /// What the engine says.
    pub fn at(
        rig: &'a dyn Rig,
        ground: &Ground,
        activity: Arc<dyn Activity>,
        lock_wait: Duration,
    ) -> Result<Self> {
        Self::with_stores(rig, rig.registry(), ground, activity, lock_wait)
    }

    /// Opens an engine with other stores than the rig's.
    ///
    /// # Errors
    /// What the engine says.
    pub fn with_stores(
        rig: &'a dyn Rig,
        registry: Registry,
        ground: &Ground,
        activity: Arc<dyn Activity>,
        lock_wait: Duration,
    ) -> Result<Self> {
        let engine = Engine::open(EngineOptions {
            registry,
            state: ground.state(),
            activity,
            editor: Arc::new(LineEditor),
            lock_wait,
        })?;
        Ok(Self { rig, engine, lxcpath: ground.lxcpath(), options: ground.options().clone() })
    }

    /// Opens another installation on the same pool: a catalogue and an lxcpath of its own, in a directory called `name`.
    ///
    /// # Errors
    /// What the engine says.
    pub fn beside(&self, bench: &Bench<'a>, name: &str) -> Verdict<Self> {
        let directory = bench.ground().root().join(name);
        let (state, lxcpath) = (directory.join("state"), directory.join("lxc"));
        fs::create_dir_all(&state)?;
        fs::create_dir_all(&lxcpath)?;
        let engine = Engine::open(EngineOptions {
            registry: self.rig.registry(),
            state,
            activity: Arc::new(Idle),
            editor: Arc::new(LineEditor),
            lock_wait: PATIENCE,
        })?;
        Ok(Self { rig: self.rig, engine, lxcpath, options: self.options.clone() })
    }

    /// Returns the key of a container.
    ///
    /// # Errors
    /// A name that cannot be.
    pub fn key(&self, name: &str) -> Result<ContainerKey> {
        Ok(ContainerKey { lxcpath: self.lxcpath.clone(), name: ContainerName::parse(name)? })
    }

    /// Returns the pool that is the lxcpath.
    #[must_use]
    pub fn pool(&self) -> Pool {
        Pool { path: self.lxcpath.clone(), options: self.options.clone() }
    }

    /// Returns what the store under test promises here.
    ///
    /// # Errors
    /// What the store says.
    pub fn promises(&self) -> Result<Capabilities> {
        self.rig.store().capabilities(&self.pool())
    }

    /// Returns what the maker of snapshot clones promises; `None` when there is none among the stores here.
    ///
    /// # Errors
    /// What the store says.
    pub fn clone_promises(&self) -> Result<Option<Capabilities>> {
        let maker = self.maker_of_clones()?;
        let promises = maker.clones().map(|_| maker.capabilities(&self.pool()));
        promises.transpose()
    }

    /// Returns the store that makes snapshot clones: the one under test where nobody does it for it.
    ///
    /// # Errors
    /// What the store says.
    pub fn maker_of_clones(&self) -> Result<Arc<dyn BackingStore>> {
        let other = self.promises()?.snapshot_clones_by;
        let other = other.and_then(|kind| self.rig.registry().get(&kind).map(Arc::clone).ok());
        Ok(other.unwrap_or_else(|| self.rig.store()))
    }

    /// Carries out an operation that must succeed.
    ///
    /// # Errors
    /// What the engine says.
    #[track_caller]
    pub fn make(&self, op: Op) -> Verdict<()> {
        self.try_make(&op).map_err(|e| Failure::from(e).during(&format!("{op:?}")))
    }

    /// Carries out an operation of a test's preparation; a container that cannot be filled while it is made is filled
    /// afterwards.
    ///
    /// # Errors
    /// What the engine says.
    pub fn try_make(&self, op: &Op) -> Result<()> {
        self.apply(&Context::default(), op)?;
        match (op, self.rig.direct()) {
            (Op::Create { name }, Some(_)) => self.write(name, "who", name),
            _ => Ok(()),
        }
    }

    /// Carries out several operations that must succeed.
    ///
    /// # Errors
    /// What the engine says.
    #[track_caller]
    pub fn make_all(&self, ops: &[Op]) -> Verdict<()> {
        for op in ops {
            self.make(op.clone())?;
        }
        Ok(())
    }

    /// Returns what a volume holds, without asking the engine.
    ///
    /// # Errors
    /// What the store or kernel says.
    #[track_caller]
    pub fn content_of(&self, volume: &Volume) -> Verdict<Content> {
        if let Some(direct) = self.rig.direct() {
            return Ok(Content::Files(direct.read(volume)?));
        }
        let store = Arc::clone(self.rig.registry().get(volume.kind())?);
        let plan = match wait(store.attach(&Context::default(), volume, AttachMode::ReadOnly))? {
            // A container of LXC that nobody has adopted yet: its directory is what it holds.
            Err(error) if error.kind() == ErrorKind::Foreign => {
                return Ok(Content::Tree(Tree::at(Path::new(volume.source.location()))?.describe()?));
            }
            answer => answer?,
        };
        let described = Tree::open(execute(&plan)?)?.describe()?;
        wait(store.detach(&Context::default(), volume))??;
        Ok(Content::Tree(described))
    }

    /// Returns what a container holds.
    ///
    /// # Errors
    /// What the engine, the store or the kernel says.
    #[track_caller]
    pub fn content(&self, name: &str) -> Verdict<Content> {
        let record = self.engine.container(&self.key(name)?)?;
        match record.volume {
            Some(volume) => self.content_of(&volume),
            None => Err(Failure::new(format!("`{name}` has no volume"))),
        }
    }

    /// Returns what a snapshot holds.
    ///
    /// # Errors
    /// What the engine, the store or the kernel says.
    #[track_caller]
    pub fn content_of_snapshot(&self, name: &str, snapshot: &str) -> Verdict<Content> {
        let known = self.engine.snapshots(&self.key(name)?)?;
        match known.into_iter().find(|one| one.name.as_str() == snapshot) {
            Some(found) => self.content_of(&found.volume),
            None => Err(Failure::new(format!("there is no `{name}@{snapshot}`"))),
        }
    }

    /// Writes a file in a container as a running one would: only if it may be started.
    pub(crate) fn write(&self, name: &str, file: &str, text: &str) -> Result<()> {
        let key = self.key(name)?;
        let permit = self.engine.permit_start(&key)?;
        let record = self.engine.container(&key)?;
        match (self.rig.direct(), record.volume) {
            (Some(direct), Some(volume)) => direct.write(&volume, Path::new(file), text.as_bytes())?,
            _ => {
                let plan = self.engine.attach(&Context::default(), &key, AttachMode::ReadWrite)?;
                let mount = execute(&plan)?;
                put(mount.as_fd(), file, text)?;
                drop(mount);
                self.let_go(&key)?;
            }
        }
        drop(permit);
        Ok(())
    }

    /// Undoes what an attach activated, as the end of a container does.
    fn let_go(&self, key: &ContainerKey) -> Result<()> {
        let Some(volume) = self.engine.container(key)?.volume else { return Ok(()) };
        let store = Arc::clone(self.rig.registry().get(volume.kind())?);
        let done = wait(store.detach(&Context::default(), &volume));
        done.map_err(|e| keiki_core::Error::io("threads", e))?
    }
}

/// How long an operation of a test waits for a lock.
pub const PATIENCE: Duration = Duration::from_secs(30);

fn wait<T>(verb: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(verb))
}

/// A root filesystem of three entries, the same to the nanosecond wherever it is made.
#[derive(Debug)]
pub(crate) struct Seed<'a>(pub(crate) &'a str);

impl Fill for Seed<'_> {
    fn fill(&mut self, _context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        put(root, "who", self.0)?;
        put(root, "constant", "the same in all")
    }
}

/// Writes a file below an open directory and sets its times.
fn put(root: BorrowedFd<'_>, file: &str, text: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}/{file}", root.as_raw_fd()));
    let moment = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let written = fs::write(&path, text).and_then(|()| {
        let times = fs::FileTimes::new().set_accessed(moment).set_modified(moment);
        fs::File::options().write(true).open(&path)?.set_times(times)
    });
    written.map_err(|e| keiki_core::Error::io(format!("cannot write `{file}`"), e))
}
