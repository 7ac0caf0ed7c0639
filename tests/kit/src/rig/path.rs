//! [`PathRig`]: the rig of every store whose volumes are below an lxcpath.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use keiki_core::store::BackingStore;
use keiki_core::volume::Volume;
use keiki_tree::Description;
use keiki_tree::mark::{clear_mark, read_mark, write_mark};
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use super::ground::MountGuard;
use super::namespace::mounts_below;
use super::{Ballast, Direct, FileSystem, Filler, Ground, Lifetime, Missing, Rig, Stranger};
use crate::bench::Tree;
use crate::claim;
use crate::verdict::Verdict;

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

    fn need_directories(&self) -> Result<(), Missing> {
        match self.direct {
            None => Ok(()),
            Some(_) => Err(Missing("a store whose volumes are directories".to_owned())),
        }
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

/// Returns the directory or image that a volume owns: the last path of every source of paths.
fn own_object(volume: &Volume) -> &Path {
    let location = volume.source.location();
    Path::new(location.rsplit(':').next().unwrap_or(location))
}

/// A directory that is somebody else's, with content that must stay.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    before: Description,
}

fn watched(path: &Path) -> Result<Box<dyn Stranger>, Missing> {
    let seen = Tree::at(path).and_then(|tree| tree.describe());
    let before = seen.map_err(|e| Missing(format!("a directory that can be read: {e}")))?;
    Ok(Box::new(Watched { path: path.to_owned(), before }))
}

impl Stranger for Watched {
    fn expect_untouched(&self) -> Verdict<()> {
        let after = Tree::at(&self.path)?.describe()?;
        let changed = self.before.diff(&after);
        claim!(self.before == after, "`{}` is not ours and changed: {changed:?}", self.path.display());
        Ok(())
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

    fn limited_pool(&self) -> Result<Ground, Missing> {
        match self.file_system {
            FileSystem::Btrfs => FileSystem::ground_with_quotas(),
            _ => self.fresh_pool(),
        }
    }

    fn filler(&self, ground: &Ground) -> Filler {
        let root = ground.root().to_owned();
        Box::new(move || {
            let ballast = Ballast::take(&root);
            Ok(Box::new(ballast.map_err(|e| Missing(format!("a disk that can be filled ({e})")))?))
        })
    }

    fn give_back(&self, ground: &Ground) {
        Ballast::give_back(ground.root());
    }

    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing> {
        let point = own_object(volume).join(HELD);
        let made = std::fs::create_dir(&point);
        made.map_err(|e| Missing(format!("a directory `{}` to mount on ({e})", point.display())))?;
        mount(Some("keiki-kit"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .map_err(|errno| Missing(format!("the right to mount ({errno})")))?;
        Ok(Box::new(Held { below: point.ancestors().nth(3).unwrap_or(&point).to_owned() }))
    }

    fn plant_stranger(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        self.need_directories()?;
        let path = own_object(volume);
        std::fs::create_dir_all(path)
            .and_then(|()| std::fs::write(path.join("precious"), "data of somebody else"))
            .map_err(|e| Missing(format!("a directory `{}` ({e})", path.display())))?;
        watched(path)
    }

    fn unmark(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        self.need_directories()?;
        for directory in volume.source.location().split(':') {
            std::fs::File::open(directory)
                .and_then(|file| clear_mark(file.as_fd()))
                .map_err(|e| Missing(format!("a mark on `{directory}` that can be taken away ({e})")))?;
        }
        watched(own_object(volume))
    }

    fn carry_mark(&self, original: &Volume, copy: &Volume) -> Result<(), Missing> {
        self.need_directories()?;
        let open = |volume: &Volume| std::fs::File::open(own_object(volume));
        let carried = open(original).and_then(|from| read_mark(from.as_fd()));
        let written = carried.and_then(|mark| match mark {
            Some(mark) => Ok(write_mark(open(copy)?.as_fd(), &mark)?),
            None => Err(std::io::ErrorKind::NotFound.into()),
        });
        written.map_err(|e| Missing(format!("a mark on `{}` ({e})", original.source)))
    }

    fn lose(&self, ground: &Ground, volume: &Volume) -> Result<(), Missing> {
        self.need_directories()?;
        let data = own_object(volume);
        let away = ground.root().join("moved-away");
        // What is read-only cannot be moved itself.
        std::fs::rename(data, &away)
            .or_else(|_| std::fs::rename(data.parent().unwrap_or(data), &away))
            .map_err(|e| Missing(format!("an object `{}` that can be moved ({e})", data.display())))
    }

    fn identity(&self, volume: &Volume) -> Result<String, Missing> {
        self.need_directories()?;
        let data = own_object(volume);
        let found = std::fs::metadata(data);
        let found = found.map_err(|e| Missing(format!("an object `{}` ({e})", data.display())))?;
        Ok(format!("device {} inode {}", found.dev(), found.ino()))
    }

    fn objects(&self, _ground: &Ground) -> Verdict<Vec<String>> {
        Ok(Vec::new())
    }

    fn held(&self, _ground: &Ground) -> Verdict<Vec<String>> {
        Ok(Vec::new())
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
