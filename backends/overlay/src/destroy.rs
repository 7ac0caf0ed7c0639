//! Removing volumes, and telling what is there.
//!
//! Order: the upper layer goes aside (from then on the volume is partial), then scratch and the own base go, the layer
//! aside last. An interruption leaves a name or a mark with the volume's id, so that the next attempt goes on.

use keiki_core::context::Context;
use keiki_core::homes::{Place, Seen, foreign};
use keiki_core::store::{Destroyed, Presence};
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, Result};

use crate::layers::Layers;
use crate::{place, scratch};

/// Removes what the volume owns: its upper layer, its scratch directory and its own base. Other layers stay.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let layers = Layers::of(volume)?;
    let upper = place::upper(&layers, volume.id)?;
    match presence(volume)? {
        Presence::Absent => return Ok(Destroyed::Absent),
        Presence::Complete(id) if id != volume.id => return Err(refuse(&layers, volume.id)?),
        Presence::Foreign => return Err(refuse(&layers, volume.id)?),
        Presence::Partial | Presence::Complete(_) => {}
    }
    let aside = match upper {
        Some(upper) if put_aside(context, &upper)? => Some(upper),
        Some(_) | None => None,
    };
    if let Some(upper) = &aside {
        context.step("destroy.work")?;
        scratch::remove(context, upper, &layers)?;
    }
    if let Some(base) = place::base(&layers, volume.id)? {
        remove_base(context, &base)?;
    }
    if let Some(upper) = &aside {
        context.step("destroy.remove")?;
        upper.remove_aside(context)?;
        scratch::remove_above(upper, &layers)?;
    }
    Ok(Destroyed::Removed)
}

/// Tells what is at the volume's place.
pub(crate) fn presence(volume: &Volume) -> Result<Presence> {
    let layers = Layers::of(volume)?;
    let mut is_foreign = false;
    if let Some(upper) = place::upper(&layers, volume.id)? {
        match upper.look()? {
            Seen::Ours(_) => return Ok(Presence::Complete(volume.id)),
            // A complete volume of another id is no remains of ours, even if an attempt of ours stands beside it.
            Seen::Other(_, Some(mark)) if !upper.is_aside()? => {
                return Ok(mark.parse().map_or(Presence::Foreign, Presence::Complete));
            }
            Seen::Other(..) | Seen::Misshapen => is_foreign = true,
            Seen::Nothing => {}
        }
        if upper.is_aside()? {
            return Ok(Presence::Partial);
        }
    }
    if let Some(base) = place::base(&layers, volume.id)? {
        match base.look()? {
            Seen::Ours(_) => return Ok(Presence::Partial),
            _ if base.is_aside()? => return Ok(Presence::Partial),
            Seen::Nothing => {}
            Seen::Other(..) | Seen::Misshapen => is_foreign = true,
        }
    }
    Ok(if is_foreign { Presence::Foreign } else { Presence::Absent })
}

/// Returns the refusal of whatever foreign is in place.
fn refuse(layers: &Layers, id: VolumeId) -> Result<Error> {
    let places = [place::upper(layers, id)?, place::base(layers, id)?];
    for place in places.into_iter().flatten() {
        match place.look()? {
            Seen::Nothing | Seen::Ours(_) => {}
            seen => return Ok(place.foreign(&seen)),
        }
    }
    Ok(foreign(&layers.upper, "was in the way and is gone"))
}

/// Takes the upper layer out of its place; returns whether there is something aside then.
fn put_aside(context: &Context, upper: &Place) -> Result<bool> {
    match upper.look()? {
        Seen::Ours(_) => {
            // Only an interrupted attempt to make the same volume can have left something there.
            upper.remove_aside(context)?;
            context.step("destroy.aside")?;
            upper.put_aside().map(|()| true)
        }
        // Remains of ours beside something foreign still go; what is in place stays.
        Seen::Nothing | Seen::Other(..) | Seen::Misshapen => upper.is_aside(),
    }
}

fn remove_base(context: &Context, base: &Place) -> Result<()> {
    context.step("destroy.base")?;
    if matches!(base.look()?, Seen::Ours(_)) {
        base.remove_aside(context)?;
        base.put_aside()?;
    }
    base.remove_aside(context)
}
