//! Swaps the places of two subvolumes with one `renameat2`.

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::homes::Place;
use keiki_core::store::Presence;
use keiki_core::volume::Volume;

use crate::subvolume::{self, missing, not_ours, presence};

/// Makes each take the other's place; see `Exchange::exchange`.
pub(crate) fn exchange(context: &Context, a: &Volume, b: &Volume) -> Result<()> {
    let (at_a, at_b) = (subvolume::require(a)?, subvolume::require(b)?);
    if holds(&at_a, b)? && holds(&at_b, a)? {
        return Ok(());
    }
    for (place, volume) in [(&at_a, a), (&at_b, b)] {
        if !holds(place, volume)? {
            return Err(match presence(place)? {
                Presence::Absent => missing(place.path()),
                Presence::Partial | Presence::Complete(_) | Presence::Foreign => not_ours(place),
            });
        }
    }
    context.step("btrfs.exchange")?;
    at_a.swap(&at_b)
}

fn holds(place: &Place, volume: &Volume) -> Result<bool> {
    Ok(presence(place)? == Presence::Complete(volume.id))
}
