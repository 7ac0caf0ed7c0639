//! How a volume becomes a root filesystem: a recipe, not a mounted path.
//!
//! A store answers `attach` with a [`MountPlan`]. Whoever needs the tree executes it and gets a *detached* mount, a
//! file descriptor on nobody's mount table; the host never holds a copy, and the kernel unmounts it if we crash.
//! Plans are data (serde), so they travel to the container's monitor in a sealed memory file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

mod execute;

pub use execute::{Calls, execute, execute_by, execute_mapped};

/// Why a volume is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// To run from it or change it.
    ReadWrite,
    /// To read it; writes fail with `EROFS`.
    ReadOnly,
    /// To put the first content into a volume that was just created.
    Fill,
}

/// Where an overlay's writes go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upper {
    /// Into a directory; the work directory is on the same file system.
    Directory {
        /// The layer that receives changes.
        upper: PathBuf,
        /// The kernel's scratch directory; emptied by it.
        work: PathBuf,
    },
    /// Into memory, and gone with the mount.
    Memory {
        /// The limit; `None` is the kernel's own (half of the memory).
        size: Option<Bytes>,
    },
    /// Nowhere: the stack is read-only.
    None,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountRecipe {
    /// A directory, with the mounts of its own file system only.
    Directory {
        /// Its absolute path.
        path: PathBuf,
    },
    /// A stack of directories.
    Overlay {
        /// Absolute paths, topmost first.
        lowers: Vec<PathBuf>,
        /// Where writes go.
        upper: Upper,
        /// Further options of overlayfs (`index=off`); a word without `=` is a flag.
        options: Vec<String>,
    },
    /// A file system in an image file. Whoever executes the recipe binds a loop device and mounts it at once, so that no device is left
    /// when something dies in between; mounts of one image share one device.
    Image {
        /// The type that was found in the image when the plan was made.
        fstype: String,
        /// The absolute path of the image.
        image: PathBuf,
        /// Options of that file system; a word without `=` is a flag.
        options: Vec<String>,
    },
    /// A file system on a device or in a pool.
    Filesystem {
        /// The type that was recorded when the volume was made; never guessed.
        fstype: String,
        /// A device or a dataset.
        device: String,
        /// Options of that file system; a word without `=` is a flag. With `rw` only the mount refuses writes where they
        /// shall be refused, for file systems that are mounted in one way at a time.
        options: Vec<String>,
    },
}

/// A recipe for one detached mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// What is mounted.
    pub recipe: MountRecipe,
    /// Whether the mount itself refuses writes.
    pub read_only: bool,
}
