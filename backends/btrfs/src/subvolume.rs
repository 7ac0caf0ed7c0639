//! One volume's subvolume, found and opened; its mark read and written.
//!
//! The parent directory is opened by path (it lies above everything that a container can write), the subvolume itself by
//! name below it, never through a symbolic link.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_core::store::Presence;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs;
use keiki_tree::mark;
use rustix::fs::{Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a volume's subvolume hangs.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory that holds it, open.
    pub(crate) parent: OwnedFd,
    /// Its name there.
    pub(crate) name: CString,
    /// Its path, for messages.
    pub(crate) path: PathBuf,
}

/// Opens the place of a volume; `None` when the directory that would hold it is missing.
pub(crate) fn find(volume: &Volume) -> Result<Option<Place>> {
    let path = PathBuf::from(volume.source.location());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{}` is not a subvolume's path", path.display()),
        ));
    };
    match open(parent, DIRECTORY, Mode::empty()) {
        Ok(parent) => Ok(Some(Place { parent, name: c_name(name)?, path })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).or_err(|| format!("cannot open `{}`", parent.display())),
    }
}

/// Opens the place of a volume whose directory must be there.
pub(crate) fn require(volume: &Volume) -> Result<Place> {
    find(volume)?.ok_or_else(|| missing(Path::new(volume.source.location())))
}

/// Returns the error for a subvolume that is not there.
pub(crate) fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no subvolume `{}`", path.display()))
}

fn c_name(name: &OsStr) -> Result<CString> {
    CString::new(name.as_bytes())
        .map_err(|e| Error::new(ErrorKind::InvalidArgument, "a name holds a zero byte").with_source(e))
}

impl Place {
    /// Returns the path of the directory that holds it.
    pub(crate) fn parent_path(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Opens the subvolume; `None` when nothing is there.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>> {
        match openat(&self.parent, &self.name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).or_err(|| format!("cannot open `{}`", self.path.display())),
        }
    }

    /// Tells what is there.
    pub(crate) fn presence(&self) -> Result<Presence> {
        let fd = match openat(&self.parent, &self.name, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Presence::Absent),
            // A file or a symbolic link: nothing that we make.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Presence::Foreign),
            Err(errno) => return Err(errno).or_err(|| format!("cannot look at `{}`", self.path.display())),
        };
        presence_of(&fd)
            .map_err(|error| error.while_doing(format!("cannot look at `{}`", self.path.display())))
    }
}

/// Tells what an open directory is.
pub(crate) fn presence_of(fd: &OwnedFd) -> Result<Presence> {
    if !is_subvolume(fd)? {
        return Ok(Presence::Foreign);
    }
    let Some(text) = mark::read_mark(fd.as_fd()).or_err(|| "cannot read the ownership mark".to_owned())?
    else {
        // A subvolume at our place without a mark: made by us and never finished, or somebody else's. An empty one is
        // what an interrupted create leaves; with content it is foreign.
        return Ok(if is_empty(fd)? { Presence::Partial } else { Presence::Foreign });
    };
    let uuid = own_uuid(fd)?;
    Ok(match text.split_once('@') {
        Some((id, of)) if of == uuid => id.parse().map_or(Presence::Foreign, Presence::Complete),
        // The mark of the source: a snapshot that was taken and not marked any more.
        Some(_) => Presence::Partial,
        None => Presence::Foreign,
    })
}

/// Writes the mark of `id` on an open subvolume.
pub(crate) fn write_mark(fd: &OwnedFd, id: VolumeId) -> Result<()> {
    let text = format!("{id}@{}", own_uuid(fd)?);
    mark::write_mark(fd.as_fd(), &text).or_err(|| "cannot write the ownership mark".to_owned())
}

fn own_uuid(fd: &OwnedFd) -> Result<String> {
    let info =
        btrfs::subvolume_info(fd.as_fd()).or_err(|| "cannot read the subvolume's identity".to_owned())?;
    Ok(info.uuid.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns whether an open directory is the root of a subvolume.
pub(crate) fn is_subvolume(fd: &OwnedFd) -> Result<bool> {
    let inode = fstat(fd).or_err(|| "cannot look at the directory".to_owned())?.st_ino;
    Ok(inode == btrfs::SUBVOLUME_INODE
        && btrfs::is_btrfs(fd.as_fd()).or_err(|| "cannot tell the file system".to_owned())?)
}

fn is_empty(fd: &OwnedFd) -> Result<bool> {
    let entries = rustix::fs::Dir::read_from(fd).or_err(|| "cannot read the subvolume".to_owned())?;
    for entry in entries {
        let entry = entry.or_err(|| "cannot read the subvolume".to_owned())?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
