//! Removing images: renamed aside first, so that the place is free and the content out of reach at once.

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::homes::{DestroySteps, Place, Shape};
use keiki_core::store::Destroyed;
use keiki_core::volume::Volume;

use crate::idle::wait_idle;

const DESTROY: DestroySteps = DestroySteps { aside: "loop.aside", remove: "loop.remove" };

/// Removes a volume, in place or aside; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let Some(place) = Place::of(volume, Shape::File)? else { return Ok(Destroyed::Absent) };
    // A container that runs from it would go on writing into what nobody can reach, and keep the space.
    place.destroy(context, &DESTROY, |image| wait_idle(&place, image, "destroy"))
}
