//! Swaps the places of two subvolumes with one `renameat2`.

use keiki_core::context::Context;
use keiki_core::store::Presence;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{RenameFlags, renameat_with};

use crate::create::foreign;
use crate::subvolume::{self, Place};

/// Makes each take the other's place; see `Exchange::exchange`.
pub(crate) fn exchange(context: &Context, a: &Volume, b: &Volume) -> Result<()> {
    let (at_a, at_b) = (subvolume::require(a)?, subvolume::require(b)?);
    if holds(&at_a, b)? && holds(&at_b, a)? {
        return Ok(());
    }
    for (place, volume) in [(&at_a, a), (&at_b, b)] {
        if !holds(place, volume)? {
            return Err(match place.presence()? {
                Presence::Absent => subvolume::missing(&place.path),
                Presence::Partial | Presence::Complete(_) | Presence::Foreign => foreign(place),
            });
        }
    }
    context.step("btrfs.exchange")?;
    renameat_with(&at_a.parent, &at_a.name, &at_b.parent, &at_b.name, RenameFlags::EXCHANGE)
        .or_err(|| format!("cannot exchange `{}` and `{}`", at_a.path.display(), at_b.path.display()))
}

fn holds(place: &Place, volume: &Volume) -> Result<bool> {
    Ok(place.presence()? == Presence::Complete(volume.id))
}
