//! [`PathRig`]: the rig of every store whose volumes are below an lxcpath.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use keiki_core::store::BackingStore;
use keiki_core::volume::Volume;
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use super::ground::MountGuard;
use super::namespace::mounts_below;
use super::{Ballast, Direct, FileSystem, Ground, Lifetime, Missing, Rig};

/// One instance of each file system serves all rigs of a process, as long as one of them lives.
static SHARED: Mutex<Option<HashMap<FileSystem, Weak<Shared>>>> = Mutex::new(None);

#[derive(Debug)]
struct Shared {
    mount: MountGuard,
    _directory: TempDir,
}

/// A store below an lxcpath on one file system.
pub struct PathRig {
    store: Arc<dyn BackingStore>,
    companions: Vec<Arc<dyn BackingStore>>,
    file_system: FileSystem,
    lifetime: Lifetime,
    direct: Option<Box<dyn Direct>>,
    title: String,
    renew: Option<Box<dyn Fn() -> Self + Send + Sync>>,
    shared: Mutex<Option<Result<Arc<Shared>, Missing>>>,
}

impl fmt::Debug for PathRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl PathRig {
    /// Returns the rig of `store` on `file_system`.
    #[must_use]
    pub fn new(store: Arc<dyn BackingStore>, file_system: FileSystem) -> Self {
        Self {
            title: store.kind().to_string(),
            store,
            companions: Vec::new(),
            file_system,
            lifetime: Lifetime::Disk,
            direct: None,
            renew: None,
            shared: Mutex::new(None),
        }
    }

    /// Adds a store that takes part, such as the one that makes snapshot clones.
    #[must_use]
    pub fn with_companion(mut self, store: Arc<dyn BackingStore>) -> Self {
        self.companions.push(store);
        self
    }

    /// Says that objects do not outlive the process and are read and written by `direct`.
    #[must_use]
    pub fn in_memory(mut self, direct: Box<dyn Direct>) -> Self {
        self.lifetime = Lifetime::Process;
        self.direct = Some(direct);
        self
    }

    /// Says how to make the rig anew, for stores whose objects are not on the ground.
    #[must_use]
    pub fn renewed_by(mut self, make: impl Fn() -> Self + Send + Sync + 'static) -> Self {
        self.renew = Some(Box::new(make));
        self
    }

    /// Gives the rig another name in front of the `@`.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.title = name.to_owned();
        self
    }

    fn base(&self) -> Result<PathBuf, Missing> {
        if self.file_system == FileSystem::Native {
            return Ok(PathBuf::from("/var/tmp"));
        }
        let mut mine = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = mine.get_or_insert_with(|| shared_instance(self.file_system)).clone()?;
        Ok(shared.mount.point().to_owned())
    }
}

/// The directory in a held volume on which something is mounted.
const HELD: &str = "busy";

/// What is mounted in a held volume; whoever tries to destroy the volume may have moved it.
#[derive(Debug)]
struct Held {
    below: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        for point in mounts_below(&self.below).iter().filter(|point| point.ends_with(HELD)) {
            drop(MountGuard::of(PathBuf::from(point)));
        }
    }
}

fn shared_instance(file_system: FileSystem) -> Result<Arc<Shared>, Missing> {
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.get_or_insert_default();
    if let Some(shared) = known.get(&file_system).and_then(Weak::upgrade) {
        return Ok(shared);
    }
    let (directory, mount) = file_system.mount_shared()?;
    let shared = Arc::new(Shared { mount, _directory: directory });
    known.insert(file_system, Arc::downgrade(&shared));
    Ok(shared)
}

impl Rig for PathRig {
    fn name(&self) -> String {
        format!("{}@{}", self.title, self.file_system.word())
    }

    fn store(&self) -> Arc<dyn BackingStore> {
        Arc::clone(&self.store)
    }

    fn companions(&self) -> Vec<Arc<dyn BackingStore>> {
        self.companions.clone()
    }

    fn fresh_pool(&self) -> Result<Ground, Missing> {
        let made = tempfile::Builder::new().prefix("keiki-kit.").tempdir_in(self.base()?);
        made.and_then(Ground::in_directory).map_err(|e| Missing(format!("a writable directory ({e})")))
    }

    fn small_pool(&self) -> Result<Ground, Missing> {
        self.file_system.small_ground()
    }

    fn fill_disk(&self, ground: &Ground) -> Result<Ballast, Missing> {
        Ballast::take(ground.root()).map_err(|e| Missing(format!("a disk that can be filled ({e})")))
    }

    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing> {
        // The last path of every path-based source is the directory that the volume owns.
        let location = volume.source.location();
        let point = PathBuf::from(location.rsplit(':').next().unwrap_or(location)).join(HELD);
        let made = std::fs::create_dir(&point);
        made.map_err(|e| Missing(format!("a directory `{}` to mount on ({e})", point.display())))?;
        mount(Some("keiki-kit"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .map_err(|errno| Missing(format!("the right to mount ({errno})")))?;
        Ok(Box::new(Held { below: point.ancestors().nth(3).unwrap_or(&point).to_owned() }))
    }

    fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    fn direct(&self) -> Option<&dyn Direct> {
        self.direct.as_deref()
    }

    fn renewed(&self) -> Option<Box<dyn Rig>> {
        self.renew.as_ref().map(|make| Box::new(make()) as Box<dyn Rig>)
    }
}
