//! [`Spot`]: one directory of a volume (its upper layer or its base), in place or aside.
//!
//! A directory is made aside under a name that holds the volume's id, marked, and renamed into place; it is removed the
//! other way round. What is in place is therefore complete or foreign, and what is aside is ours. Everything is opened
//! by one name below the directory above, never through a symbolic link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_core::context::{Context, Progress};
use keiki_core::volume::VolumeId;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::mount::holders::holders_of;
use keiki_tree::{RemoveOptions, mark, remove_tree};
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, mkdirat, open, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

/// How directories are opened.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory of the volume `id`, with the directory above it open.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) path: PathBuf,
    pub(crate) parent: OwnedFd,
    pub(crate) name: OsString,
    id: VolumeId,
    aside: OsString,
}

/// What is in place.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nothing.
    Nothing,
    /// The directory, with the volume's mark.
    Ours(OwnedFd),
    /// A directory with another mark, or none.
    Other(OwnedFd, Option<String>),
    /// Something else.
    NoDirectory,
}

/// Whether something aside was left by an earlier attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// No.
    First,
    /// Yes, and it is gone now.
    Repeated,
}

impl Spot {
    /// Opens the directory above the upper layer `path`; `None` when even that is not there.
    pub(crate) fn upper(path: &Path, id: VolumeId) -> Result<Option<Self>> {
        Self::open(path, id, format!(".keiki-{id}"))
    }

    /// Opens the directory above the base `path`; `None` when even that is not there.
    pub(crate) fn base(path: &Path, id: VolumeId) -> Result<Option<Self>> {
        Self::open(path, id, format!(".keiki-base-{id}"))
    }

    fn open(path: &Path, id: VolumeId, aside: String) -> Result<Option<Self>> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` has no name", path.display())));
        };
        let parent = match open(above, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.or_err(|| format!("cannot open `{}`", above.display()))?,
        };
        Ok(Some(Self { path: path.to_owned(), parent, name: name.to_owned(), id, aside: aside.into() }))
    }

    /// Looks at what is in place.
    pub(crate) fn look(&self) -> Result<Seen> {
        let fd = match openat(&self.parent, &self.name, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Seen::Nothing),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Seen::NoDirectory),
            Err(errno) => return Err(errno).or_err(|| format!("cannot open `{}`", self.path.display())),
        };
        let mark = mark::read_mark(fd.as_fd())
            .or_err(|| format!("cannot read the mark of `{}`", self.path.display()))?;
        let is_ours = mark.as_deref().and_then(|mark| mark.parse().ok()) == Some(self.id);
        Ok(if is_ours { Seen::Ours(fd) } else { Seen::Other(fd, mark) })
    }

    /// Returns whether something is aside.
    pub(crate) fn is_aside(&self) -> Result<bool> {
        match statat(&self.parent, &self.aside, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                Err(errno).or_err(|| format!("cannot look for remains of `{}`", self.path.display()))
            }
        }
    }

    /// Makes an empty directory aside, in place of what an earlier attempt left there.
    pub(crate) fn fresh_aside(&self) -> Result<(OwnedFd, Attempt)> {
        let shown = || format!("cannot make a directory for `{}`", self.path.display());
        let make = || mkdirat(&self.parent, &self.aside, Mode::from_raw_mode(0o755));
        let attempt = match make() {
            Ok(()) => Attempt::First,
            Err(Errno::EXIST) => {
                remove_tree(self.parent.as_fd(), &self.aside, &RemoveOptions::default()).or_err(shown)?;
                make().or_err(shown)?;
                Attempt::Repeated
            }
            Err(errno) => return Err(errno).or_err(shown),
        };
        Ok((openat(&self.parent, &self.aside, DIRECTORY, Mode::empty()).or_err(shown)?, attempt))
    }

    /// Writes the volume's mark on an open directory.
    pub(crate) fn mark(&self, directory: &OwnedFd) -> Result<()> {
        mark::write_mark(directory.as_fd(), &self.id.to_string()).or_err(|| {
            format!("cannot mark `{}`: its file system must keep extended attributes", self.path.display())
        })
    }

    /// Renames what is aside into place, unless something appeared there.
    pub(crate) fn publish(&self) -> Result<()> {
        renameat_with(&self.parent, &self.aside, &self.parent, &self.name, RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot put `{}` in place", self.path.display()))
    }

    /// Renames what is in place aside, so that the name is free and the data out of reach.
    pub(crate) fn put_aside(&self) -> Result<()> {
        renameat_with(&self.parent, &self.name, &self.parent, &self.aside, RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot take `{}` out of its place", self.path.display()))
    }

    /// Removes what is aside, whatever it holds; success when there is nothing.
    pub(crate) fn remove_aside(&self, context: &Context) -> Result<()> {
        self.remove(context, &self.aside)
    }

    /// Removes `name` beside the directory; success when there is nothing.
    pub(crate) fn remove(&self, context: &Context, name: &OsStr) -> Result<()> {
        // Most often it is empty, and then no worker is needed.
        if let Ok(()) | Err(Errno::NOENT) = unlinkat(&self.parent, name, AtFlags::REMOVEDIR) {
            return Ok(());
        }
        let progress =
            |done: keiki_tree::Progress| context.progress(Progress { entries: done.entries, bytes: 0 });
        let options = RemoveOptions { progress: Some(&progress), ..RemoveOptions::default() };
        let removed = remove_tree(self.parent.as_fd(), name, &options);
        removed.map(drop).or_err(|| format!("cannot remove what was `{}`", self.path.display())).map_err(
            |error| {
                let holders =
                    if error.kind() == ErrorKind::Busy { holders_of(&self.path) } else { Vec::new() };
                holders.iter().fold(error, |error, holder| error.with_context("holder", holder.to_string()))
            },
        )
    }

    /// Returns the refusal of what is in place.
    pub(crate) fn foreign(&self, seen: &Seen) -> Error {
        let what = match seen {
            Seen::Other(_, Some(mark)) => format!("belongs to volume {mark}, not to {}", self.id),
            Seen::Other(_, None) => "was not made by keiki".to_owned(),
            Seen::NoDirectory | Seen::Nothing | Seen::Ours(_) => "is not a directory".to_owned(),
        };
        foreign(&self.path, &what)
    }
}

/// Returns the refusal of something in our way.
pub(crate) fn foreign(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Foreign, format!("`{}` {what}", path.display()))
        .with_hint("move it away, or choose another name; keiki does not touch what it did not make")
}
