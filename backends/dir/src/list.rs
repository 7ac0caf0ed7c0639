//! Finding our volumes in an lxcpath: by their marks, below every home.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeId, VolumeSource};
use keiki_core::{Result, ResultExt};
use keiki_tree::mark;
use rustix::fs::{Dir, FileType, Mode, OFlags, open, openat};
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

fn marked(directory: &OwnedFd, name: &CStr) -> Result<Option<VolumeId>, Errno> {
    let Some(root) = enter(directory, name)? else { return Ok(None) };
    let mark = mark::read_mark(root.as_fd()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(mark.and_then(|mark| mark.parse().ok()))
}

/// Opens a directory; `None` when the name is gone or something else.
fn enter(parent: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match openat(parent, name, FLAGS, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn directories(parent: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(parent)? {
        let entry = entry?;
        let may_be_home = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if may_be_home && !entry.file_name().to_bytes().starts_with(b".") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn as_path(name: &CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
