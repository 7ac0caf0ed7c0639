//! Finding our images in an lxcpath: by their marks, in every home.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_core::homes::{directories, enter};
use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeId, VolumeSource};
use keiki_core::{Result, ResultExt};
use keiki_tree::mark;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::image::open_file;
use crate::store::{IMAGE, KIND};

/// Returns every marked `<pool>/*/rootdev` and `<pool>/*/snaps/*/rootdev`.
pub(crate) fn list(pool: &Pool) -> Result<Vec<Found>> {
    let text = || format!("cannot read `{}`", pool.path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(&pool.path, flags, Mode::empty()).or_err(text)?;
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
    let image = match open_file(home, IMAGE) {
        Ok(Some(image)) => image,
        // Something of that name which is no file is nobody's image.
        Ok(None) | Err(Errno::BADF) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mark = mark::read_mark(image.as_fd()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let Some(id) = mark.and_then(|mark| mark.parse::<VolumeId>().ok()) else { return Ok(None) };
    // A path that no configuration can name is no place of ours.
    let source = VolumeSource::at_path(StoreKind::new(KIND), &path.join(IMAGE));
    Ok(source.ok().map(|source| Found { id, source }))
}

fn as_path(name: &CStr) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
