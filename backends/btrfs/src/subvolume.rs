//! One volume's subvolume, found and opened; its mark read and written.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::homes::{Entry, Place, Seen, Shape, foreign};
use keiki_core::store::Presence;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs;
use keiki_tree::mark;
use rustix::fs::fstat;

/// Opens the place of a volume; `None` when the directory that would hold it is missing.
pub(crate) fn find(volume: &Volume) -> Result<Option<Place>> {
    Place::of(volume, Shape::Directory)
}

/// Opens the place of a volume whose directory must be there.
pub(crate) fn require(volume: &Volume) -> Result<Place> {
    find(volume)?.ok_or_else(|| missing(Path::new(volume.source.location())))
}

/// Returns the error for a subvolume that is not there.
pub(crate) fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no subvolume `{}`", path.display()))
}

/// Returns the refusal of what is not the volume's.
pub(crate) fn not_ours(place: &Place) -> Error {
    foreign(place.path(), "exists and does not belong to this volume")
}

/// Opens the subvolume, which must be there.
pub(crate) fn opened(place: &Place) -> Result<OwnedFd> {
    match place.entry()? {
        Entry::Object(root) => Ok(root),
        Entry::Nothing => Err(missing(place.path())),
        // A file or a symbolic link: nothing that we make.
        Entry::Misshapen => Err(place.foreign(&Seen::Misshapen)),
    }
}

/// Tells what is in place.
pub(crate) fn presence(place: &Place) -> Result<Presence> {
    match place.entry()? {
        Entry::Nothing => Ok(Presence::Absent),
        Entry::Misshapen => Ok(Presence::Foreign),
        Entry::Object(root) => presence_of(&root)
            .map_err(|error| error.while_doing(format!("cannot look at `{}`", place.path().display()))),
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

/// Marks an open subvolume as a part of `id`: no subvolume has this for its uuid.
pub(crate) fn write_part_mark(fd: &OwnedFd, id: VolumeId) -> Result<()> {
    mark::write_mark(fd.as_fd(), &format!("{id}@receiving"))
        .or_err(|| "cannot write the ownership mark".to_owned())
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
