//! Removing volumes: renamed aside first, so that the place is free and the data out of reach at once.

use std::os::fd::AsFd;

use keiki_core::context::{Context, Progress};
use keiki_core::store::Destroyed;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::{RemoveOptions, remove_tree};
use rustix::fs::{RenameFlags, fsync, renameat_with};

use crate::place::{Found, Place, is};

/// Removes a volume, in place or aside.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let Some(place) = Place::open(volume)? else { return Ok(Destroyed::Absent) };
    let is_in_place = match place.look()? {
        Found::Nothing => false,
        Found::Marked(_, mark) if is(&mark, volume.id) => true,
        // Remains of ours beside something foreign still go: an interrupted `create` that lost the race.
        other if !place.is_aside()? => return Err(place.foreign(volume, &other)),
        _ => false,
    };
    if !is_in_place && !place.is_aside()? {
        return Ok(Destroyed::Absent);
    }
    if is_in_place {
        put_aside(context, &place)?;
    }
    context.step("destroy.remove")?;
    remove_aside(context, &place)?;
    Ok(Destroyed::Removed)
}

fn put_aside(context: &Context, place: &Place) -> Result<()> {
    // Only an interrupted attempt to make the same volume can have left something there.
    remove_aside(context, place)?;
    context.step("destroy.aside")?;
    let text = || format!("cannot take `{}` out of its place", place.path.display());
    renameat_with(&place.parent, &place.name, &place.parent, &place.aside, RenameFlags::NOREPLACE)
        .or_err(text)?;
    // A crash must never bring the name back with half of its data.
    fsync(&place.parent).or_err(text)
}

fn remove_aside(context: &Context, place: &Place) -> Result<()> {
    let progress =
        |progress: keiki_tree::Progress| context.progress(Progress { entries: progress.entries, bytes: 0 });
    let options = RemoveOptions { progress: Some(&progress), ..RemoveOptions::default() };
    remove_tree(place.parent.as_fd(), &place.aside, &options)
        .map(drop)
        .or_err(|| format!("cannot remove what was `{}`", place.path.display()))
}
