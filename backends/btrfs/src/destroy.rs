//! Destroys a subvolume and whatever subvolumes a container made inside, deepest first.
//!
//! A user without privilege may destroy subvolumes only where the file system is mounted with `user_subvol_rm_allowed`. Elsewhere
//! the kernel still lets him empty and remove one like a directory, which takes longer and comes to the same.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use keiki_core::context::Context;
use keiki_core::homes::Place;
use keiki_core::store::{Destroyed, Presence};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs::{self, Writes};
use keiki_sys::mount::table;
use keiki_tree::{RemoveOptions, remove_tree};
use rustix::fs::{AtFlags, Dir, unlinkat};
use rustix::io::Errno;

use crate::create::explain;
use crate::nested;
use crate::subvolume::{self, not_ours, opened, presence};

/// Removes `volume`; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let Some(place) = subvolume::find(volume)? else {
        return Ok(Destroyed::Absent);
    };
    match presence(&place)? {
        Presence::Absent => return Ok(Destroyed::Absent),
        Presence::Complete(id) if id != volume.id => return Err(not_ours(&place)),
        Presence::Foreign => return Err(not_ours(&place)),
        Presence::Complete(_) | Presence::Partial => {}
    }
    refuse_mounts(&place)?;
    context.step("btrfs.destroy")?;
    remove(&place)?;
    Ok(Destroyed::Removed)
}

/// Refuses while something is mounted inside: the kernel would take the mount away with the subvolume.
fn refuse_mounts(place: &Place) -> Result<()> {
    let text = std::fs::read("/proc/self/mountinfo").or_err(|| "cannot read the mount table".to_owned())?;
    let inside = table::parse(&text).into_iter().find(|entry| entry.point.starts_with(place.path()));
    let Some(entry) = inside else { return Ok(()) };
    let point = entry.point.display();
    Err(Error::new(
        ErrorKind::Busy,
        format!("cannot destroy `{}`: `{point}` is mounted", place.path().display()),
    )
    .with_hint(format!("`umount {point}`, then repeat the command")))
}

/// Removes the subvolume at `place` with everything nested in it.
pub(crate) fn remove(place: &Place) -> Result<()> {
    let root = opened(place)?;
    let shown = || format!("cannot destroy the subvolumes inside `{}`", place.path().display());
    nested::visit(&root, place.path(), &mut |parent, child| {
        // It can only be unlinked from a parent that takes writes: a snapshot does not.
        btrfs::set_writes(parent.as_fd(), Writes::Allowed).or_err(shown)?;
        drop_one(child.directory.as_fd(), &child.at.name, &child.root).or_err(shown)
    })?;
    drop_one(place.parent().as_fd(), place.name(), &root).map_err(|error| explain(error, place, "destroy"))
}

/// Destroys one subvolume that has none inside, as far as we are let.
fn drop_one(parent: BorrowedFd<'_>, name: &CStr, root: &OwnedFd) -> io::Result<()> {
    let Err(refused) = btrfs::destroy_subvolume(parent, name) else { return Ok(()) };
    if !matches!(Errno::from_io_error(&refused), Some(Errno::PERM | Errno::ACCESS | Errno::ROFS)) {
        return Err(refused);
    }
    // The owner of a snapshot may open it for writing, which is asked of him before he may destroy it.
    btrfs::set_writes(root.as_fd(), Writes::Allowed)?;
    match btrfs::destroy_subvolume(parent, name) {
        Err(again) if Errno::from_io_error(&again) == Some(Errno::PERM) => {
            empty_and_remove(parent, name, root)
        }
        other => other,
    }
}

fn empty_and_remove(parent: BorrowedFd<'_>, name: &CStr, root: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(root)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            let inside = OsStr::from_bytes(entry.file_name().to_bytes());
            remove_tree(root.as_fd(), inside, &RemoveOptions::default())?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
