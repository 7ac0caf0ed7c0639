//! Entries that are not directories: files, symbolic links, devices, pipes and sockets.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fchmod, fchown, futimens, linkat, makedev,
    mknodat, openat, readlinkat, symlinkat, utimensat,
};

use super::links::Claim;
use super::{Copier, Worker};
use crate::entries::{Entry, Meta, open_quietly};
use crate::error::{Result, TreeError};
use crate::walk::{Place, reach};
use crate::xattrs::{Owner, write};

impl Copier<'_> {
    pub(super) fn copy_entry(&self, worker: &mut Worker, at: &Place<'_, Self>, entry: &Entry) -> Result<()> {
        match entry.kind {
            FileType::RegularFile => self.copy_file(worker, at, &entry.name)?,
            _ => self.copy_special(worker, at, &entry.name)?,
        }
        worker.report.entries += 1;
        Ok(())
    }

    fn copy_file(&self, worker: &mut Worker, at: &Place<'_, Self>, name: &CStr) -> Result<()> {
        let source = open_quietly(&at.handle.source, name, OFlags::RDONLY)
            .map_err(|errno| at.vanished(name, errno))?;
        let meta = Meta::of(&source).map_err(at.error("statx", name))?;
        if meta.kind() != FileType::RegularFile {
            return Err(TreeError::SourceChanged { path: at.node.path_of(name) });
        }
        let Some(target) = self.make(worker, at, name, &meta, || create_file(at, name, &meta))? else {
            return Ok(());
        };
        // A file that is mounted upon another is an empty file in the copy, as a mounted directory is an empty one.
        if meta.mount() == self.mount {
            self.contents.copy(worker, at, name, (&source, &target), &meta)?;
        }
        finish_file(worker, at, name, (&source, &target), &meta)?;
        self.flags.note(at.node, Some(name), meta.attributes());
        Ok(())
    }

    fn copy_special(&self, worker: &mut Worker, at: &Place<'_, Self>, name: &CStr) -> Result<()> {
        let meta = Meta::of_name(&at.handle.source, name).map_err(|errno| at.vanished(name, errno))?;
        let made = self.make(worker, at, name, &meta, || match meta.kind() {
            FileType::Symlink => create_symlink(at, name),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                create_node(at, name, &meta)
            }
            _ => Err(TreeError::SourceChanged { path: at.node.path_of(name) }),
        })?;
        if made.is_none() {
            return Ok(());
        }
        finish_special(worker, at, name, &meta)
    }

    /// Makes an entry, or links it to the copy of the same file elsewhere in the tree; `None` means linked.
    fn make<T>(
        &self,
        worker: &mut Worker,
        at: &Place<'_, Self>,
        name: &CStr,
        meta: &Meta,
        create: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        if meta.links() < 2 {
            return create().map(Some);
        }
        match self.links.claim(meta.id(), at.node, name, create)? {
            Claim::First(made) => Ok(Some(made)),
            Claim::Again(node, first) => {
                let directory = reach(self, &node)?;
                linkat(&directory.handle.target, &first, &at.handle.target, name, AtFlags::empty())
                    .map_err(at.error("linkat", name))?;
                worker.report.hard_links += 1;
                Ok(None)
            }
        }
    }
}

fn create_file(at: &Place<'_, Copier<'_>>, name: &CStr, meta: &Meta) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Writable until it is finished: an unprivileged owner could not set `user.*` attributes on a read-only file.
    let mode = (meta.mode() & (Mode::RWXU | Mode::RWXG | Mode::RWXO)) | Mode::WUSR;
    openat(&at.handle.target, name, flags, mode).map_err(at.error("openat", name))
}

fn create_symlink(at: &Place<'_, Copier<'_>>, name: &CStr) -> Result<()> {
    let text = readlinkat(&at.handle.source, name, Vec::new()).map_err(at.error("readlinkat", name))?;
    symlinkat(text.as_c_str(), &at.handle.target, name).map_err(at.error("symlinkat", name))
}

fn create_node(at: &Place<'_, Copier<'_>>, name: &CStr, meta: &Meta) -> Result<()> {
    let (major, minor) = meta.device();
    mknodat(&at.handle.target, name, meta.kind(), meta.mode(), makedev(major, minor))
        .map_err(at.error("mknodat", name))
}

/// Gives a file everything but its content, and makes sure that the content was not written meanwhile.
fn finish_file(
    worker: &mut Worker,
    at: &Place<'_, Copier<'_>>,
    name: &CStr,
    (source, target): (&OwnedFd, &OwnedFd),
    meta: &Meta,
) -> Result<()> {
    let made = Meta::of(target).map_err(at.error("statx", name))?;
    if made.owner() != meta.owner() {
        let (user, group) = meta.owner();
        fchown(target, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
            .map_err(at.error("fchown", name))?;
    }
    let xattrs = worker.xattrs.read(Owner::Open(source.as_fd())).map_err(at.error("fgetxattr", name))?;
    write(Owner::Open(target.as_fd()), &xattrs).map_err(at.error("fsetxattr", name))?;
    if made.mode() != meta.mode() || !xattrs.is_empty() {
        fchmod(target, meta.mode()).map_err(at.error("fchmod", name))?;
    }
    futimens(target, &meta.times()).map_err(at.error("futimens", name))?;
    let now = Meta::of(source).map_err(at.error("statx", name))?;
    if meta.is_unchanged(&now) {
        return Ok(());
    }
    Err(TreeError::SourceChanged { path: at.node.path_of(name) })
}

/// Gives a symbolic link, device, pipe or socket its owner, attributes, mode and times.
fn finish_special(worker: &mut Worker, at: &Place<'_, Copier<'_>>, name: &CStr, meta: &Meta) -> Result<()> {
    let (source, target) = (at.handle.source.as_fd(), at.handle.target.as_fd());
    let (user, group) = meta.owner();
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    chownat(target, name, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(at.error("fchownat", name))?;
    let xattrs = worker.xattrs.read(Owner::Name(source, name)).map_err(at.error("lgetxattr", name))?;
    write(Owner::Name(target, name), &xattrs).map_err(at.error("lsetxattr", name))?;
    if meta.kind() != FileType::Symlink {
        // We have just made it with `O_EXCL` semantics in a directory closed to others, so it is no link.
        chmodat(target, name, meta.mode(), AtFlags::empty()).map_err(at.error("fchmodat", name))?;
    }
    utimensat(target, name, &meta.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(at.error("utimensat", name))
}
