//! Where a volume is: its directory, the directory above, and the name aside.
//!
//! Everything is opened by one name below the directory above, never through a symbolic link.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::mark;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, open, openat, renameat_with, statat};
use rustix::io::Errno;

use crate::spec::is_plain;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The place of one volume, with the directory above it open.
#[derive(Debug)]
pub(crate) struct Place {
    /// The absolute path of the volume, for messages and mount plans.
    pub(crate) path: PathBuf,
    /// The directory above.
    pub(crate) parent: OwnedFd,
    /// The volume's name in it.
    pub(crate) name: OsString,
    /// The name under which the volume is made and removed.
    pub(crate) aside: OsString,
}

/// What is at a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A directory that carries this mark.
    Marked(OwnedFd, String),
    /// A directory without a mark.
    Unmarked(OwnedFd),
    /// Something else.
    NoDirectory,
}

/// Returns the path that a volume's source names.
pub(crate) fn path_of(volume: &Volume) -> Result<&Path> {
    let path = Path::new(volume.source.location());
    if is_plain(path) {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not an absolute path", volume.source)))
}

impl Place {
    /// Opens the directory above a volume; `None` when even that is not there.
    pub(crate) fn open(volume: &Volume) -> Result<Option<Self>> {
        let path = path_of(volume)?;
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` has no name", path.display())));
        };
        let parent = match open(above, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.or_err(|| format!("cannot open `{}`", above.display()))?,
        };
        let aside = format!(".keiki-{}", volume.id).into();
        Ok(Some(Self { path: path.to_owned(), parent, name: name.to_owned(), aside }))
    }

    /// Opens the directory above a volume that is to be made.
    pub(crate) fn for_new(volume: &Volume) -> Result<Self> {
        Self::open(volume)?.ok_or_else(|| {
            let text = format!("cannot make `{}`: the directory above does not exist", volume.source);
            Error::new(ErrorKind::NotFound, text)
        })
    }

    /// Looks at what is in place.
    pub(crate) fn look(&self) -> Result<Found> {
        let fd = match openat(&self.parent, &self.name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Found::NoDirectory),
            other => other.or_err(|| format!("cannot open `{}`", self.path.display()))?,
        };
        let mark = mark::read_mark(fd.as_fd())
            .or_err(|| format!("cannot read the mark of `{}`", self.path.display()))?;
        Ok(match mark {
            Some(mark) => Found::Marked(fd, mark),
            None => Found::Unmarked(fd),
        })
    }

    /// Opens the volume `id` in place.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when something else is.
    pub(crate) fn open_volume(volume: &Volume) -> Result<OwnedFd> {
        let absent = || Error::new(ErrorKind::NotFound, format!("`{}` does not exist", volume.source));
        let place = Self::open(volume)?.ok_or_else(absent)?;
        match place.look()? {
            Found::Nothing => Err(absent()),
            Found::Marked(fd, mark) if is(&mark, volume.id) => Ok(fd),
            other => Err(place.foreign(volume, &other)),
        }
    }

    /// Opens the directory in place, whoever made it.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when it is no directory.
    pub(crate) fn open_any(volume: &Volume) -> Result<OwnedFd> {
        let absent = || Error::new(ErrorKind::NotFound, format!("`{}` does not exist", volume.source));
        let place = Self::open(volume)?.ok_or_else(absent)?;
        match place.look()? {
            Found::Nothing => Err(absent()),
            Found::Marked(fd, _) | Found::Unmarked(fd) => Ok(fd),
            other @ Found::NoDirectory => Err(place.foreign(volume, &other)),
        }
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

    /// Renames what is aside into place, unless something appeared there.
    pub(crate) fn publish(&self) -> Result<()> {
        renameat_with(&self.parent, &self.aside, &self.parent, &self.name, RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot put `{}` in place", self.path.display()))
    }

    /// Returns the refusal of what is in place of `volume`.
    pub(crate) fn foreign(&self, volume: &Volume, found: &Found) -> Error {
        let what = match found {
            Found::Marked(_, mark) => format!("belongs to volume {mark}, not to {}", volume.id),
            Found::Unmarked(_) => "was not made by keiki".to_owned(),
            Found::Nothing | Found::NoDirectory => "is not a directory".to_owned(),
        };
        Error::new(ErrorKind::Foreign, format!("`{}` {what}", self.path.display()))
            .with_hint("move it away, or choose another name; keiki does not touch what it did not make")
    }
}

/// Returns whether a mark is that of `id`.
pub(crate) fn is(mark: &str, id: VolumeId) -> bool {
    mark.parse().is_ok_and(|marked: VolumeId| marked == id)
}
