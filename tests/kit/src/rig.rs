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
pub mod namespace;
mod path;
mod reference;
mod stores;

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
pub use path::PathRig;
pub use stores::in_tree;

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

/// A store and the ground that it is tested on.
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

    /// Takes all the space of a pool until the ballast is dropped.
    ///
    /// # Errors
    /// What this machine lacks.
    fn fill_disk(&self, ground: &Ground) -> Result<Ballast, Missing>;

    /// Makes a volume busy until the answer is dropped.
    ///
    /// # Errors
    /// What this machine lacks.
    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing>;

    /// Returns how long objects live, which decides whether killing a process proves anything.
    fn lifetime(&self) -> Lifetime;

    /// Returns the way around mounting for stores that cannot be mounted; `None` for real ones.
    fn direct(&self) -> Option<&dyn Direct>;

    /// Returns a rig without anything that earlier cases left, for stores whose objects are not on the ground; `None`
    /// where a fresh ground is enough.
    fn renewed(&self) -> Option<Box<dyn Rig>>;

    /// Returns the program's stores: the one under test first.
    fn registry(&self) -> Registry {
        self.companions().into_iter().fold(Registry::new().with(self.store()), Registry::with)
    }
}
