//! Measuring images, and making them durable.

use keiki_core::context::Context;
use keiki_core::homes::{Entry, Place, Reflinks, Shape, nearest, path_of, sync_file_systems};
use keiki_core::store::{Exactness, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{fstat, fsync};

/// Images beyond this number are made durable by one sync of each file system instead of one by one.
const SYNC_SINGLY: usize = 8;

/// Measures what an image takes of the file system below; a missing one is unknown.
pub(crate) fn usage(volume: &Volume, reflinks: &Reflinks) -> Result<Usage> {
    let Some(place) = Place::of(volume, Shape::File)? else { return Ok(Usage::default()) };
    let Entry::Object(image) = place.entry()? else { return Ok(Usage::default()) };
    let found = fstat(&image).or_err(|| format!("cannot measure `{}`", place.path().display()))?;
    let referenced = u64::try_from(found.st_blocks).ok().map(|blocks| Bytes(blocks * 512));
    // What is shared by reflink is freed with its last owner only, and nobody counts those.
    let exclusive = if reflinks.at(place.path(), place.parent())? { None } else { referenced };
    let limit = u64::try_from(found.st_size).ok().map(Bytes);
    Ok(Usage { referenced, exclusive, limit, exactness: Exactness::Exact })
}

/// Writes back images and their names.
pub(crate) fn sync(context: &Context, volumes: &[Volume]) -> Result<()> {
    if volumes.len() <= SYNC_SINGLY {
        return volumes.iter().try_for_each(|volume| sync_one(context, volume));
    }
    sync_file_systems(context, "loop.syncfs", volumes)
}

fn sync_one(context: &Context, volume: &Volume) -> Result<()> {
    let path = path_of(volume)?;
    let text = || format!("cannot write back `{}`", path.display());
    context.step("loop.fsync")?;
    if let Some(place) = Place::of(volume, Shape::File)?
        && let Entry::Object(image) = place.entry()?
    {
        fsync(&image).or_err(text)?;
    }
    nearest(path).or_err(text)?.map_or(Ok(()), |directory| fsync(&directory).or_err(text))
}
