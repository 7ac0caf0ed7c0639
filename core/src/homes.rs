//! What every store whose volumes live in homes does by descriptor, in one place.
//!
//! - [`Place`]: one object of a volume, a directory or a file, made aside, marked, renamed into place and removed the other way round.
//! - [`list()`]: the walk over the homes below an lxcpath.
//! - [`Reflinks`], [`open_pool`], [`obstacle`]: what the file system of a pool can do.
//! - [`sync_file_systems`], [`nearest`]: making volumes durable.
//!
//! Every name is opened below its directory and never followed when it is a symbolic link. What an object is to its store, and what
//! its content means, is the store's own business.

mod durable;
mod effects;
mod place;
mod pool;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use keiki_tree::mark;
use rustix::fs::{Dir, FileType, Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::{Result, ResultExt};
use crate::store::Found;
use crate::volume::VolumeId;

pub use durable::{nearest, sync_file_systems};
pub use effects::{DestroySteps, MakeSteps};
pub use place::{Attempt, DIRECTORY, Entry, Place, Seen, Shape, absent, foreign, no_home, path_of};
pub use pool::{Reflinks, obstacle, open_pool};

/// Returns what `look_into` finds in the homes of containers and snapshots below the lxcpath `pool`.
///
/// `look_into` gets each home, open, with its path.
///
/// # Errors
/// When a directory cannot be read, and what `look_into` returns.
pub fn list<I: IntoIterator<Item = Found>>(
    pool: &Path,
    mut look_into: impl FnMut(&OwnedFd, &Path) -> Result<I>,
) -> Result<Vec<Found>> {
    let shown = || format!("cannot read `{}`", pool.display());
    let root = open(pool, DIRECTORY - OFlags::NOFOLLOW, Mode::empty()).or_err(shown)?;
    let mut found = Vec::new();
    for name in directories(&root).or_err(shown)? {
        let path = pool.join(as_path(&name));
        let shown = || format!("cannot read `{}`", path.display());
        let Some(home) = enter(&root, &name).or_err(shown)? else { continue };
        found.extend(look_into(&home, &path)?);
        let Some(snapshots) = enter(&home, c"snaps").or_err(shown)? else { continue };
        for snapshot in directories(&snapshots).or_err(shown)? {
            let Some(home) = enter(&snapshots, &snapshot).or_err(shown)? else { continue };
            found.extend(look_into(&home, &path.join("snaps").join(as_path(&snapshot)))?);
        }
    }
    Ok(found)
}

/// Opens a directory; `None` when the name is gone or something else.
///
/// # Errors
/// What the kernel says.
pub fn enter(parent: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match Shape::Directory.open(parent, name)? {
        Entry::Object(directory) => Ok(Some(directory)),
        Entry::Nothing | Entry::Misshapen => Ok(None),
    }
}

/// Returns the names in a directory that may be homes, sorted: directories whose names begin with no point.
///
/// # Errors
/// What the kernel says.
pub fn directories(parent: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(parent)? {
        let entry = entry?;
        let may_be_home = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if may_be_home && !entry.file_name().to_bytes().starts_with(b".") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the volume whose mark the object called `name` carries.
///
/// # Errors
/// What the kernel says.
pub fn marked(directory: &OwnedFd, name: &CStr, shape: Shape) -> Result<Option<VolumeId>, Errno> {
    let Entry::Object(object) = shape.open(directory, name)? else { return Ok(None) };
    let mark = mark::read_mark(object.as_fd()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(mark.and_then(|mark| mark.parse().ok()))
}

/// Returns whether a path is absolute, names something, and means what it says.
#[must_use]
pub fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.file_name().is_some()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// Returns a name of the kernel's as a path.
#[must_use]
pub fn as_path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}
