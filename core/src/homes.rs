//! Walking the homes below an lxcpath by descriptor, for stores whose volumes live in them.
//!
//! Every name is opened below its directory and never followed when it is a symbolic link. What is marked belongs to a volume; what a
//! store makes of that is its own business.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use keiki_tree::mark;
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::volume::VolumeId;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory; `None` when the name is gone or something else.
///
/// # Errors
/// What the kernel says.
pub fn enter(parent: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match openat(parent, name, FLAGS, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
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

/// Returns the volume whose mark a directory carries.
///
/// # Errors
/// What the kernel says.
pub fn marked(directory: &OwnedFd, name: &CStr) -> Result<Option<VolumeId>, Errno> {
    let Some(root) = enter(directory, name)? else { return Ok(None) };
    let mark = mark::read_mark(root.as_fd()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(mark.and_then(|mark| mark.parse().ok()))
}
