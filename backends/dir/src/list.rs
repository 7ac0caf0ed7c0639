//! Finding our volumes in an lxcpath: by their marks, below every home.

use std::os::fd::OwnedFd;
use std::path::Path;

use keiki_core::homes::{self, Shape, enter, marked};
use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};
use rustix::io::Errno;

use crate::store::KIND;

/// Returns every marked `<pool>/*/rootfs` and `<pool>/*/snaps/*/rootfs`.
pub(crate) fn list(pool: &Pool) -> Result<Vec<Found>> {
    homes::list(&pool.path, |home, path| {
        volume_in(home, path).or_err(|| format!("cannot read `{}`", path.display()))
    })
}

/// Returns the volume of a home, if it has one of ours.
fn volume_in(home: &OwnedFd, path: &Path) -> Result<Option<Found>, Errno> {
    let Some(id) = marked(home, c"rootfs", Shape::Directory)? else { return Ok(None) };
    // The base of an overlay is called `rootfs` as well, and carries the mark of its overlay.
    if let Some(overlay) = enter(home, c"overlay")?
        && marked(&overlay, c"delta", Shape::Directory)? == Some(id)
    {
        return Ok(None);
    }
    // A path that no configuration can name is no place of ours.
    let source = VolumeSource::at_path(StoreKind::new(KIND), &path.join("rootfs"));
    Ok(source.ok().map(|source| Found { id, source }))
}
