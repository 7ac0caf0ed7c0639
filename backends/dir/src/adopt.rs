//! Putting our mark on directories that LXC made.

use std::os::fd::{AsFd, OwnedFd};

use keiki_core::context::Context;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::mark;

use crate::place::{Found, Place, is};

/// Marks the directory in place of `volume`.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let absent = || Error::new(ErrorKind::NotFound, format!("`{}` does not exist", volume.source));
    let place = Place::open(volume)?.ok_or_else(absent)?;
    match place.look()? {
        Found::Nothing => Err(absent()),
        Found::Marked(_, mark) if is(&mark, volume.id) => Ok(()),
        Found::Unmarked(root) => put_mark(context, &place, volume, &root),
        Found::Marked(root, mark) if copied.is_some_and(|id| is(&mark, id)) => {
            put_mark(context, &place, volume, &root)
        }
        other => Err(place.foreign(volume, &other)),
    }
}

fn put_mark(context: &Context, place: &Place, volume: &Volume, root: &OwnedFd) -> Result<()> {
    context.step("adopt.mark")?;
    mark::write_mark(root.as_fd(), &volume.id.to_string())
        .or_err(|| format!("cannot mark `{}`", place.path.display()))
}
