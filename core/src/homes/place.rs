//! [`Place`]: where one object of a volume is, found and looked at.
//!
//! The directory above is opened by path: it lies above everything that a container can write. The object itself is opened by name below
//! it, never through a symbolic link, and only when it has the shape that its store makes.

use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_tree::mark;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;

use super::is_plain;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::store::Presence;
use crate::volume::{Volume, VolumeId};

/// How a directory is opened by its name in another.
pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How files are opened: a pipe in a file's place must not make us wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What an object is to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// What is called by a name.
#[derive(Debug)]
pub enum Entry {
    /// Nothing.
    Nothing,
    /// Something of the right shape.
    Object(OwnedFd),
    /// Something of another shape.
    Misshapen,
}

/// What is in place.
#[derive(Debug)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// An object with the volume's mark.
    Ours(OwnedFd),
    /// An object with another mark, or none.
    Other(OwnedFd, Option<String>),
    /// Something of another shape.
    Misshapen,
}

/// Whether something aside was left by an earlier attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// No.
    First,
    /// Yes, and it is gone now.
    Repeated,
}

/// The place of one object of a volume, with the directory above it open.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    parent: OwnedFd,
    name: CString,
    pub(super) aside: OsString,
    pub(super) id: VolumeId,
    pub(super) shape: Shape,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
        })
    }
}

impl Shape {
    /// Opens what is called `name` if it has this shape.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(self, parent: &OwnedFd, name: &CStr) -> Result<Entry, Errno> {
        match self {
            Self::Directory => open_as(parent, name, DIRECTORY),
            // Looked at first: opening a device or a pipe may do things.
            Self::File => match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if is_file(found.st_mode) => match open_as(parent, name, FILE)? {
                    Entry::Object(file) if !is_file(fstat(&file)?.st_mode) => Ok(Entry::Misshapen),
                    entry => Ok(entry),
                },
                Ok(_) => Ok(Entry::Misshapen),
                Err(Errno::NOENT) => Ok(Entry::Nothing),
                Err(errno) => Err(errno),
            },
        }
    }
}

fn open_as(parent: &OwnedFd, name: &CStr, flags: OFlags) -> Result<Entry, Errno> {
    match openat(parent, name, flags, Mode::empty()) {
        Ok(object) => Ok(Entry::Object(object)),
        Err(Errno::NOENT) => Ok(Entry::Nothing),
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(Entry::Misshapen),
        Err(errno) => Err(errno),
    }
}

fn is_file(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::RegularFile
}

impl Place {
    /// Opens the directory above `path`, where the volume `id` has an object; `None` when even that is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, id: VolumeId, shape: Shape) -> Result<Option<Self>> {
        let nameless = || Error::new(ErrorKind::InvalidArgument, format!("`{}` has no name", path.display()));
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(nameless()) };
        let parent = match open(above, DIRECTORY - OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.or_err(|| format!("cannot open `{}`", above.display()))?,
        };
        let name = CString::new(name.as_bytes()).map_err(|e| nameless().with_source(e))?;
        let aside = format!(".keiki-{id}").into();
        Ok(Some(Self { path: path.to_owned(), parent, name, aside, id, shape }))
    }

    /// Opens the directory above a volume that has one object; `None` when even that is not there.
    ///
    /// # Errors
    /// `InvalidArgument` for a source that is no path; when the directory cannot be opened.
    pub fn of(volume: &Volume, shape: Shape) -> Result<Option<Self>> {
        Self::open(path_of(volume)?, volume.id, shape)
    }

    /// Opens the directory above a volume that is to be made.
    ///
    /// # Errors
    /// As [`Self::of`]; `NotFound` when it is not there.
    pub fn of_new(volume: &Volume, shape: Shape) -> Result<Self> {
        Self::of(volume, shape)?.ok_or_else(|| no_home(Path::new(volume.source.location())))
    }

    /// Opens the directory above a volume that should be there.
    ///
    /// # Errors
    /// As [`Self::of`]; `NotFound` when it is not there.
    pub fn of_existing(volume: &Volume, shape: Shape) -> Result<Self> {
        Self::of(volume, shape)?.ok_or_else(|| absent(Path::new(volume.source.location())))
    }

    /// Gives it another name aside, for the second object of a volume.
    #[must_use]
    pub fn called_aside(mut self, name: String) -> Self {
        self.aside = name.into();
        self
    }

    /// Returns the path of the object, for messages and mount plans.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory above.
    #[must_use]
    pub fn parent(&self) -> &OwnedFd {
        &self.parent
    }

    /// Returns the object's name in the directory above.
    #[must_use]
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Returns the path of the name aside, for tools.
    #[must_use]
    pub fn aside_path(&self) -> PathBuf {
        self.path.with_file_name(&self.aside)
    }

    /// Opens what is in place, without looking at its mark.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn entry(&self) -> Result<Entry> {
        self.shape.open(&self.parent, &self.name).or_err(|| format!("cannot open `{}`", self.path.display()))
    }

    /// Looks at what is in place.
    ///
    /// # Errors
    /// When it cannot be opened, or its mark not be read.
    pub fn look(&self) -> Result<Seen> {
        let object = match self.entry()? {
            Entry::Nothing => return Ok(Seen::Nothing),
            Entry::Misshapen => return Ok(Seen::Misshapen),
            Entry::Object(object) => object,
        };
        let mark = mark::read_mark(object.as_fd())
            .or_err(|| format!("cannot read the mark of `{}`", self.path.display()))?;
        let is_ours = mark.as_deref().is_some_and(|mark| is(mark, self.id));
        Ok(if is_ours { Seen::Ours(object) } else { Seen::Other(object, mark) })
    }

    /// Returns whether something is aside.
    ///
    /// # Errors
    /// When it could not be found out.
    pub fn is_aside(&self) -> Result<bool> {
        match statat(&self.parent, &self.aside, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                Err(errno).or_err(|| format!("cannot look for remains of `{}`", self.path.display()))
            }
        }
    }

    /// Tells what is there of a volume that has one object; see `BackingStore::probe`.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn presence(&self) -> Result<Presence> {
        Ok(match self.look()? {
            Seen::Ours(_) => Presence::Complete(self.id),
            Seen::Other(_, Some(mark)) => mark.parse().map_or(Presence::Foreign, Presence::Complete),
            Seen::Other(_, None) | Seen::Misshapen => Presence::Foreign,
            Seen::Nothing if self.is_aside()? => Presence::Partial,
            Seen::Nothing => Presence::Absent,
        })
    }

    /// Opens the volume's object.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when something else is.
    pub fn open_ours(&self) -> Result<OwnedFd> {
        match self.look()? {
            Seen::Ours(object) => Ok(object),
            Seen::Nothing => Err(absent(&self.path)),
            other => Err(self.foreign(&other)),
        }
    }

    /// Opens the object in place, whoever made it.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when it has another shape.
    pub fn open_any(&self) -> Result<OwnedFd> {
        match self.entry()? {
            Entry::Object(object) => Ok(object),
            Entry::Nothing => Err(absent(&self.path)),
            Entry::Misshapen => Err(self.foreign(&Seen::Misshapen)),
        }
    }

    /// Returns whether the volume's object is in place.
    ///
    /// # Errors
    /// `Foreign` when something else is.
    pub fn is_complete(&self) -> Result<bool> {
        match self.look()? {
            Seen::Ours(_) => Ok(true),
            Seen::Nothing => Ok(false),
            other => Err(self.foreign(&other)),
        }
    }

    /// Returns the object in place if it is to be marked: it carries no mark, or that of the volume which it is a copy of. `None` when it
    /// is the volume's already.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when something else is.
    pub fn adoptable(&self, copied: Option<VolumeId>) -> Result<Option<OwnedFd>> {
        let may_replace = |mark: Option<&str>| mark.is_none_or(|mark| copied.is_some_and(|id| is(mark, id)));
        match self.look()? {
            Seen::Ours(_) => Ok(None),
            Seen::Other(object, mark) if may_replace(mark.as_deref()) => Ok(Some(object)),
            Seen::Nothing => Err(absent(&self.path)),
            other => Err(self.foreign(&other)),
        }
    }

    /// Returns whether what was seen here is the object of `id`.
    pub(super) fn holds(&self, seen: &Seen, id: VolumeId) -> bool {
        match seen {
            Seen::Ours(_) => self.id == id,
            Seen::Other(_, Some(mark)) => is(mark, id),
            Seen::Other(_, None) | Seen::Nothing | Seen::Misshapen => false,
        }
    }

    /// Returns the refusal of what is in place.
    #[must_use]
    pub fn foreign(&self, seen: &Seen) -> Error {
        let what = match seen {
            Seen::Other(_, Some(mark)) => format!("belongs to volume {mark}, not to {}", self.id),
            Seen::Other(_, None) => "was not made by keiki".to_owned(),
            Seen::Misshapen | Seen::Nothing | Seen::Ours(_) => format!("is not a {}", self.shape),
        };
        foreign(&self.path, &what)
    }
}

/// Returns the path that a volume's source names.
///
/// # Errors
/// `InvalidArgument` when it is not one plain absolute path.
pub fn path_of(volume: &Volume) -> Result<&Path> {
    let path = Path::new(volume.source.location());
    if is_plain(path) {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not an absolute path", volume.source)))
}

/// Returns the error for an object that is not there.
#[must_use]
pub fn absent(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("`{}` does not exist", path.display()))
}

/// Returns the error for an object that cannot be made for want of a directory above.
#[must_use]
pub fn no_home(path: &Path) -> Error {
    let text = format!("cannot make `{}`: the directory above does not exist", path.display());
    Error::new(ErrorKind::NotFound, text)
}

/// Returns the refusal of something in our way.
#[must_use]
pub fn foreign(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Foreign, format!("`{}` {what}", path.display()))
        .with_hint("move it away, or choose another name; keiki does not touch what it did not make")
}

/// Returns whether a mark is that of `id`.
fn is(mark: &str, id: VolumeId) -> bool {
    mark.parse().is_ok_and(|marked: VolumeId| marked == id)
}
