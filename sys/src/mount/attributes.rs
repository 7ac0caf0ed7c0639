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
    /// How mount events travel between it and its peers.
    pub propagation: Propagation,
    /// The user namespace whose mapping the mount gets; a detached mount only, and only once.
    pub id_map: Option<BorrowedFd<'a>>,
}

/// How mount events travel, and whether that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// It stays as it is.
    Kept,
    /// None in either direction.
    Private,
    /// From its peers to it.
    Slave,
    /// In both directions.
    Shared,
    /// None, and it cannot be bound elsewhere.
    Unbindable,
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
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
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

    /// A process in a user namespace of its own, which maps its ids to 100000 and up.
    struct Mapped(std::process::Child);

    impl Mapped {
        fn spawn() -> Option<Self> {
            let child = std::process::Command::new("unshare").args(["--user", "sleep", "60"]).spawn().ok()?;
            let mapped = Self(child);
            let ours = std::fs::read_link("/proc/self/ns/user").ok()?;
            for _ in 0..200 {
                if std::fs::read_link(mapped.path("ns/user")).is_ok_and(|theirs| theirs != ours) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            for map in ["uid_map", "gid_map"] {
                std::fs::write(mapped.path(map), "0 100000 65536").ok()?;
            }
            Some(mapped)
        }

        fn path(&self, name: &str) -> String {
            format!("/proc/{}/{name}", self.0.id())
        }
    }

    impl Drop for Mapped {
        fn drop(&mut self) {
            let _gone = self.0.kill().and_then(|()| self.0.wait());
        }
    }

    #[test]
    fn a_detached_mount_is_id_mapped_and_read_only() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let (Some(mapped), Ok(mount)) =
            (Mapped::spawn(), super::super::clone_tree(directory.path(), Reach::Single))
        else {
            println!("skipped: needs CAP_SYS_ADMIN, unshare(1) and user namespaces");
            return;
        };
        let namespace = std::fs::File::open(mapped.path("ns/user")).unwrap();
        let wanted = Attributes {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID,
            id_map: Some(namespace.as_fd()),
            ..Attributes::NONE
        };
        set_attributes(&mount, &wanted, Reach::Recursive).unwrap();
        let flags = rustix::fs::OFlags::RDONLY;
        let file = rustix::fs::openat(&mount, "file", flags, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(std::fs::File::from(file).metadata().unwrap().uid(), 100_000);
        let refused = rustix::fs::mkdirat(&mount, "new", rustix::fs::Mode::RWXU);
        assert_eq!(refused, Err(Errno::ROFS));
    }

    #[test]
    fn a_mount_is_attached_in_a_private_namespace_and_taken_away() {
        use super::super::{Unmount, attach, clone_tree, private::in_private_namespace, unmount};
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(source.path().join("file"), "x").unwrap();
        let result = in_private_namespace(|| {
            let (mount, place) = (clone_tree(source.path(), Reach::Single)?, target.path());
            attach(&mount, place)?;
            assert!(place.join("file").exists());
            let held = std::fs::File::open(place.join("file")).unwrap();
            drop(mount);
            assert_eq!(unmount(place, Unmount::Now).unwrap_err().errno, Errno::BUSY);
            drop(held);
            unmount(place, Unmount::Now)?;
            assert!(!place.join("file").exists());
            Ok(())
        });
        match result {
            Err(error) if error.errno == Errno::PERM => println!("skipped: needs CAP_SYS_ADMIN"),
            other => other.unwrap(),
        }
    }

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
