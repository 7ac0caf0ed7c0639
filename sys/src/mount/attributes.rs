//! `mount_setattr(2)`: read-only, nosuid, id-mapped, private; for one mount or a whole tree.
#![expect(unsafe_code, reason = "neither rustix nor nix wraps mount_setattr(2)")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{MountError, Result};

/// How far a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The one mount.
    Single,
    /// Everything mounted below it as well.
    Recursive,
}

impl Reach {
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::Recursive => "|AT_RECURSIVE",
        }
    }
}

/// What is changed on a mount; everything else stays.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Attributes that are switched on.
    pub set: MountAttrFlags,
    /// Attributes that are switched off.
    pub clear: MountAttrFlags,
    /// Whether mount events stop to travel between it and its peers.
    pub propagation: Propagation,
    /// The user namespace whose mapping the mount gets; a detached mount only, and only once.
    pub id_map: Option<BorrowedFd<'a>>,
}

/// What happens to the propagation of mount events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// It stays as it is.
    Kept,
    /// None in either direction.
    Private,
}

impl Attributes<'_> {
    /// Nothing is changed.
    pub const NONE: Self = Self {
        set: MountAttrFlags::empty(),
        clear: MountAttrFlags::empty(),
        propagation: Propagation::Kept,
        id_map: None,
    };
}

/// Changes the attributes of the mount behind `mount`.
///
/// # Requires
/// Linux 5.12.
///
/// # Errors
/// `EINVAL` for an id mapping that the file system cannot do, or of a mount that is attached already; `EPERM`; `ENOSYS`.
pub fn set_attributes(mount: impl AsFd, attributes: &Attributes<'_>, reach: Reach) -> Result<()> {
    let mount = mount.as_fd();
    let raw = raw_attributes(attributes);
    let flags = match reach {
        Reach::Single => libc::AT_EMPTY_PATH,
        Reach::Recursive => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: mount_setattr(2) reads `size_of::<mount_attr>()` bytes behind the pointer, which is what we pass, and a
    // string that is static; every descriptor lives through the call because it is borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const raw,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Err(MountError::new(shown(attributes, reach), errno))
}

fn raw_attributes(attributes: &Attributes<'_>) -> libc::mount_attr {
    let (id_mapped, userns_fd) = match attributes.id_map {
        Some(fd) => (MountAttrFlags::MOUNT_ATTR_IDMAP, u64::from(fd.as_raw_fd().unsigned_abs())),
        None => (MountAttrFlags::empty(), 0),
    };
    libc::mount_attr {
        attr_set: u64::from((attributes.set | id_mapped).bits()),
        attr_clr: u64::from(attributes.clear.bits()),
        propagation: match attributes.propagation {
            Propagation::Kept => 0,
            Propagation::Private => libc::MS_PRIVATE,
        },
        userns_fd,
    }
}

fn shown(attributes: &Attributes<'_>, reach: Reach) -> String {
    format!(
        "mount_setattr(mount, \"\", AT_EMPTY_PATH{}, {{set={:?}, clear={:?}, propagation={:?}, id_map={}}})",
        reach.shown(),
        attributes.set,
        attributes.clear,
        attributes.propagation,
        attributes.id_map.map_or_else(|| "none".to_owned(), |fd| fd.as_raw_fd().to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_mount_is_refused_with_the_call_printed() {
        let file = tempfile::tempfile().unwrap();
        let wanted = Attributes { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Attributes::NONE };
        let error = set_attributes(&file, &wanted, Reach::Recursive).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("mount_setattr(mount, \"\", AT_EMPTY_PATH|AT_RECURSIVE, {set="), "{text}");
        assert!(text.contains("MOUNT_ATTR_RDONLY"), "{text}");
    }
}
