//! [`probe`]: what the file system of a directory can do for us, found out without leaving a trace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ioctl_ficlone, openat, unlinkat};
use rustix::io::Errno;

use crate::mark::write_mark;

/// What the file system of a directory can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether files can share blocks.
    pub reflink: bool,
    /// Whether directories can carry ownership marks.
    pub marks: bool,
}

/// Asks the file system of `directory` by nameless files, which vanish with their descriptors.
///
/// # Behavior
/// On a file system without nameless files (`O_TMPFILE`), files are named and unlinked at once.
///
/// # Errors
/// What the kernel says to making a file there, for example `EROFS` or `ENOSPC`.
pub fn probe(directory: BorrowedFd<'_>) -> io::Result<Abilities> {
    let (one, other) = (nameless(directory)?, nameless(directory)?);
    let marks = match write_mark(one.as_fd(), "probe") {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => false,
        Err(error) => return Err(error),
    };
    Ok(Abilities { reflink: ioctl_ficlone(&other, &one).is_ok(), marks })
}

fn nameless(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match openat(directory, c".", flags | OFlags::TMPFILE, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            let name = format!(".keiki-probe-{}-{:?}", std::process::id(), std::thread::current().id());
            let file = openat(directory, &name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            unlinkat(directory, &name, AtFlags::empty())?;
            Ok(file)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_leaves_no_name_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::open(directory.path()).unwrap();
        assert!(probe(file.as_fd()).unwrap().marks);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
