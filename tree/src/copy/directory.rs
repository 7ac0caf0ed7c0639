//! Directories: opened in pairs, closed to others while they are filled, given their metadata when they are left.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fremovexattr, futimens, mkdirat};
use rustix::io::Errno;

use super::{Copier, CopyReport, Progress, Worker};
use crate::entries::{Entry, FileId, Meta, open_directory};
use crate::error::{Result, TreeError};
use crate::walk::{Content, Entered, Node, Place, Visit};
use crate::xattrs::{Owner, Reader, Xattr, write};

/// Room for the contents of small files.
const BUFFER: usize = 128 * 1024;

/// A directory of the source and its copy, both open.
pub(super) struct Pair {
    pub(super) source: OwnedFd,
    pub(super) target: OwnedFd,
}

/// What a directory of the copy gets when everything below it is done.
pub(super) struct Memory {
    source: Meta,
    xattrs: Vec<Xattr>,
    target: FileId,
}

impl Memory {
    pub(super) fn mount(&self) -> (u64, u32, u32) {
        self.source.mount()
    }

    pub(super) fn target(&self) -> FileId {
        self.target
    }
}

/// Opens the two roots for ourselves and closes the target to everybody else.
pub(super) fn open_roots(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(Pair, Memory)> {
    let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
    let source = open_directory(source, c".").map_err(at_root("openat"))?;
    let target = open_directory(target, c".").map_err(at_root("openat"))?;
    let meta = Meta::of(&source).map_err(at_root("statx"))?;
    let id = Meta::of(&target).map_err(at_root("statx"))?.id();
    if meta.id() == id {
        return Err(TreeError::TargetInside { path: ".".into() });
    }
    let xattrs = Reader::new().read(Owner::Open(source.as_fd())).map_err(at_root("fgetxattr"))?;
    // A default ACL or setgid that the target got from the directory above would be handed down to everything in it.
    for acl in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        match fremovexattr(&target, acl) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(at_root("fremovexattr")(errno)),
        }
    }
    fchmod(&target, Mode::RWXU).map_err(at_root("fchmod"))?;
    Ok((Pair { source, target }, Memory { source: meta, xattrs, target: id }))
}

impl Visit for Copier<'_> {
    type Handle = Pair;
    type Memory = Memory;
    type Worker = Worker;

    const LEAVES: bool = true;

    fn worker(&self) -> Worker {
        Worker {
            report: CopyReport::default(),
            announced: Progress::default(),
            xattrs: Reader::new(),
            buffer: vec![0; BUFFER],
        }
    }

    fn retire(&self, mut worker: Worker) {
        self.announce(&mut worker);
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(&worker.report);
    }

    fn directory<'a>(&self, handle: &'a Pair) -> BorrowedFd<'a> {
        handle.source.as_fd()
    }

    fn enter(&self, worker: &mut Worker, at: &Place<'_, Self>, name: &CStr) -> Result<Entered<Self>> {
        let source = open_directory(&at.handle.source, name).map_err(|errno| at.vanished(name, errno))?;
        let meta = Meta::of(&source).map_err(at.error("statx", name))?;
        if meta.id() == self.target {
            return Err(TreeError::TargetInside { path: at.node.path_of(name) });
        }
        let xattrs = worker.xattrs.read(Owner::Open(source.as_fd())).map_err(at.error("fgetxattr", name))?;
        mkdirat(&at.handle.target, name, Mode::RWXU).map_err(at.error("mkdirat", name))?;
        let target = open_directory(&at.handle.target, name).map_err(at.error("openat", name))?;
        let id = Meta::of(&target).map_err(at.error("statx", name))?.id();
        worker.report.entries += 1;
        worker.report.directories += 1;
        let content = if meta.mount() == self.mount { Content::Visit } else { Content::Pass };
        let memory = Memory { source: meta, xattrs, target: id };
        Ok(Entered { handle: Pair { source, target }, memory, content })
    }

    fn reopen(&self, parent: &Pair, node: &Node<Self>) -> Result<Pair> {
        open_again(parent, node.name(), node)
    }

    fn climb(&self, child: &Pair, node: &Node<Self>) -> Result<Pair> {
        open_again(child, c"..", node)
    }

    fn entry(&self, worker: &mut Worker, at: &Place<'_, Self>, entry: &Entry) -> Result<()> {
        self.copy_entry(worker, at, entry)
    }

    fn leave(&self, worker: &mut Worker, at: &Place<'_, Self>) -> Result<()> {
        let Memory { source, xattrs, .. } = &at.node.memory;
        let target = &at.handle.target;
        let now = Meta::of(&at.handle.source).map_err(at.own_error("statx"))?;
        if !source.is_unchanged(&now) {
            return Err(TreeError::SourceChanged { path: at.node.path() });
        }
        let (user, group) = source.owner();
        fchown(target, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
            .map_err(at.own_error("fchown"))?;
        write(Owner::Open(target.as_fd()), xattrs).map_err(at.own_error("fsetxattr"))?;
        fchmod(target, source.mode()).map_err(at.own_error("fchmod"))?;
        futimens(target, &source.times()).map_err(at.own_error("futimens"))?;
        if !at.node.is_root() {
            self.flags.note(at.node, None, source.attributes());
        }
        self.announce(worker);
        Ok(())
    }
}

/// Opens a pair by `name` from another pair; both must be the directories that `node` stands for.
fn open_again(from: &Pair, name: &CStr, node: &Node<Copier<'_>>) -> Result<Pair> {
    let failed = node.error("openat");
    let pair = Pair {
        source: open_directory(&from.source, name).map_err(failed)?,
        target: open_directory(&from.target, name).map_err(failed)?,
    };
    let source = Meta::of(&pair.source).map_err(failed)?.id();
    let target = Meta::of(&pair.target).map_err(failed)?.id();
    if (source, target) != (node.memory.source.id(), node.memory.target) {
        return Err(TreeError::Moved { path: node.path() });
    }
    Ok(pair)
}

impl Place<'_, Copier<'_>> {
    /// Returns the error of an entry that could not be opened though its directory named it.
    pub(super) fn vanished(&self, name: &CStr, errno: Errno) -> TreeError {
        let path = self.node.path_of(name);
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => TreeError::SourceChanged { path },
            errno => TreeError::Call { call: "openat", path, errno },
        }
    }
}
