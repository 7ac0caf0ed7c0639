//! Making images: aside, filled, marked, and then renamed into place; and taking LXC's into our keeping.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Result, ResultExt};
use keiki_filesystem::Labels;
use keiki_tree::mark;
use rustix::fs::{Mode, OFlags, ftruncate, openat};

use crate::image::{Found, Place, absent, is};
use crate::spec::Spec;

/// The steps of making an image, as the observer hears them.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) image: &'static str,
    pub(crate) mark: &'static str,
    pub(crate) publish: &'static str,
}

const CREATE: Steps = Steps { image: "loop.image", mark: "loop.mark", publish: "loop.publish" };

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
    steps: &Steps,
    fill: impl FnOnce(&OwnedFd, &Path) -> Result<()>,
) -> Result<()> {
    let place = Place::for_new(volume)?;
    match place.look()? {
        Found::Nothing => {}
        Found::Marked(_, mark) if is(&mark, volume.id) => return Ok(()),
        other => return Err(place.foreign(volume, &other)),
    }
    context.step(steps.image)?;
    // What an earlier attempt left: older than its source may be now.
    place.remove_aside()?;
    let path = place.aside_path();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let image = openat(&place.parent, &place.aside, flags, Mode::RUSR | Mode::WUSR)
        .or_err(|| format!("cannot make `{}`", path.display()))?;
    fill(&image, &path)?;
    context.step(steps.mark)?;
    write_mark(&image, &place.path, volume.id)?;
    context.step(steps.publish)?;
    place.publish()
}

fn write_mark(image: &OwnedFd, path: &Path, id: VolumeId) -> Result<()> {
    mark::write_mark(image.as_fd(), &id.to_string())
        .or_err(|| format!("cannot mark `{}`: the file system must keep extended attributes", path.display()))
}

/// Marks an image that LXC made; see `BackingStore::adopt`.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let place = Place::open(volume)?.ok_or_else(|| absent(volume))?;
    let image = match place.look()? {
        Found::Nothing => return Err(absent(volume)),
        Found::Marked(_, mark) if is(&mark, volume.id) => return Ok(()),
        Found::Unmarked(image) => image,
        Found::Marked(image, mark) if copied.is_some_and(|id| is(&mark, id)) => image,
        other => return Err(place.foreign(volume, &other)),
    };
    context.step("loop.adopt")?;
    write_mark(&image, &place.path, volume.id)
}
