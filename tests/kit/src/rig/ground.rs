//! [`Ground`]: a directory for one case, with an lxcpath and a state directory in it.
//!
//! ```text
//! <ground>/lxc/      the lxcpath
//! <ground>/state/    the catalogue
//! ```
//!
//! Both are on one file system on purpose: that is how a machine is set up, and a full disk hits both.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::Missing;

/// A directory for one case; gone when dropped.
#[derive(Debug)]
pub struct Ground {
    root: PathBuf,
    // In order of dropping: what is mounted goes before the directory that it is mounted on.
    _mount: Option<MountGuard>,
    _directory: TempDir,
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
        let ground = Self { root, _mount: mount, _directory: directory };
        std::fs::create_dir(ground.lxcpath())?;
        std::fs::create_dir(ground.state())?;
        Ok(ground)
    }

    /// Returns the directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
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
