//! Subvolumes inside a volume's subvolume: a container makes them itself (systemd for `/var/lib/machines`, docker for every layer).
//!
//! A btrfs snapshot holds an empty directory in the place of each. LXC leaves it at that, and what was in them is missing from the
//! clone without a word. Here they are snapshotted one by one after their parent, each into its place, as incus does. Each
//! is of one moment, but not all of the same one.
//!
//! Everything is found by the kernel's answer about references, not by a walk over files, and opened without following anything
//! that a container may have put in the way.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs::{self, Nested, Writes};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, unlinkat};
use rustix::io::Errno;

/// The deepest nesting that is followed; beyond it somebody is playing with us.
const DEPTH_MAX: usize = 64;

/// A nested subvolume, opened.
#[derive(Debug)]
pub(crate) struct Child {
    /// Where it hangs.
    pub(crate) directory: OwnedFd,
    /// Its root directory.
    pub(crate) root: OwnedFd,
    /// Its name and place.
    pub(crate) at: Nested,
}

/// Returns the subvolumes directly below `root`.
fn children(root: &OwnedFd, path: &Path, depth: usize) -> Result<Vec<Nested>> {
    let shown = || format!("cannot look for subvolumes inside `{}`", path.display());
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, shown())
            .with_context("nesting", format!("deeper than {DEPTH_MAX}"))
            .with_hint(format!("look at `btrfs subvolume list -o {}`", path.display())));
    }
    btrfs::nested_subvolumes(root.as_fd()).or_err(shown)
}

/// Opens a nested subvolume; `None` when it is gone.
fn open_child(root: &OwnedFd, at: Nested) -> rustix::io::Result<Option<Child>> {
    let Some(directory) = open_beneath(root, &at.directory)? else { return Ok(None) };
    let Some(inner) = open_beneath(&directory, &at.name)? else { return Ok(None) };
    Ok(Some(Child { directory, root: inner, at }))
}

/// Opens a directory that the kernel named; `None` when it is gone.
fn open_beneath(root: &OwnedFd, path: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = if path.is_empty() { c"." } else { path };
    match openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Calls `each` for every subvolume inside `root` and the subvolume that it hangs in, the deepest first.
pub(crate) fn visit(
    root: &OwnedFd,
    path: &Path,
    each: &mut dyn FnMut(&OwnedFd, &Child) -> Result<()>,
) -> Result<()> {
    visit_at(root, path, 0, each)
}

// The recursion is bounded by `DEPTH_MAX`.
fn visit_at(
    root: &OwnedFd,
    path: &Path,
    depth: usize,
    each: &mut dyn FnMut(&OwnedFd, &Child) -> Result<()>,
) -> Result<()> {
    let shown = || format!("cannot open a subvolume inside `{}`", path.display());
    for at in children(root, path, depth)? {
        let Some(child) = open_child(root, at).or_err(shown)? else { continue };
        visit_at(&child.root, path, depth + 1, each)?;
        each(root, &child)?;
    }
    Ok(())
}

/// Snapshots every subvolume inside `source` into its place inside `target`, a fresh snapshot of `source`.
///
/// One that came or went since then, or whose place is something else, was not there at that moment and is passed over.
pub(crate) fn copy(context: &Context, source: &OwnedFd, target: &OwnedFd, path: &Path) -> Result<()> {
    copy_at(context, source, target, path, 0)
}

// The recursion is bounded by `DEPTH_MAX`.
fn copy_at(context: &Context, source: &OwnedFd, target: &OwnedFd, path: &Path, depth: usize) -> Result<()> {
    let shown = || format!("cannot snapshot a subvolume into `{}`", path.display());
    for at in children(source, path, depth)? {
        let Some(child) = open_child(source, at).or_err(shown)? else { continue };
        let Some(into) = open_beneath(target, &child.at.directory).or_err(shown)? else { continue };
        match unlinkat(&into, &child.at.name, AtFlags::REMOVEDIR) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => continue,
            Err(errno) => return Err(errno).or_err(shown),
        }
        context.step("btrfs.nested")?;
        btrfs::snapshot_subvolume(child.root.as_fd(), into.as_fd(), &child.at.name).or_err(shown)?;
        let made = open_beneath(&into, &child.at.name).or_err(shown)?;
        let made = made.ok_or_else(|| Error::new(ErrorKind::NotFound, shown()))?;
        copy_at(context, &child.root, &made, path, depth + 1)?;
    }
    Ok(())
}

/// Closes everything inside `root` for writing, itself last.
pub(crate) fn close(root: &OwnedFd, path: &Path) -> Result<()> {
    let shown = || format!("cannot close `{}` for writing", path.display());
    visit(root, path, &mut |_, child| btrfs::set_writes(child.root.as_fd(), Writes::Refused).or_err(shown))?;
    btrfs::set_writes(root.as_fd(), Writes::Refused).or_err(shown)
}
