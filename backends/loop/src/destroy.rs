//! Removing images: renamed aside first, so that the place is free and the content out of reach at once.

use keiki_core::context::Context;
use keiki_core::store::Destroyed;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{RenameFlags, fsync, renameat_with};

use crate::image::{Found, Place, is};

/// Removes a volume, in place or aside; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let Some(place) = Place::open(volume)? else { return Ok(Destroyed::Absent) };
    let in_place = match place.look()? {
        Found::Nothing => None,
        Found::Marked(image, mark) if is(&mark, volume.id) => Some(image),
        // Remains of ours beside something foreign still go: an interrupted `create` that lost the race.
        other if !place.is_aside()? => return Err(place.foreign(volume, &other)),
        _ => None,
    };
    if in_place.is_none() && !place.is_aside()? {
        return Ok(Destroyed::Absent);
    }
    if let Some(image) = in_place {
        // A container that runs from it would go on writing into what nobody can reach, and keep the space.
        place.wait_idle(&image, "destroy")?;
        context.step("loop.aside")?;
        // Only an interrupted attempt to make the same volume can have left something there.
        place.remove_aside()?;
        let text = || format!("cannot put `{}` aside", place.path.display());
        renameat_with(&place.parent, &place.name, &place.parent, &place.aside, RenameFlags::NOREPLACE)
            .or_err(text)?;
        fsync(&place.parent).or_err(text)?;
    }
    context.step("loop.remove")?;
    place.remove_aside()?;
    Ok(Destroyed::Removed)
}
