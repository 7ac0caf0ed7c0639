//! Making volumes: a base with content to come, an upper layer that looks like what is below, and scratch.
//!
//! Order: base aside, marked, in place; then the upper layer aside, scratch, mark, in place. So a volume whose upper layer is
//! in place is complete, and whatever an interruption leaves carries the volume's id in its name or mark.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keiki_core::context::Context;
use keiki_core::homes::{Place, Seen, no_home};
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::RootMetadata;
use rustix::fs::{Mode, fchmod, mkdir};
use rustix::io::Errno;

use crate::layers::Layers;
use crate::{list, place, scratch};

/// The steps of making a volume, as the observer hears them.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) base: &'static str,
    pub(crate) mkdir: &'static str,
    pub(crate) mark: &'static str,
    pub(crate) publish: &'static str,
}

pub(crate) const CREATE: Steps =
    Steps { base: "create.base", mkdir: "create.mkdir", mark: "create.mark", publish: "create.publish" };

/// Makes an empty volume with a base of its own.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    make(context, volume, &CREATE, |root| {
        // Not `mkdir`'s mode, which the umask narrows.
        fchmod(root, Mode::from_raw_mode(0o755)).or_err(|| format!("cannot open up `{}`", volume.source))
    })
}

/// Makes a volume whose base is filled by `fill`; success without doing anything when it is there.
pub(crate) fn make(
    context: &Context,
    volume: &Volume,
    steps: &Steps,
    fill: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let layers = Layers::of(volume)?;
    let Some(base) = layers.own_base() else {
        let text = format!("`{}` stands upon layers of others", volume.source);
        return Err(Error::new(ErrorKind::InvalidArgument, text).with_hint("it is made by cloning"));
    };
    if is_complete(&layers, volume.id)? {
        return Ok(());
    }
    if base.parent() == layers.upper.parent() {
        ensure_above(&layers)?;
    }
    let place = place::base(&layers, volume.id)?.ok_or_else(|| no_home(base))?;
    let base = make_base(context, &place, steps, fill)?;
    let root =
        RootMetadata::of(base.as_fd()).or_err(|| format!("cannot read the base of `{}`", volume.source))?;
    make_upper(context, volume.id, &layers, &root, steps)
}

/// Returns whether the upper layer is in place; something else there is refused before anything is made.
fn is_complete(layers: &Layers, id: VolumeId) -> Result<bool> {
    place::upper(layers, id)?.map_or(Ok(false), |place| place.is_complete())
}

fn make_base(
    context: &Context,
    place: &Place,
    steps: &Steps,
    fill: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<OwnedFd> {
    match place.look()? {
        Seen::Ours(base) => return Ok(base),
        Seen::Nothing => {}
        seen => return Err(place.foreign(&seen)),
    }
    context.step(steps.base)?;
    let (base, _) = place.fresh_aside(context)?;
    fill(base.as_fd())?;
    place.mark(&base)?;
    place.publish()?;
    Ok(base)
}

/// Makes the upper layer with its scratch directory; `root` is what the layer below looks like.
pub(crate) fn make_upper(
    context: &Context,
    id: VolumeId,
    layers: &Layers,
    root: &RootMetadata,
    steps: &Steps,
) -> Result<()> {
    context.step(steps.mkdir)?;
    ensure_above(layers)?;
    let place = place::upper(layers, id)?.ok_or_else(|| no_home(&layers.upper))?;
    if place.is_complete()? {
        return Ok(());
    }
    let (upper, attempt) = place.fresh_aside(context)?;
    let work = match scratch::make(&place, layers, attempt) {
        Ok(work) => work,
        Err(error) => {
            // Nothing of ours may stay beside something foreign. Where that fails too, `destroy` will do it.
            return match place.remove_aside(context) {
                Ok(()) => Err(error),
                Err(second) => Err(error.with_context("left behind", second.full_message())),
            };
        }
    };
    list::record(&work, layers)?;
    root.apply(upper.as_fd()).or_err(|| format!("cannot prepare `{}`", place.path().display()))?;
    context.step(steps.mark)?;
    place.mark(&upper)?;
    context.step(steps.publish)?;
    place.publish()
}

/// Makes the directory `overlay` in a home.
fn ensure_above(layers: &Layers) -> Result<()> {
    let above = layers.upper.parent().unwrap_or(&layers.upper);
    if above == layers.home() {
        return Ok(());
    }
    match mkdir(above, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => Err(no_home(above)),
        Err(errno) => Err(errno).or_err(|| format!("cannot make `{}`", above.display())),
    }
}
