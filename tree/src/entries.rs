//! What a directory holds and what the kernel knows about an entry: names with their types, and [`Meta`].

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxAttributes, StatxFlags, StatxTimestamp, Timespec,
    Timestamps, openat, statx,
};
use rustix::io::Errno;

/// How much of a directory is read at once.
const DIRECTORY_BUFFER: usize = 32 * 1024;

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: CString,
    pub(crate) kind: FileType,
    inode: u64,
}

/// Reads every name in a directory, in order of inode number, which is how the disk likes it.
pub(crate) fn read_entries(directory: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    let mut buffer = Vec::with_capacity(DIRECTORY_BUFFER);
    let mut reader = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let kind = known_type(directory, name, entry.file_type())?;
            entries.push(Entry { name: name.to_owned(), kind, inode: entry.ino() });
        }
    }
    entries.sort_unstable_by_key(|entry| entry.inode);
    Ok(entries)
}

/// Some file systems leave the type out of directories.
fn known_type(directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<FileType, Errno> {
    if kind == FileType::Unknown { Ok(Meta::of_name(directory, name)?.kind()) } else { Ok(kind) }
}

/// Returns a name as a path for messages.
pub(crate) fn as_path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// Opens a directory by one name, never through a symbolic link.
///
/// The time of last access stays where we may say so (it is part of what is copied).
pub(crate) fn open_directory(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    open_quietly(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens an entry by one name, never through a symbolic link, never waiting for the other end of a pipe.
pub(crate) fn open_quietly(parent: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match openat(&parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner and root may ask for O_NOATIME.
        Err(Errno::PERM) => openat(&parent, name, flags, Mode::empty()),
        other => other,
    }
}

/// A file's identity while it exists.
pub(crate) type FileId = (u32, u32, u64);

/// What the kernel knows about one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta(Statx);

impl Meta {
    /// Returns the facts of an open file.
    pub(crate) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID).map(Self)
    }

    /// Returns the facts of a name, of the link itself where it is one.
    pub(crate) fn of_name(directory: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID).map(Self)
    }

    pub(crate) fn id(&self) -> FileId {
        (self.0.stx_dev_major, self.0.stx_dev_minor, self.0.stx_ino)
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.0.stx_mode.into())
    }

    /// Returns the permission bits with setuid, setgid and sticky.
    pub(crate) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.0.stx_mode.into())
    }

    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.0.stx_uid, self.0.stx_gid)
    }

    pub(crate) fn links(&self) -> u32 {
        self.0.stx_nlink
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.stx_size
    }

    /// Returns the bytes of disk space that it takes.
    pub(crate) fn allocated(&self) -> u64 {
        self.0.stx_blocks * 512
    }

    pub(crate) fn device(&self) -> (u32, u32) {
        (self.0.stx_rdev_major, self.0.stx_rdev_minor)
    }

    pub(crate) fn modified(&self) -> (i64, u32) {
        (self.0.stx_mtime.tv_sec, self.0.stx_mtime.tv_nsec)
    }

    /// Returns when content or metadata changed last.
    pub(crate) fn changed(&self) -> (i64, u32) {
        (self.0.stx_ctime.tv_sec, self.0.stx_ctime.tv_nsec)
    }

    pub(crate) fn times(&self) -> Timestamps {
        Timestamps { last_access: timespec(self.0.stx_atime), last_modification: timespec(self.0.stx_mtime) }
    }

    pub(crate) fn attributes(&self) -> StatxAttributes {
        self.0.stx_attributes
    }

    /// Returns what tells one mount from another: the mount's id, or the device before Linux 5.8.
    pub(crate) fn mount(&self) -> (u64, u32, u32) {
        if self.0.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
            (self.0.stx_mnt_id, 0, 0)
        } else {
            (0, self.0.stx_dev_major, self.0.stx_dev_minor)
        }
    }

    /// Returns whether the content is what it was when `self` was taken.
    pub(crate) fn is_unchanged(&self, later: &Self) -> bool {
        self.size() == later.size() && self.modified() == later.modified()
    }
}

fn timespec(time: StatxTimestamp) -> Timespec {
    Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() }
}
