//! The ownership mark: one extended attribute on a volume's directory that says whose it is.
//!
//! `trusted.keiki.id` where the process may write it (it is invisible to users and to containers in a user namespace),
//! else `user.keiki.id`. The value is text, the volume's id. Whoever makes an object sets the mark *last*. Copies never
//! carry marks and hashes never see them; [`is_mark`] is the one test for that.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The mark that only privileged processes can see.
const TRUSTED: &str = "trusted.keiki.id";
/// The mark of unprivileged users.
const USER: &str = "user.keiki.id";
/// Longer values are not ours.
const VALUE_MAX: usize = 256;

/// Returns whether an extended attribute belongs to Keiki's bookkeeping and not to the content of a tree.
#[must_use]
pub fn is_mark(name: &[u8]) -> bool {
    name.starts_with(b"trusted.keiki.") || name.starts_with(b"user.keiki.")
}

/// Returns the mark of an open directory; `None` when it has none.
///
/// # Behavior
/// A file system without extended attributes has no marked objects, so that is `None` too. A value that is not text
/// is nobody's id and is returned with replacement characters, so that it never equals one.
///
/// # Errors
/// What the kernel says; `fd` must not be opened with `O_PATH`.
pub fn read_mark(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    for name in [TRUSTED, USER] {
        let mut value = [0_u8; VALUE_MAX];
        match fgetxattr(fd, name, &mut value) {
            Ok(length) => return Ok(Some(String::from_utf8_lossy(&value[..length]).into_owned())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(Errno::RANGE) => return Ok(Some(String::from("(too long)"))),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

/// Puts the mark on an open directory, over an older one.
///
/// # Errors
/// What the kernel says about `user.keiki.id` when `trusted.keiki.id` is not permitted.
pub fn write_mark(fd: BorrowedFd<'_>, id: &str) -> io::Result<()> {
    match fsetxattr(fd, TRUSTED, id.as_bytes(), XattrFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(fsetxattr(fd, USER, id.as_bytes(), XattrFlags::empty())?),
        other => Ok(other?),
    }
}

/// Takes the mark from an open directory; success when there was none.
///
/// # Errors
/// What the kernel says.
pub fn clear_mark(fd: BorrowedFd<'_>) -> io::Result<()> {
    for name in [TRUSTED, USER] {
        match fremovexattr(fd, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            // Without the privilege we could not have set it; if it is there, it is not ours to take.
            Err(Errno::PERM) if name == TRUSTED => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_mark_is_read_back_replaced_and_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::open(directory.path()).unwrap();
        assert_eq!(read_mark(file.as_fd()).unwrap(), None);
        write_mark(file.as_fd(), "one").unwrap();
        write_mark(file.as_fd(), "two").unwrap();
        assert_eq!(read_mark(file.as_fd()).unwrap().as_deref(), Some("two"));
        clear_mark(file.as_fd()).unwrap();
        clear_mark(file.as_fd()).unwrap();
        assert_eq!(read_mark(file.as_fd()).unwrap(), None);
    }

    #[test]
    fn marks_are_told_from_content_by_their_prefix() {
        assert!(is_mark(b"trusted.keiki.id") && is_mark(b"user.keiki.id"));
        assert!(!is_mark(b"trusted.overlay.opaque") && !is_mark(b"user.keikis"));
    }
}
