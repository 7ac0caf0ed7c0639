//! [`Ground`]: a directory for one case, with an lxcpath and a state directory in it.
//!
//! ```text
//! <ground>/lxc/      the lxcpath
//! <ground>/state/    the catalogue
//! ```
//!
//! Both are on one file system on purpose: that is how a machine is set up, and a full disk hits both.
//!
//! Stores whose objects have a name space of their own (a volume group, a zpool) get the rest from the ground's *options*,
//! which every case passes along, and from what the ground *keeps*: the pool, which goes with it.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use keiki_core::volume::Properties;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::Missing;

/// A directory for one case; gone when dropped.
#[derive(Debug)]
pub struct Ground {
    root: PathBuf,
    options: Properties,
    // In order of dropping: a pool goes first, and what is mounted before the directory that it is mounted on.
    kept: Vec<Box<dyn Debug + Send + Sync>>,
    _mount: Option<MountGuard>,
    _directory: Option<TempDir>,
}

impl Ground {
    /// Makes lxcpath and state directory in `directory`, which is removed in the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn in_directory(directory: TempDir) -> std::io::Result<Self> {
        let root = directory.path().canonicalize()?;
        Self::lay_out(root, None, directory)
    }

    /// Makes lxcpath and state directory in what is mounted on `mount`, a subdirectory of `directory`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn on_mount(directory: TempDir, mount: MountGuard) -> std::io::Result<Self> {
        let root = mount.point.canonicalize()?;
        Self::lay_out(root, Some(mount), directory)
    }

    fn lay_out(root: PathBuf, mount: Option<MountGuard>, directory: TempDir) -> std::io::Result<Self> {
        let options = Properties::new();
        let ground = Self { root, options, kept: Vec::new(), _mount: mount, _directory: Some(directory) };
        std::fs::create_dir(ground.lxcpath())?;
        std::fs::create_dir(ground.state())?;
        Ok(ground)
    }

    /// Returns the ground that another process made and will take away.
    #[must_use]
    pub fn of_another(root: PathBuf, options: Properties) -> Self {
        Self { root, options, kept: Vec::new(), _mount: None, _directory: None }
    }

    /// Says which options find the pool (`vgname`, `zfsroot`, …), and what takes the pool away when it is dropped.
    #[must_use]
    pub fn with_pool(mut self, options: Properties, pool: impl Debug + Send + Sync + 'static) -> Self {
        self.options = options;
        self.kept.push(Box::new(pool));
        self
    }

    /// Returns the directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the options that a user would give on this ground.
    #[must_use]
    pub fn options(&self) -> &Properties {
        &self.options
    }

    /// Returns the directory that holds containers.
    #[must_use]
    pub fn lxcpath(&self) -> PathBuf {
        self.root.join("lxc")
    }

    /// Returns the directory of the catalogue.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }
}

/// Something mounted; unmounted when dropped.
#[derive(Debug)]
pub struct MountGuard {
    point: PathBuf,
}

impl MountGuard {
    /// Takes charge of what is mounted on `point`.
    #[must_use]
    pub fn of(point: PathBuf) -> Self {
        Self { point }
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        // Detached, because a test that leaked a descriptor has failed already and must not leave its mount as well.
        let _gone = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

/// A directory that can only be read, until this is dropped.
pub type Readable = MountGuard;

/// Makes a directory read-only for this process and its children by a mount upon itself.
///
/// # Errors
/// What this machine lacks.
pub fn hold_read_only(directory: &Path) -> Result<Readable, Missing> {
    let missing = |errno| Missing(format!("the right to mount ({errno})"));
    let none = None::<&str>;
    mount(Some(directory), directory, none, MsFlags::MS_BIND, none).map_err(missing)?;
    let guard = MountGuard::of(directory.to_owned());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, directory, none, flags, none).map_err(missing)?;
    Ok(guard)
}
