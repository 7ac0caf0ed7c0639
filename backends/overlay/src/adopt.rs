//! Adopting what LXC made: marks, and nothing else.

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::homes::absent;
use keiki_core::volume::{Volume, VolumeId};

use crate::layers::Layers;
use crate::{list, place, scratch};

/// Marks a volume that LXC made; its base too, where it has one of its own.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let layers = Layers::of(volume)?;
    let upper = place::upper(&layers, volume.id)?.ok_or_else(|| absent(&layers.upper))?;
    let Some(directory) = upper.adoptable(copied)? else { return Ok(()) };
    if let Some(path) = layers.own_base() {
        let base = place::base(&layers, volume.id)?.ok_or_else(|| absent(path))?;
        base.adopt(context, "adopt.base", copied)?;
    }
    context.step("adopt.work")?;
    let work = scratch::ensure(&upper, &layers)?;
    list::record(&work, &layers)?;
    context.step("adopt.mark")?;
    upper.mark(&directory)
}
