//! Destroys a subvolume and whatever subvolumes a container made inside, deepest first.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use keiki_core::context::Context;
use keiki_core::store::{Destroyed, Presence};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs::{self, Writes};
use keiki_sys::mount::table;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::create::{explain, foreign, opened};
use crate::subvolume::{self, Place};

/// The deepest nesting that is followed; beyond it somebody is playing with us.
const DEPTH_MAX: usize = 64;

/// Removes `volume`; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let Some(place) = subvolume::find(volume)? else {
        return Ok(Destroyed::Absent);
    };
    match place.presence()? {
        Presence::Absent => return Ok(Destroyed::Absent),
        Presence::Complete(id) if id != volume.id => return Err(foreign(&place)),
        Presence::Foreign => return Err(foreign(&place)),
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
    let inside = table::parse(&text).into_iter().find(|entry| entry.point.starts_with(&place.path));
    let Some(entry) = inside else { return Ok(()) };
    let point = entry.point.display();
    Err(Error::new(
        ErrorKind::Busy,
        format!("cannot destroy `{}`: `{point}` is mounted", place.path.display()),
    )
    .with_hint(format!("`umount {point}`, then repeat the command")))
}

/// Removes the subvolume at `place` with everything nested in it.
pub(crate) fn remove(place: &Place) -> Result<()> {
    let root = opened(place)?;
    drop_nested(&root, place, 0)?;
    drop(root);
    btrfs::destroy_subvolume(place.parent.as_fd(), &place.name)
        .map_err(|error| explain(error, place, "destroy"))
}

/// Destroys every subvolume below the subvolume `root`. The recursion is bounded by `DEPTH_MAX`.
fn drop_nested(root: &OwnedFd, place: &Place, depth: usize) -> Result<()> {
    let shown = || format!("cannot destroy the subvolumes inside `{}`", place.path.display());
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, shown())
            .with_context("nesting", format!("deeper than {DEPTH_MAX}"))
            .with_hint(format!("look at `btrfs subvolume list -o {}`", place.path.display())));
    }
    let nested = btrfs::nested_subvolumes(root.as_fd()).or_err(shown)?;
    if !nested.is_empty() {
        // A nested one can only be unlinked from a parent that takes writes: a snapshot does not.
        btrfs::set_writes(root.as_fd(), Writes::Allowed).or_err(shown)?;
    }
    for child in nested {
        let directory = open_beneath(root, &child.directory).or_err(shown)?;
        let inner = open_beneath(&directory, &child.name).or_err(shown)?;
        drop_nested(&inner, place, depth + 1)?;
        drop(inner);
        btrfs::destroy_subvolume(directory.as_fd(), &child.name).or_err(shown)?;
    }
    Ok(())
}

/// Opens a directory that the kernel named, without following anything that a container may have put in the way.
fn open_beneath(root: &OwnedFd, path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = if path.is_empty() { c"." } else { path };
    openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}
