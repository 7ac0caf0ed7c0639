//! Swapping two volumes: one rename, so that nobody ever sees neither. What is mounted stays mounted: a device is bound to a file and
//! not to its name.

use keiki_core::context::Context;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{RenameFlags, renameat_with};

use crate::image::{Found, Place, absent, is};

/// Makes each volume take the other's place; success when they have.
pub(crate) fn exchange(context: &Context, a: &Volume, b: &Volume) -> Result<()> {
    let (here, there) = (existing(a)?, existing(b)?);
    let (at_a, at_b) = (here.look()?, there.look()?);
    if holds(&at_a, b) && holds(&at_b, a) {
        return Ok(());
    }
    let both = [(&here, &at_a, a), (&there, &at_b, b)];
    if let Some((_, _, volume)) = both.iter().find(|(_, found, _)| matches!(found, Found::Nothing)) {
        return Err(absent(volume));
    }
    if let Some((place, found, volume)) = both.iter().find(|(_, found, volume)| !holds(found, volume)) {
        return Err(place.foreign(volume, found));
    }
    context.step("loop.exchange")?;
    renameat_with(&here.parent, &here.name, &there.parent, &there.name, RenameFlags::EXCHANGE)
        .or_err(|| format!("cannot swap `{}` and `{}`", a.source, b.source))
}

fn existing(volume: &Volume) -> Result<Place> {
    Place::open(volume)?.ok_or_else(|| absent(volume))
}

fn holds(found: &Found, volume: &Volume) -> bool {
    matches!(found, Found::Marked(_, mark) if is(mark, volume.id))
}
