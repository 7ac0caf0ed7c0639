//! Makes an empty subvolume, and takes one of LXC's into our keeping.

use std::os::fd::AsFd;

use keiki_core::context::Context;
use keiki_core::homes::Place;
use keiki_core::store::Presence;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};
use keiki_sys::btrfs;
use rustix::io::Errno;

use crate::subvolume::{self, not_ours, opened, presence};

/// Makes `volume`; see `BackingStore::create`.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    let place = subvolume::require(volume)?;
    match presence(&place)? {
        Presence::Complete(id) if id == volume.id => return Ok(()),
        Presence::Absent => {
            context.step("btrfs.create")?;
            btrfs::create_subvolume(place.parent().as_fd(), place.name())
                .map_err(|error| explain(error, &place, "create"))?;
        }
        // What an interrupted create left: finish it.
        Presence::Partial => {}
        Presence::Complete(_) | Presence::Foreign => return Err(not_ours(&place)),
    }
    let made = opened(&place)?;
    context.step("btrfs.mark")?;
    subvolume::write_mark(&made, volume.id)
}

/// Marks a subvolume of LXC; see `BackingStore::adopt`.
pub(crate) fn adopt(context: &Context, volume: &Volume) -> Result<()> {
    let place = subvolume::require(volume)?;
    let found = opened(&place)?;
    if !subvolume::is_subvolume(&found)? {
        return Err(Error::new(
            ErrorKind::Foreign,
            format!("`{}` is not a subvolume", place.path().display()),
        )
        .with_hint(
            "its config says `btrfs:`, but LXC wrote a plain directory; set `lxc.rootfs.path = dir:…`",
        ));
    }
    match presence(&place)? {
        Presence::Complete(id) if id == volume.id => Ok(()),
        Presence::Complete(_) => Err(not_ours(&place)),
        Presence::Absent | Presence::Partial | Presence::Foreign => {
            context.step("btrfs.adopt")?;
            subvolume::write_mark(&found, volume.id)
        }
    }
}

/// Returns the error for a refused ioctl, with what to do where we know it.
pub(crate) fn explain(error: std::io::Error, place: &Place, verb: &str) -> Error {
    const OFF_BTRFS: [Errno; 2] = [Errno::NOTTY, Errno::OPNOTSUPP];
    let message = format!("cannot {verb} the subvolume `{}`", place.path().display());
    match Errno::from_io_error(&error) {
        Some(errno) if OFF_BTRFS.contains(&errno) => {
            Error::new(ErrorKind::Unsupported, format!("{message}: its directory is not on btrfs"))
                .with_source(error)
                .with_hint("choose an lxcpath on btrfs (`-P`), or another store (`--bdev dir`)")
        }
        Some(Errno::XDEV) => {
            Error::new(ErrorKind::Unsupported, format!("{message}: it is on another file system"))
                .with_source(error)
                .with_hint("copy instead: `keiki clone --copy`")
        }
        _ => Error::io(message, error),
    }
}
