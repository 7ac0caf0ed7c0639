//! [`ImageRig`]: the rig of stores whose volumes are image files below an lxcpath.
//!
//! What is not about the objects themselves (file systems, full disks) is [`PathRig`]'s. Images are small, so that a case costs
//! no more than one on directories; every ground says so by the option `fssize`.

use std::any::Any;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::mount_plan::{MountPlan, MountRecipe, execute};
use keiki_core::store::BackingStore;
use keiki_core::volume::{Properties, Volume};
use keiki_tree::mark::clear_mark;

use super::{FileSystem, Filler, Ground, Missing, PathRig, Rig, Stranger};
use crate::claim;
use crate::verdict::Verdict;

/// Room for every case.
const AMPLE: &str = "64M";
/// On the small grounds, that of a few volumes is what they have room for.
const SMALL: &str = "8M";

/// A store of image files on one file system.
#[derive(Debug)]
pub struct ImageRig {
    paths: PathRig,
}

impl ImageRig {
    /// Returns the rig of `store` on `file_system`.
    #[must_use]
    pub fn new(store: Arc<dyn BackingStore>, file_system: FileSystem) -> Self {
        Self { paths: PathRig::new(store, file_system) }
    }

    /// Adds a store that takes part.
    #[must_use]
    pub fn with_companion(self, store: Arc<dyn BackingStore>) -> Self {
        Self { paths: self.paths.with_companion(store) }
    }
}

fn sized(ground: Ground, size: &str) -> Ground {
    ground.with_pool(Properties::from([("fssize".to_owned(), size.to_owned())]), ())
}

fn image(volume: &Volume) -> &Path {
    Path::new(volume.source.location())
}

/// A file that is somebody else's, with content that must stay.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    content: Vec<u8>,
    owner_and_mode: (u32, u32, u32),
}

impl WatchedFile {
    fn look(path: &Path) -> std::io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        let owner_and_mode = (found.uid(), found.gid(), found.mode());
        Ok(Self { path: path.to_owned(), content: fs::read(path)?, owner_and_mode })
    }
}

impl Stranger for WatchedFile {
    fn expect_untouched(&self) -> Verdict<()> {
        let now = Self::look(&self.path)?;
        let path = self.path.display();
        claim!(now.content == self.content, "`{path}` is not ours and its content changed");
        claim!(now.owner_and_mode == self.owner_and_mode, "`{path}` is not ours and its mode changed");
        Ok(())
    }
}

fn watched(path: &Path) -> Result<Box<dyn Stranger>, Missing> {
    let seen = WatchedFile::look(path);
    Ok(Box::new(seen.map_err(|e| Missing(format!("a file that can be read ({e})")))?))
}

impl Rig for ImageRig {
    fn name(&self) -> String {
        self.paths.name()
    }

    fn store(&self) -> Arc<dyn BackingStore> {
        self.paths.store()
    }

    fn companions(&self) -> Vec<Arc<dyn BackingStore>> {
        self.paths.companions()
    }

    fn fresh_pool(&self) -> Result<Ground, Missing> {
        self.paths.fresh_pool().map(|ground| sized(ground, AMPLE))
    }

    fn small_pool(&self) -> Result<Ground, Missing> {
        self.paths.small_pool().map(|ground| sized(ground, SMALL))
    }

    fn filler(&self, ground: &Ground) -> Filler {
        self.paths.filler(ground)
    }

    fn give_back(&self, ground: &Ground) {
        self.paths.give_back(ground);
    }

    /// Holds a mount of it that is on nobody's table, as a container does.
    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing> {
        let recipe = MountRecipe::Image {
            fstype: "ext4".to_owned(),
            image: image(volume).to_owned(),
            options: Vec::new(),
        };
        let mount = execute(&MountPlan { recipe, read_only: false });
        Ok(Box::new(mount.map_err(|e| Missing(format!("the right to mount ({e:?})")))?))
    }

    fn plant_stranger(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let path = image(volume);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(path, "data of somebody else"))
            .map_err(|e| Missing(format!("a file `{}` ({e})", path.display())))?;
        watched(path)
    }

    fn unmark(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let path = image(volume);
        // Whoever filled it a moment ago may not be unmounted yet, and the last unmount writes.
        let bound = crate::leak::loop_devices_that_stay(path);
        if !bound.is_empty() {
            return Err(Missing(format!("an image that nobody has mounted ({})", bound.join(", "))));
        }
        File::open(path)
            .and_then(|file| clear_mark(file.as_fd()))
            .map_err(|e| Missing(format!("a mark on `{}` that can be taken away ({e})", path.display())))?;
        watched(path)
    }

    fn carry_mark(&self, original: &Volume, copy: &Volume) -> Result<(), Missing> {
        self.paths.carry_mark(original, copy)
    }

    fn lose(&self, ground: &Ground, volume: &Volume) -> Result<(), Missing> {
        self.paths.lose(ground, volume)
    }

    fn identity(&self, volume: &Volume) -> Result<String, Missing> {
        self.paths.identity(volume)
    }

    fn objects(&self, ground: &Ground) -> Verdict<Vec<String>> {
        self.paths.objects(ground)
    }

    fn held(&self, ground: &Ground) -> Verdict<Vec<String>> {
        self.paths.held(ground)
    }
}
