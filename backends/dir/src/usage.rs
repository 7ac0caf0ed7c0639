//! Measuring volumes.

use std::os::fd::AsFd;

use keiki_core::homes::{Entry, Place, Reflinks, Shape};
use keiki_core::store::Usage;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::measure_tree;

/// Measures a volume; a missing one is unknown.
pub(crate) fn usage(volume: &Volume, reflinks: &Reflinks) -> Result<Usage> {
    let Some(place) = Place::of(volume, Shape::Directory)? else { return Ok(Usage::default()) };
    let Entry::Object(root) = place.entry()? else { return Ok(Usage::default()) };
    let size = measure_tree(root.as_fd(), None).or_err(|| format!("cannot measure `{}`", volume.source))?;
    let referenced = Some(Bytes(size.allocated));
    // What is shared by reflink is freed with its last owner only, and nobody counts those.
    let exclusive = if reflinks.at(place.path(), place.parent())? { None } else { referenced };
    Ok(Usage { referenced, exclusive, ..Usage::default() })
}
