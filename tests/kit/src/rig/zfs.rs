//! [`ZfsRig`]: the rig of the zfs store, in a machine that has `/dev/rig/zfs`.
//!
//! ```text
//! keiki-kit                 a pool on the disk, made once a process
//! keiki-kit/<n>             a ground: `zfsroot`; its lxcpath is in memory
//! keiki-kit/<n>-lost        what a case took away
//! keiki-kit-small-<n>       a small pool on a file in memory
//! ```
//!
//! The pool is full when a reservation holds what is left of it: zfs then refuses others as if data filled it, at once and exactly.

mod pool;
mod stranger;

use std::any::Any;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keiki_core::mount_plan::{MountPlan, MountRecipe, execute};
use keiki_core::store::BackingStore;
use keiki_core::volume::{Properties, Volume};
use keiki_dir::DirStore;
use keiki_zfs::ZfsStore;

use self::pool::{Dataset, Pool, zfs};
use super::{Filler, Ground, Missing, Rig, Stranger};
use crate::verdict::Verdict;

static GROUNDS: AtomicU32 = AtomicU32::new(0);

/// The zfs store in a pool of its own.
#[derive(Debug)]
pub struct ZfsRig {
    store: Arc<ZfsStore>,
    pool: Mutex<Option<Result<Arc<Pool>, Missing>>>,
}

impl Default for ZfsRig {
    fn default() -> Self {
        Self::new()
    }
}

impl ZfsRig {
    /// Returns the rig; its pool is made when the first case asks for it.
    #[must_use]
    pub fn new() -> Self {
        // Without the ground's option it would have to be a pool that nobody has.
        Self { store: Arc::new(ZfsStore::new("keiki-kit-nowhere")), pool: Mutex::new(None) }
    }

    fn pool(&self) -> Result<Arc<Pool>, Missing> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.get_or_insert_with(|| Pool::on_disk().map(Arc::new)).clone()
    }
}

fn ground_in(pool: Arc<Pool>) -> Result<Ground, Missing> {
    let number = GROUNDS.fetch_add(1, Ordering::Relaxed);
    let dataset = Dataset::make(pool, &format!("{}-{number}", std::process::id()))?;
    let directory = tempfile::Builder::new().prefix("keiki-kit.").tempdir_in("/dev/shm");
    let ground = directory.and_then(Ground::in_directory);
    let ground = ground.map_err(|e| Missing(format!("a writable directory in memory ({e})")))?;
    let options = Properties::from([("zfsroot".to_owned(), dataset.name.clone())]);
    Ok(ground.with_pool(options, dataset))
}

fn root_of(ground: &Ground) -> Result<&str, Missing> {
    let root = ground.options().get("zfsroot").map(String::as_str);
    root.ok_or_else(|| Missing("a ground with a dataset".to_owned()))
}

/// Mounts a dataset or snapshot where nobody sees it.
fn mounted(name: &str) -> Result<OwnedFd, Missing> {
    let is_snapshot = name.contains('@');
    let options = if is_snapshot { Vec::new() } else { vec!["rw".to_owned()] };
    let recipe = MountRecipe::Filesystem { fstype: "zfs".to_owned(), device: name.to_owned(), options };
    execute(&MountPlan { recipe, read_only: is_snapshot })
        .map_err(|e| Missing(format!("a dataset `{name}` that can be mounted ({})", e.full_message())))
}

/// A process that works in a volume.
#[derive(Debug)]
struct Held {
    process: Child,
    _mount: OwnedFd,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Rig for ZfsRig {
    fn name(&self) -> String {
        "zfs@vm".to_owned()
    }

    fn store(&self) -> Arc<dyn BackingStore> {
        Arc::clone(&self.store) as Arc<dyn BackingStore>
    }

    fn companions(&self) -> Vec<Arc<dyn BackingStore>> {
        vec![Arc::new(DirStore::new())]
    }

    fn fresh_pool(&self) -> Result<Ground, Missing> {
        ground_in(self.pool()?)
    }

    fn small_pool(&self) -> Result<Ground, Missing> {
        // The module must be there, which the large pool shows.
        self.pool()?;
        ground_in(Arc::new(Pool::small()?))
    }

    fn filler(&self, ground: &Ground) -> Filler {
        let root = root_of(ground).map(str::to_owned);
        Box::new(move || Ok(Box::new(pool::Ballast::take(&root.clone()?)?)))
    }

    fn give_back(&self, ground: &Ground) {
        if let Ok(root) = root_of(ground) {
            pool::Ballast::give_back(root);
        }
    }

    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing> {
        let mount = mounted(volume.source.location())?;
        let process = Command::new("sleep")
            .arg("3600")
            .current_dir(format!("/proc/self/fd/{}", mount.as_raw_fd()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| Missing(format!("a process that works in a volume ({e})")))?;
        Ok(Box::new(Held { process, _mount: mount }))
    }

    fn plant_stranger(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let name = volume.source.location();
        zfs(&["create", "-o", "mountpoint=legacy", "-o", "canmount=noauto", name])?;
        let mount = mounted(name)?;
        let precious = format!("/proc/self/fd/{}/precious", mount.as_raw_fd());
        std::fs::write(precious, "data of somebody else")
            .map_err(|e| Missing(format!("a file in `{name}` ({e})")))?;
        drop(mount);
        stranger::watched(name)
    }

    fn unmark(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let name = volume.source.location();
        zfs(&["inherit", "keiki:id", name])?;
        stranger::watched(name)
    }

    fn carry_mark(&self, _original: &Volume, _copy: &Volume) -> Result<(), Missing> {
        Err(Missing("copies that carry marks: a clone of zfs has no property of its origin".to_owned()))
    }

    fn lose(&self, ground: &Ground, volume: &Volume) -> Result<(), Missing> {
        let (name, lost) = (volume.source.location(), format!("{}-lost", root_of(ground)?));
        if let Some((dataset, _)) = name.split_once('@') {
            return zfs(&["rename", name, &format!("{dataset}@lost")]).map(drop);
        }
        zfs(&["create", "-p", "-o", "mountpoint=none", &lost])?;
        zfs(&["rename", "-u", name, &format!("{lost}/{}", volume.id)]).map(drop)
    }

    fn identity(&self, volume: &Volume) -> Result<String, Missing> {
        zfs(&["get", "-Hp", "-o", "value", "guid", volume.source.location()])
    }

    fn objects(&self, ground: &Ground) -> Verdict<Vec<String>> {
        let root = root_of(ground).map_err(|missing| crate::verdict::Failure::new(missing.0))?;
        let told = zfs(&["get", "-Hp", "-r", "-t", "all", "-o", "name,value,source", "keiki:id", root]);
        let told = told.map_err(|missing| crate::verdict::Failure::new(missing.0))?;
        let inside = told.lines().filter(|line| line.split('\t').next() != Some(root));
        let mut lines: Vec<String> = inside.map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    fn held(&self, ground: &Ground) -> Verdict<Vec<String>> {
        let root = root_of(ground).map_err(|missing| crate::verdict::Failure::new(missing.0))?;
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let mounts = table.lines().filter(|line| line.contains(&format!(" - zfs {root}")));
        Ok(mounts.map(|line| format!("mounted: {line}")).collect())
    }
}
