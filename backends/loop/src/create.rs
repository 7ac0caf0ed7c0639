//! Making images: aside, filled, marked, and then renamed into place.

use std::os::fd::OwnedFd;
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::homes::{MakeSteps, Place, Shape};
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_filesystem::Labels;
use rustix::fs::ftruncate;

use crate::spec::Spec;

const CREATE: MakeSteps = MakeSteps { make: "loop.image", mark: "loop.mark", publish: "loop.publish" };

/// Makes an image with an empty file system.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    let spec = Spec::parse(&volume.properties)?;
    make(context, volume, &CREATE, |image, path| {
        ftruncate(image, spec.new_size().0)
            .or_err(|| format!("cannot make `{}` {} bytes large", path.display(), spec.new_size().0))?;
        keiki_filesystem::make(context, spec.new_type(), path, Labels::default())
    })
}

/// Makes an image whose content comes from `fill`, which gets it empty, with its path; success without doing anything when it is
/// there.
pub(crate) fn make(
    context: &Context,
    volume: &Volume,
    steps: &MakeSteps,
    fill: impl FnOnce(&OwnedFd, &Path) -> Result<()>,
) -> Result<()> {
    let place = Place::of_new(volume, Shape::File)?;
    place.make(context, steps, |image| fill(image, &place.aside_path()))
}
