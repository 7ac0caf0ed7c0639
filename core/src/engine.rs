//! The engine: names, lineage, policy, journal, locks, recovery. Backends make single effects; the engine makes
//! operations out of them that are either done or not done, whatever kills it.
//!
//! ```text
//! <state>/                     root: /var/lib/keiki; user: $XDG_DATA_HOME/keiki
//! ├── catalogue.sqlite         rows: containers, volumes, edges, intents (WAL)
//! └── locks/                   one file a container, flock; its text names the holder
//! <lxcpath>/
//! ├── <name>/                  a container as LXC lays it out; its config is the truth of its configuration
//! │   ├── config  rootfs/  overlay/  snaps/<snapshot>/…  lxc_snapshots  lxc_rdepends
//! └── .keiki/                  same file system as the containers, so that renames are atomic
//!     ├── staging/<id>/        a home in the making; renamed into place when everything in it is durable
//!     └── trash/<id>/          a home that was destroyed; reclaimed at leisure
//! ```
//!
//! Every changing operation: locks in order → transaction 1 validates the rules, reserves ids and places, writes an
//! intent → effects in a staging home, each preceded by a named step → barrier → **the rename of the home** (or the
//! exchange of a head, or the replacement of a config), which is the commit point → transaction 2 publishes rows and
//! removes the intent. Recovery looks at the disk: past the commit point it goes forward, before it goes back.
//!
//! The engine is synchronous and may be called from any number of threads, but not from inside an async runtime: it
//! brings its own.

mod adopt;
mod ancestry;
mod answer;
mod busy;
mod catalogue;
mod check;
mod clone;
mod companions;
mod configure;
mod copy;
mod create;
mod destroy;
mod discover;
mod flatten;
mod home;
mod intent;
mod journal;
mod kin;
mod locks;
mod make;
mod moves;
mod promote;
mod reach;
mod recover;
mod relations;
mod rename;
mod replace;
mod request;
mod restore;
mod settle;
mod size;
mod snapshot;
mod space;
mod transfer;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use answer::StartPermit;
pub use check::{CheckReport, Finding, FindingState, Problem};
pub use configure::{Backup, Edited, edit_file};
pub use request::{
    Activity, CloneConfig, CloneContainer, CloneMode, ConfigEditor, ContainerKey, ContainerRecord,
    CreateContainer, DestroyScope, Fill, Holder, Identity, Means, Outcome, Payload, RestoreTarget,
    SnapshotContainer, SnapshotRecord,
};
pub use space::{ContainerSpace, Space};

pub use transfer::{
    Continuation, Divergence, Encoding, Pending, ReceiveContainer, Received, SendContainer, Sent,
};

use crate::capability::{Capabilities, Live};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::registry::Registry;
use crate::store::{BackingStore, Pool};
use crate::volume::{StoreKind, Volume};
use catalogue::Catalogue;
use locks::Locks;

/// Effects that run at the same time; more threads only queue in the kernel.
const POOL_THREADS: usize = 16;

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineOptions {
    /// The stores.
    pub registry: Registry,
    /// The directory of the catalogue; made when it is not there.
    pub state: PathBuf,
    /// Tells whether a container is in use.
    pub activity: Arc<dyn Activity>,
    /// Edits LXC configuration.
    pub editor: Arc<dyn ConfigEditor>,
    /// How long an operation waits for another that holds the same container.
    pub lock_wait: Duration,
}

/// Names, lineage, journal, locks and recovery over any store.
pub struct Engine {
    registry: Registry,
    catalogue: Catalogue,
    locks: Locks,
    activity: Arc<dyn Activity>,
    editor: Arc<dyn ConfigEditor>,
    runtime: tokio::runtime::Runtime,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("catalogue", &self.catalogue.path()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens an installation and resolves what dead processes left.
    ///
    /// # Behavior
    /// A read-only or damaged catalogue opens for reading; operations that change say why they cannot. An intent that
    /// cannot be resolved now (a busy mount, a missing tool) stays for the next time.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::Unavailable`] for a catalogue of a newer keiki.
    pub fn open(options: EngineOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(POOL_THREADS)
            .build()
            .or_err(|| "cannot start the pool for effects".to_owned())?;
        let engine = Self {
            registry: options.registry,
            catalogue: Catalogue::open(&options.state)?,
            locks: Locks::new(&options.state, options.lock_wait),
            activity: options.activity,
            editor: options.editor,
            runtime,
        };
        if engine.catalogue.obstacle().is_none() {
            engine.recover()?;
        }
        Ok(engine)
    }

    /// Returns the stores.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits for a store's verb.
    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn store(&self, kind: &StoreKind) -> Result<&Arc<dyn BackingStore>> {
        self.registry.get(kind)
    }

    fn store_of(&self, volume: &Volume) -> Result<&Arc<dyn BackingStore>> {
        self.store(volume.kind())
    }

    fn capabilities(
        &self,
        store: &dyn BackingStore,
        lxcpath: &Path,
        volume: Option<&Volume>,
    ) -> Result<Capabilities> {
        let options = volume.map(|volume| volume.properties.clone()).unwrap_or_default();
        store.capabilities(&Pool { path: lxcpath.to_owned(), options })
    }

    /// Refuses when somebody uses the container.
    fn require_idle(&self, key: &ContainerKey, verb: &str) -> Result<()> {
        let Some(holder) = self.activity.holder(key)? else { return Ok(()) };
        let mut error =
            Error::new(ErrorKind::Busy, format!("cannot {verb} `{}`: it is {}", key.name, holder.activity));
        if let Some(pid) = holder.pid {
            error = error.with_context("process", pid.to_string());
        }
        Err(error.with_hint(format!("`keiki stop {}` first", key.name)))
    }

    /// Refuses when somebody uses the container and its store cannot bear that while it is read.
    fn require_quiet(&self, key: &ContainerKey, verb: &str, live: Live) -> Result<()> {
        match live {
            Live::Consistent => Ok(()),
            Live::NeedsFreeze | Live::NeedsStop => self.require_idle(key, verb),
        }
    }
}

/// Seconds since 1970; no decision depends on them.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
