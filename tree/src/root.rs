//! [`RootMetadata`]: the metadata of a tree's root directory alone, read once and given to any number of new roots.
//!
//! An overlay shows the owner, mode, times and attributes of its topmost layer's root as its own, so an empty layer
//! must begin with those of the layer below. What overlayfs itself notes on a layer (`trusted.overlay.*`) and our marks
//! belong to that one layer and stay behind.

use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Mode, Timestamps, Uid, fchmod, fchown, futimens};
use rustix::io::Errno;

use crate::entries::Meta;
use crate::error::{Result, TreeError};
use crate::xattrs::{self, Owner, Reader, Xattr};

/// Owner, mode, times and extended attributes of a directory.
#[derive(Debug, Clone)]
pub struct RootMetadata {
    mode: Mode,
    owner: (u32, u32),
    times: Timestamps,
    xattrs: Vec<Xattr>,
}

impl RootMetadata {
    /// Reads the metadata of an open directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(directory: BorrowedFd<'_>) -> Result<Self> {
        let meta = Meta::of(directory).map_err(failed("statx"))?;
        let mut xattrs = Reader::new().read(Owner::Open(directory)).map_err(failed("fgetxattr"))?;
        xattrs.retain(|(name, _)| !belongs_to_layer(name.to_bytes()));
        Ok(Self { mode: meta.mode(), owner: meta.owner(), times: meta.times(), xattrs })
    }

    /// Gives the metadata to a new, open directory.
    ///
    /// # Errors
    /// `EPERM` for a foreign owner without `CAP_CHOWN`, and what else the kernel says.
    pub fn apply(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let found = Meta::of(directory).map_err(failed("statx"))?;
        if found.owner() != self.owner {
            let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
            fchown(directory, Some(user), Some(group)).map_err(failed("fchown"))?;
        }
        // Also after a change of owner, which takes setuid and setgid away.
        if found.owner() != self.owner || found.mode() != self.mode {
            fchmod(directory, self.mode).map_err(failed("fchmod"))?;
        }
        xattrs::write(Owner::Open(directory), &self.xattrs).map_err(failed("fsetxattr"))?;
        futimens(directory, &self.times).map_err(failed("futimens"))
    }
}

fn belongs_to_layer(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

fn failed(call: &'static str) -> impl Fn(Errno) -> TreeError {
    move |errno| TreeError::Call { call, path: ".".into(), errno }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

    use super::*;

    #[test]
    fn a_new_root_gets_mode_times_and_attributes_but_no_notes_of_another_layer() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        std::fs::create_dir(&new).unwrap();
        let (old, new) = (File::open(old).unwrap(), File::open(new).unwrap());
        fchmod(&old, Mode::from_raw_mode(0o2751)).unwrap();
        fsetxattr(&old, "user.kept", b"1", XattrFlags::empty()).unwrap();
        fsetxattr(&old, "user.overlay.impure", b"y", XattrFlags::empty()).unwrap();
        crate::mark::write_mark(old.as_fd(), "id").unwrap();
        RootMetadata::of(old.as_fd()).unwrap().apply(new.as_fd()).unwrap();
        let (expected, found) = (old.metadata().unwrap(), new.metadata().unwrap());
        assert_eq!(found.permissions(), expected.permissions());
        assert_eq!(found.modified().unwrap(), expected.modified().unwrap());
        let mut value = [0_u8; 8];
        assert_eq!(fgetxattr(&new, "user.kept", &mut value), Ok(1));
        assert_eq!(fgetxattr(&new, "user.overlay.impure", &mut value), Err(Errno::NODATA));
        assert_eq!(crate::mark::read_mark(new.as_fd()).unwrap(), None);
    }
}
