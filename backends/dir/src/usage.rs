//! Measuring volumes, and making them durable.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::store::Usage;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::measure_tree;
use rustix::fs::{Mode, OFlags, fstat, open, syncfs};
use rustix::io::Errno;

use crate::place::{Found, Place, path_of};
use crate::store::Reflinks;

/// Measures a volume; a missing one is unknown.
pub(crate) fn usage(volume: &Volume, reflinks: &Reflinks) -> Result<Usage> {
    let Some(place) = Place::open(volume)? else { return Ok(Usage::default()) };
    let (Found::Marked(root, _) | Found::Unmarked(root)) = place.look()? else { return Ok(Usage::default()) };
    let size = measure_tree(root.as_fd(), None).or_err(|| format!("cannot measure `{}`", volume.source))?;
    let referenced = Some(Bytes(size.allocated));
    // What is shared by reflink is freed with its last owner only, and nobody counts those.
    let exclusive = if reflinks.at(&place.path, &place.parent)? { None } else { referenced };
    Ok(Usage { referenced, exclusive, ..Usage::default() })
}

/// Writes back every file system that holds one of the volumes, once.
pub(crate) fn sync(context: &Context, volumes: &[Volume]) -> Result<()> {
    let mut synced = BTreeSet::new();
    for volume in volumes {
        let path = path_of(volume)?;
        let text = || format!("cannot write back `{}`", path.display());
        let Some(fd) = nearest(path).or_err(text)? else { continue };
        if synced.insert(fstat(&fd).or_err(text)?.st_dev) {
            context.step("barrier.syncfs")?;
            syncfs(&fd).or_err(text)?;
        }
    }
    Ok(())
}

/// Opens the nearest directory above a volume that exists: a destroyed volume has none of its own.
fn nearest(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    for ancestor in path.ancestors().skip(1) {
        match open(ancestor, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}
