//! Extended attributes of one entry, whatever its type: ACLs, capabilities and labels are among them.
//!
//! Files and directories are asked through their descriptor. Symbolic links and devices cannot be opened without
//! consequences, so they are named as `/proc/self/fd/DIRECTORY/NAME`: the first part is our own descriptor and the `l`
//! calls do not follow the last.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

use crate::mark::is_mark;

/// The kernel's limit of a list and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MOST: usize = 64 * 1024;

/// One attribute.
pub(crate) type Xattr = (CString, Vec<u8>);

/// An entry whose attributes are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in a directory, itself where it is a link.
    Name(BorrowedFd<'a>, &'a CStr),
}

/// Reads attributes into a buffer that it keeps.
#[derive(Debug)]
pub(crate) struct Reader(Vec<u8>);

impl Reader {
    pub(crate) fn new() -> Self {
        Self(vec![0; MOST])
    }

    /// Returns every attribute of an entry in order of name, our own marks left out.
    ///
    /// A file system without attributes has none.
    pub(crate) fn read(&mut self, owner: Owner<'_>) -> Result<Vec<Xattr>, Errno> {
        let length = match self.list(owner) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names: Vec<CString> = self.0[..length]
            .split_inclusive(|byte| *byte == 0)
            .filter(|name| !is_mark(name))
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
            .collect();
        names.sort_unstable();
        let mut xattrs = Vec::with_capacity(names.len());
        for name in names {
            match self.value(owner, &name) {
                Ok(length) => xattrs.push((name, self.0[..length].to_vec())),
                // It went between the two calls.
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(xattrs)
    }

    fn list(&mut self, owner: Owner<'_>) -> Result<usize, Errno> {
        match owner {
            Owner::Open(fd) => flistxattr(fd, &mut self.0[..]),
            Owner::Name(directory, name) => llistxattr(path(directory, name), &mut self.0[..]),
        }
    }

    fn value(&mut self, owner: Owner<'_>, key: &CStr) -> Result<usize, Errno> {
        match owner {
            Owner::Open(fd) => fgetxattr(fd, key, &mut self.0[..]),
            Owner::Name(directory, name) => lgetxattr(path(directory, name), key, &mut self.0[..]),
        }
    }
}

/// Sets attributes on an entry.
pub(crate) fn write(owner: Owner<'_>, xattrs: &[Xattr]) -> Result<(), Errno> {
    for (key, value) in xattrs {
        match owner {
            Owner::Open(fd) => fsetxattr(fd, key, value, XattrFlags::empty())?,
            Owner::Name(directory, name) => {
                lsetxattr(path(directory, name), key, value, XattrFlags::empty())?;
            }
        }
    }
    Ok(())
}

pub(crate) fn path(directory: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    path
}
