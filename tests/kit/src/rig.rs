//! [`Rig`]: a store together with the ground that it is tested on.
//!
//! A rig hands out *grounds*: fresh directories on the file system in question, gone when dropped. [`PathRig`] serves
//! every store that lives below an lxcpath; an author of such a store needs nothing else:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use keiki_kit::{PathRig, harness, rig::FileSystem};
//! fn main() {
//!     # let my_store = || Arc::new(keiki_dir::DirStore::default());
//!     harness(vec![
//!         Box::new(PathRig::new(my_store(), FileSystem::Native)),
//!         Box::new(PathRig::new(my_store(), FileSystem::Xfs)),
//!     ])
//! }
//! ```
//!
//! Everything mounted for a test is mounted in a mount namespace of the test process ([`namespace`]), on loop devices
//! that clear themselves: whatever kills the process, the kernel takes it all away.

mod ballast;
mod ground;
mod image;
mod image_files;
mod lvm;
pub mod namespace;
mod path;
mod reference;
mod stores;
mod zfs;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::Result as CoreResult;
use keiki_core::registry::Registry;
use keiki_core::store::BackingStore;
use keiki_core::volume::Volume;

pub use ballast::Ballast;
pub use ground::{Ground, Readable, hold_read_only};
pub use image::FileSystem;
pub use image_files::ImageRig;
pub use lvm::{LvmRig, Sort as LvmSort};
pub use path::PathRig;
pub use stores::in_tree;
pub use zfs::ZfsRig;

use crate::verdict::Verdict;

/// Why something cannot be had on this machine: `mkfs.xfs`, `loop devices`, `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

/// How long a store's objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// On disk: another process finds them.
    Disk,
    /// In the memory of one process: whoever kills it loses them.
    Process,
}

/// Reads and writes the content of volumes that cannot be mounted.
pub trait Direct: Send + Sync {
    /// Writes one file.
    ///
    /// # Errors
    /// What the store says.
    fn write(&self, volume: &Volume, path: &Path, content: &[u8]) -> CoreResult<()>;

    /// Returns every file.
    ///
    /// # Errors
    /// What the store says.
    fn read(&self, volume: &Volume) -> CoreResult<BTreeMap<PathBuf, Vec<u8>>>;
}

/// Takes all the space of a pool until its answer is dropped.
pub type Filler = Box<dyn Fn() -> Result<Box<dyn Any + Send>, Missing> + Send + Sync>;

/// Something that is not ours, and what it looked like when it was put there.
pub trait Stranger: Debug {
    /// Fails if it changed.
    ///
    /// # Errors
    /// What differs.
    fn expect_untouched(&self) -> Verdict<()>;
}

/// A store and the ground that it is tested on.
///
/// # Behavior
/// Everything that a case must do to objects behind the store's back is asked of the rig, because only it knows whether an
/// object is a directory, a logical volume or a dataset. A rig that cannot do a thing says what it would take.
pub trait Rig: Send + Sync + Debug {
    /// Returns `store@ground`, unique among the rigs of a run; test names begin with it.
    fn name(&self) -> String;

    /// Returns the store under test. Every call returns the same one.
    fn store(&self) -> Arc<dyn BackingStore>;

    /// Returns further stores of the program, such as the one that makes snapshot clones.
    fn companions(&self) -> Vec<Arc<dyn BackingStore>>;

    /// Makes an empty pool with room for every case.
    ///
    /// # Errors
    /// What this machine lacks.
    fn fresh_pool(&self) -> Result<Ground, Missing>;

    /// Makes an empty pool that can be filled in a second.
    ///
    /// # Errors
    /// What this machine lacks.
    fn small_pool(&self) -> Result<Ground, Missing>;

    /// Makes an empty pool that keeps limits, with room for a hundred megabytes; the usual one, where every pool does.
    ///
    /// # Errors
    /// What this machine lacks.
    fn limited_pool(&self) -> Result<Ground, Missing> {
        self.fresh_pool()
    }

    /// Returns what takes all the space of a pool when it is called, until what it answers is dropped.
    fn filler(&self, ground: &Ground) -> Filler;

    /// Gives back what a [filler](Self::filler) took in a process that was killed.
    fn give_back(&self, ground: &Ground);

    /// Makes a volume busy until the answer is dropped.
    ///
    /// # Errors
    /// What this machine lacks.
    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing>;

    /// Puts an object of somebody else, with content, at the place that was chosen for `volume`.
    ///
    /// # Errors
    /// What it would take.
    fn plant_stranger(&self, ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing>;

    /// Takes every mark of ours off a finished volume, which leaves what LXC would have made.
    ///
    /// # Errors
    /// What it would take.
    fn unmark(&self, ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing>;

    /// Gives `copy` the mark that `original` carries, as LXC's copy of a tree with all of its attributes does.
    ///
    /// # Errors
    /// What it would take, where copies carry no mark.
    fn carry_mark(&self, original: &Volume, copy: &Volume) -> Result<(), Missing>;

    /// Takes the data of a volume away behind the store's back, the home and what lies in it apart.
    ///
    /// # Errors
    /// What it would take.
    fn lose(&self, ground: &Ground, volume: &Volume) -> Result<(), Missing>;

    /// Returns what stays the same as long as the data is not copied, whatever the volume is called.
    ///
    /// # Errors
    /// What it would take.
    fn identity(&self, volume: &Volume) -> Result<String, Missing>;

    /// Returns every object of the ground's pool that is not below the ground, ours or not, a line each with its name and
    /// mark, sorted; nothing for stores that live in homes.
    ///
    /// # Errors
    /// What the tools say.
    fn objects(&self, ground: &Ground) -> Verdict<Vec<String>>;

    /// Returns what is held that should not be when nothing runs: active devices, mounts, loop devices; a line each.
    ///
    /// # Errors
    /// What the tools say.
    fn held(&self, ground: &Ground) -> Verdict<Vec<String>>;

    /// Returns how long objects live, which decides whether killing a process proves anything: a real store's are on disk.
    fn lifetime(&self) -> Lifetime {
        Lifetime::Disk
    }

    /// Returns the way around mounting for stores that cannot be mounted; real ones have none.
    fn direct(&self) -> Option<&dyn Direct> {
        None
    }

    /// Returns a rig without anything that earlier cases left, for stores whose objects are not on the ground; `None`
    /// where a fresh ground is enough.
    fn renewed(&self) -> Option<Box<dyn Rig>> {
        None
    }

    /// Returns the program's stores: the one under test first.
    fn registry(&self) -> Registry {
        self.companions().into_iter().fold(Registry::new().with(self.store()), Registry::with)
    }
}
