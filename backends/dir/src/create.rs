//! Making volumes: aside, filled, marked, and then renamed into place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keiki_core::context::Context;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::{RemoveOptions, mark, remove_tree};
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};

use crate::place::{Found, Place, is};

/// The steps of making a volume, as the observer hears them.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) mkdir: &'static str,
    pub(crate) mark: &'static str,
    pub(crate) publish: &'static str,
}

const CREATE: Steps = Steps { mkdir: "create.mkdir", mark: "create.mark", publish: "create.publish" };

/// Makes an empty volume.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    make(context, volume, &CREATE, |root| {
        // Not `mkdir`'s mode, which the umask narrows.
        fchmod(root, Mode::from_raw_mode(0o755)).or_err(|| format!("cannot open up `{}`", volume.source))
    })
}

/// Makes a volume whose first content comes from `fill`; success without doing anything when it is there.
pub(crate) fn make(
    context: &Context,
    volume: &Volume,
    steps: &Steps,
    fill: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let place = Place::for_new(volume)?;
    match place.look()? {
        Found::Nothing => {}
        Found::Marked(_, mark) if is(&mark, volume.id) => return Ok(()),
        other => return Err(place.foreign(volume, &other)),
    }
    context.step(steps.mkdir)?;
    let root = fresh_aside(&place)?;
    fill(root.as_fd())?;
    context.step(steps.mark)?;
    mark::write_mark(root.as_fd(), &volume.id.to_string()).or_err(|| {
        format!("cannot mark `{}`: the file system must keep extended attributes", place.path.display())
    })?;
    context.step(steps.publish)?;
    place.publish()
}

/// Makes an empty directory aside, in place of what an earlier attempt left there.
fn fresh_aside(place: &Place) -> Result<OwnedFd> {
    let text = || format!("cannot make a directory for `{}`", place.path.display());
    remove_tree(place.parent.as_fd(), &place.aside, &RemoveOptions::default()).or_err(text)?;
    mkdirat(&place.parent, &place.aside, Mode::RWXU).or_err(text)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&place.parent, &place.aside, flags, Mode::empty()).or_err(text)
}
