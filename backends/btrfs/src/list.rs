//! Finding our volumes in an lxcpath: by their marks, below every home.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_core::homes::{directories, enter};
use keiki_core::store::{Found, Presence};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};
use rustix::fs::{Mode, OFlags, open};

use crate::{spec, subvolume};

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Returns every marked `<pool>/*/rootfs` and `<pool>/*/snaps/*/rootfs`.
pub(crate) fn list(pool: &Path) -> Result<Vec<Found>> {
    let text = || format!("cannot read `{}`", pool.display());
    let root = open(pool, FLAGS, Mode::empty()).or_err(text)?;
    let mut found = Vec::new();
    for name in directories(&root).or_err(text)? {
        let path = pool.join(as_path(&name));
        let text = || format!("cannot read `{}`", path.display());
        let Some(home) = enter(&root, &name).or_err(text)? else { continue };
        found.extend(volume_in(&home, &path)?);
        let Some(snapshots) = enter(&home, c"snaps").or_err(text)? else { continue };
        for snapshot in directories(&snapshots).or_err(text)? {
            let Some(home) = enter(&snapshots, &snapshot).or_err(text)? else { continue };
            found.extend(volume_in(&home, &path.join("snaps").join(as_path(&snapshot)))?);
        }
    }
    Ok(found)
}

/// Returns the volume of a home, if it has one of ours.
fn volume_in(home: &OwnedFd, path: &Path) -> Result<Option<Found>> {
    let text = || format!("cannot read `{}`", path.display());
    let Some(root) = enter(home, c"rootfs").or_err(text)? else { return Ok(None) };
    let Presence::Complete(id) = subvolume::presence_of(&root).map_err(|e| e.while_doing(text()))? else {
        return Ok(None);
    };
    // A path that no configuration can name is no place of ours.
    let source = VolumeSource::at_path(StoreKind::new(spec::KIND), &path.join("rootfs"));
    Ok(source.ok().map(|source| Found { id, source }))
}

fn as_path(name: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name.to_bytes()))
}
