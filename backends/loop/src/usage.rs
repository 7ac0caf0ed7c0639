//! Measuring images, and making them durable.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::store::{Exactness, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{Mode, OFlags, fstat, fsync, open, syncfs};
use rustix::io::Errno;

use crate::image::{Found, Place, path_of};
use crate::store::Reflinks;

/// Images beyond this number are made durable by one sync of each file system instead of one by one.
const SYNC_SINGLY: usize = 8;

/// Measures what an image takes of the file system below; a missing one is unknown.
pub(crate) fn usage(volume: &Volume, reflinks: &Reflinks) -> Result<Usage> {
    let Some(place) = Place::open(volume)? else { return Ok(Usage::default()) };
    let (Found::Marked(image, _) | Found::Unmarked(image)) = place.look()? else {
        return Ok(Usage::default());
    };
    let found = fstat(&image).or_err(|| format!("cannot measure `{}`", place.path.display()))?;
    let referenced = u64::try_from(found.st_blocks).ok().map(|blocks| Bytes(blocks * 512));
    // What is shared by reflink is freed with its last owner only, and nobody counts those.
    let exclusive = if reflinks.at(&place.path, &place.parent)? { None } else { referenced };
    let limit = u64::try_from(found.st_size).ok().map(Bytes);
    Ok(Usage { referenced, exclusive, limit, exactness: Exactness::Exact })
}

/// Writes back images and their names.
pub(crate) fn sync(context: &Context, volumes: &[Volume]) -> Result<()> {
    if volumes.len() <= SYNC_SINGLY {
        return volumes.iter().try_for_each(|volume| sync_one(context, volume));
    }
    let mut synced = BTreeSet::new();
    for volume in volumes {
        let path = path_of(volume)?;
        let text = || format!("cannot write back `{}`", path.display());
        let Some(fd) = nearest(path).or_err(text)? else { continue };
        if synced.insert(fstat(&fd).or_err(text)?.st_dev) {
            context.step("loop.syncfs")?;
            syncfs(&fd).or_err(text)?;
        }
    }
    Ok(())
}

fn sync_one(context: &Context, volume: &Volume) -> Result<()> {
    let path = path_of(volume)?;
    let text = || format!("cannot write back `{}`", path.display());
    context.step("loop.fsync")?;
    if let Some(place) = Place::open(volume)?
        && let Found::Marked(image, _) | Found::Unmarked(image) = place.look()?
    {
        fsync(&image).or_err(text)?;
    }
    nearest(path).or_err(text)?.map_or(Ok(()), |directory| fsync(&directory).or_err(text))
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
