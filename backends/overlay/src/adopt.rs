//! Adopting what LXC made: marks, and nothing else.

use std::path::Path;

use keiki_core::context::Context;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};

use crate::layers::Layers;
use crate::spot::{Seen, Spot};
use crate::{list, scratch};

/// Marks a volume that LXC made; its base too, where it has one of its own.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let layers = Layers::of(volume)?;
    let missing = || Error::new(ErrorKind::NotFound, format!("`{}` does not exist", layers.upper.display()));
    let upper = Spot::upper(&layers.upper, volume.id)?.ok_or_else(missing)?;
    let directory = match upper.look()? {
        Seen::Ours(_) => return Ok(()),
        Seen::Other(directory, mark) if may_replace(mark.as_deref(), copied) => directory,
        Seen::Nothing => return Err(missing()),
        seen => return Err(upper.foreign(&seen)),
    };
    if let Some(base) = layers.own_base() {
        adopt_base(context, base, volume.id, copied)?;
    }
    context.step("adopt.work")?;
    let work = scratch::ensure(&upper, &layers)?;
    list::record(&work, &layers)?;
    context.step("adopt.mark")?;
    upper.mark(&directory)
}

/// Whether a mark, or none, may give way: only that of the volume of which this is a copy.
fn may_replace(mark: Option<&str>, copied: Option<VolumeId>) -> bool {
    mark.is_none_or(|mark| copied.is_some_and(|id| mark == id.to_string()))
}

fn adopt_base(context: &Context, path: &Path, id: VolumeId, copied: Option<VolumeId>) -> Result<()> {
    let missing = || Error::new(ErrorKind::NotFound, format!("`{}` does not exist", path.display()));
    let base = Spot::base(path, id)?.ok_or_else(missing)?;
    match base.look()? {
        Seen::Ours(_) => Ok(()),
        Seen::Other(directory, mark) if may_replace(mark.as_deref(), copied) => {
            context.step("adopt.base")?;
            base.mark(&directory)
        }
        Seen::Nothing => Err(missing()),
        seen => Err(base.foreign(&seen)),
    }
}
