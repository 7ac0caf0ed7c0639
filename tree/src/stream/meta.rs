//! The metadata of one entry: taken from an entry, compared, written to another.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, IFlags, Mode, OFlags, StatxAttributes, Timespec, Timestamps, Uid, chmodat,
    chownat, fchmod, fchown, fremovexattr, futimens, ioctl_getflags, ioctl_setflags, lremovexattr, utimensat,
};
use rustix::io::Errno;

use super::record::{Reader, Writer};
use crate::entries::{self, open_quietly};
use crate::error::{Result, TreeError};
use crate::mark::is_mark;
use crate::xattrs::{self, Owner, Xattr};

const FLAGS: [(StatxAttributes, IFlags, u8); 3] = [
    (StatxAttributes::IMMUTABLE, IFlags::IMMUTABLE, 1),
    (StatxAttributes::APPEND, IFlags::APPEND, 2),
    (StatxAttributes::NODUMP, IFlags::NODUMP, 4),
];

/// What an entry is besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) accessed: (i64, u32),
    pub(super) modified: (i64, u32),
    pub(super) flags: u8,
    pub(super) xattrs: Vec<Xattr>,
}

impl Meta {
    /// Takes the metadata of an entry.
    pub(super) fn of(entry: &entries::Meta, xattrs: Vec<Xattr>) -> Self {
        let times = entry.times();
        let part = |time: Timespec| (time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or_default());
        let flags = FLAGS.iter().filter(|(attribute, ..)| entry.attributes().contains(*attribute));
        Self {
            mode: entry.mode().as_raw_mode(),
            owner: entry.owner(),
            accessed: part(times.last_access),
            modified: part(times.last_modification),
            flags: flags.fold(0, |flags, (.., bit)| flags | bit),
            xattrs,
        }
    }

    /// Returns whether nobody could tell the two apart, times of access aside.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let facts = |meta: &Self| (meta.mode, meta.owner, meta.modified, meta.flags);
        facts(self) == facts(other) && self.xattrs == other.xattrs
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        [self.mode, self.owner.0, self.owner.1].into_iter().for_each(|number| out.short(number));
        for (seconds, nanoseconds) in [self.accessed, self.modified] {
            out.number(seconds.cast_unsigned());
            out.short(nanoseconds);
        }
        out.0.push(self.flags);
        out.short(u32::try_from(self.xattrs.len()).unwrap_or(u32::MAX));
        for (key, value) in &self.xattrs {
            out.text(key.to_bytes());
            out.text(value);
        }
    }

    pub(super) fn decode(body: &mut Reader<'_>) -> Result<Self> {
        let (mode, owner) = (body.short()?, (body.short()?, body.short()?));
        let mut time = || -> Result<(i64, u32)> {
            let (seconds, nanoseconds) = (body.number()?.cast_signed(), body.short()?);
            if nanoseconds < 1_000_000_000 {
                return Ok((seconds, nanoseconds));
            }
            Err(TreeError::Malformed("a time has too many nanoseconds"))
        };
        let (accessed, modified) = (time()?, time()?);
        let (flags, count) = (body.byte()?, body.short()?);
        let mut xattrs = Vec::new();
        for _ in 0..count {
            let key = CString::new(body.text()?)
                .map_err(|_| TreeError::Malformed("the name of an attribute holds a zero byte"))?;
            let value = body.text()?.to_vec();
            // Whose an object is, its store says, not a stream.
            if !is_mark(key.to_bytes()) {
                xattrs.push((key, value));
            }
        }
        if mode & !0o7777 != 0 {
            return Err(TreeError::Malformed("a mode has bits that are no permissions"));
        }
        Ok(Self { mode, owner, accessed, modified, flags, xattrs })
    }

    fn permissions(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    fn times(&self) -> Timestamps {
        let time =
            |(seconds, nanoseconds): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        Timestamps { last_access: time(self.accessed), last_modification: time(self.modified) }
    }

    fn user_and_group(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.owner.0)), Some(Gid::from_raw(self.owner.1)))
    }

    /// Gives an open file or directory this metadata, flags aside. The order is that of `copy_tree`.
    pub(super) fn write_open(
        &self,
        fd: &OwnedFd,
        reader: &mut xattrs::Reader,
    ) -> std::result::Result<(), (&'static str, Errno)> {
        let (user, group) = self.user_and_group();
        fchown(fd, user, group).map_err(|e| ("fchown", e))?;
        let owner = Owner::Open(fd.as_fd());
        for (key, _) in self.excess(owner, reader)? {
            fremovexattr(fd, &key).map_err(|e| ("fremovexattr", e))?;
        }
        xattrs::write(owner, &self.xattrs).map_err(|e| ("fsetxattr", e))?;
        fchmod(fd, self.permissions()).map_err(|e| ("fchmod", e))?;
        futimens(fd, &self.times()).map_err(|e| ("futimens", e))
    }

    /// Gives a name that must not be opened this metadata.
    pub(super) fn write_named(
        &self,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        kind: FileType,
        reader: &mut xattrs::Reader,
    ) -> std::result::Result<(), (&'static str, Errno)> {
        let (user, group) = self.user_and_group();
        chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| ("fchownat", e))?;
        let owner = Owner::Name(directory, name);
        for (key, _) in self.excess(owner, reader)? {
            lremovexattr(xattrs::path(directory, name), &key).map_err(|e| ("lremovexattr", e))?;
        }
        xattrs::write(owner, &self.xattrs).map_err(|e| ("lsetxattr", e))?;
        if kind != FileType::Symlink {
            // Nobody else writes in a volume that is being received, so it has not become a link meanwhile.
            chmodat(directory, name, self.permissions(), AtFlags::empty()).map_err(|e| ("fchmodat", e))?;
        }
        utimensat(directory, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| ("utimensat", e))
    }

    /// Returns the attributes that an entry has and should not have.
    fn excess(
        &self,
        owner: Owner<'_>,
        reader: &mut xattrs::Reader,
    ) -> std::result::Result<Vec<Xattr>, (&'static str, Errno)> {
        let mut found = reader.read(owner).map_err(|e| ("fgetxattr", e))?;
        found.retain(|(key, _)| !self.xattrs.iter().any(|(wanted, _)| wanted == key));
        Ok(found)
    }
}

/// Sets the flags of an entry to exactly these. Best effort, as for copies.
pub(super) fn set_flags(directory: BorrowedFd<'_>, name: &std::ffi::CStr, flags: u8) {
    let (known, wanted) =
        FLAGS.iter().fold((IFlags::empty(), IFlags::empty()), |(all, set), (_, flag, bit)| {
            (all | *flag, if flags & bit == 0 { set } else { set | *flag })
        });
    let _best_effort: std::result::Result<(), Errno> = open_quietly(directory, name, OFlags::RDONLY)
        .and_then(|fd| ioctl_setflags(&fd, (ioctl_getflags(&fd)? - known) | wanted));
}
