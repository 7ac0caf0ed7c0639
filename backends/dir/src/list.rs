//! Finding our volumes in an lxcpath: by their marks, below every home.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use keiki_core::homes::{directories, enter, marked};
use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::store::KIND;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns every marked `<pool>/*/rootfs` and `<pool>/*/snaps/*/rootfs`.
pub(crate) fn list(pool: &Pool) -> Result<Vec<Found>> {
    let text = || format!("cannot read `{}`", pool.path.display());
    let root = open(&pool.path, FLAGS - OFlags::NOFOLLOW, Mode::empty()).or_err(text)?;
    let mut found = Vec::new();
    for name in directories(&root).or_err(text)? {
        let path = pool.path.join(as_path(&name));
        let text = || format!("cannot read `{}`", path.display());
        let Some(home) = enter(&root, &name).or_err(text)? else { continue };
        found.extend(volume_in(&home, &path).or_err(text)?);
        let Some(snapshots) = enter(&home, c"snaps").or_err(text)? else { continue };
        for snapshot in directories(&snapshots).or_err(text)? {
            let Some(home) = enter(&snapshots, &snapshot).or_err(text)? else { continue };
            found.extend(volume_in(&home, &path.join("snaps").join(as_path(&snapshot))).or_err(text)?);
        }
    }
    Ok(found)
}

/// Returns the volume of a home, if it has one of ours.
fn volume_in(home: &OwnedFd, path: &Path) -> Result<Option<Found>, Errno> {
    let Some(id) = marked(home, c"rootfs")? else { return Ok(None) };
    // The base of an overlay is called `rootfs` as well, and carries the mark of its overlay.
    if let Some(overlay) = enter(home, c"overlay")?
        && marked(&overlay, c"delta")? == Some(id)
    {
        return Ok(None);
    }
    // A path that no configuration can name is no place of ours.
    let source = VolumeSource::at_path(StoreKind::new(KIND), &path.join("rootfs"));
    Ok(source.ok().map(|source| Found { id, source }))
}

fn as_path(name: &CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
