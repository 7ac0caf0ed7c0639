//! [`remove_tree`]: removes a whole tree, in parallel, whatever its depth and flags.
//!
//! Nothing is followed and nothing outside is touched: directories are opened by one name without following links, and
//! a file system that is mounted in the tree stops the removal instead of being emptied. Immutable and append-only
//! entries are freed first, as their owner would have to.

use std::ffi::{CStr, CString, OsStr};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, IFlags, OFlags, SeekFrom, StatxAttributes, ioctl_getflags, ioctl_setflags, seek,
    unlinkat,
};
use rustix::io::Errno;

use crate::copy::Progress;
use crate::entries::{Entry, FileId, Meta, open_directory, open_quietly, read_entries};
use crate::error::{Result, TreeError};
use crate::walk::{Content, Entered, Node, Place, Visit, WalkOptions, walk};

/// How a tree is removed.
#[derive(Clone, Copy, Default)]
pub struct RemoveOptions<'a> {
    /// How many threads work; `None` is twice the processors, at most eight.
    pub workers: Option<NonZeroUsize>,
    /// Is told how far the removal has come (`bytes` stays zero); called from any worker, after every directory.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl std::fmt::Debug for RemoveOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoveOptions").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Removes `name` in `parent` with everything below it, and returns how many entries went, itself included.
///
/// # Behavior
/// Absent is success. A symbolic link is removed itself. When it fails, what is left can be removed by calling again.
/// Errors name entries relative to `name`, which is `.`.
///
/// # Errors
/// [`TreeError::MountPoint`] when something is mounted in the tree; what lies beside it may be gone by then.
/// [`TreeError::Call`] naming the entry.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr, options: &RemoveOptions<'_>) -> Result<u64> {
    let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
    let name = CString::new(name.as_bytes()).map_err(|_| at_root("openat")(Errno::INVAL))?;
    let meta = match Meta::of_name(parent, &name) {
        Err(Errno::NOENT) => return Ok(0),
        other => other.map_err(at_root("statx"))?,
    };
    if meta.kind() != FileType::Directory {
        return unlink(parent, &name).map_err(at_root("unlinkat"));
    }
    if meta.mount() != Meta::of(parent).map_err(at_root("statx"))?.mount() {
        return Err(TreeError::MountPoint { path: ".".into() });
    }
    let root = open_directory(parent, &name).map_err(at_root("openat"))?;
    free(&root, &meta);
    let remover = Remover { mount: meta.mount(), removed: AtomicU64::new(0), progress: options.progress };
    let how = WalkOptions { workers: options.workers, exclude: &[] };
    walk(&remover, root, Memory::new(meta.id()), how, |_| Ok(()))?;
    match unlinkat(parent, &name, AtFlags::REMOVEDIR) {
        Err(Errno::BUSY) => return Err(TreeError::MountPoint { path: ".".into() }),
        other => other.map_err(at_root("rmdir"))?,
    }
    Ok(remover.removed.into_inner() + 1)
}

struct Remover<'a> {
    /// The mount that is not left.
    mount: (u64, u32, u32),
    removed: AtomicU64,
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

struct Memory {
    id: FileId,
    has_directories: AtomicBool,
}

impl Memory {
    fn new(id: FileId) -> Self {
        Self { id, has_directories: AtomicBool::new(false) }
    }
}

impl Visit for Remover<'_> {
    type Handle = OwnedFd;
    type Memory = Memory;
    /// Entries that this thread removed.
    type Worker = u64;

    const LEAVES: bool = true;

    fn worker(&self) -> u64 {
        0
    }

    fn retire(&self, removed: u64) {
        self.removed.fetch_add(removed, Ordering::Relaxed);
    }

    fn directory<'a>(&self, handle: &'a OwnedFd) -> BorrowedFd<'a> {
        handle.as_fd()
    }

    fn enter(&self, _removed: &mut u64, at: &Place<'_, Self>, name: &CStr) -> Result<Entered<Self>> {
        let handle = open_directory(at.handle, name).map_err(at.error("openat", name))?;
        let meta = Meta::of(&handle).map_err(at.error("statx", name))?;
        if meta.mount() != self.mount {
            return Err(TreeError::MountPoint { path: at.node.path_of(name) });
        }
        free(&handle, &meta);
        at.node.memory.has_directories.store(true, Ordering::Relaxed);
        Ok(Entered { handle, memory: Memory::new(meta.id()), content: Content::Visit })
    }

    fn reopen(&self, parent: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_again(parent, node.name(), node)
    }

    fn climb(&self, child: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_again(child, c"..", node)
    }

    fn entry(&self, removed: &mut u64, at: &Place<'_, Self>, entry: &Entry) -> Result<()> {
        *removed += match unlink(at.handle.as_fd(), &entry.name) {
            Err(Errno::BUSY) => return Err(TreeError::MountPoint { path: at.node.path_of(&entry.name) }),
            other => other.map_err(at.error("unlinkat", &entry.name))?,
        };
        Ok(())
    }

    /// Removes the directories in this one, which are empty by now; its own parent removes it.
    fn leave(&self, removed: &mut u64, at: &Place<'_, Self>) -> Result<()> {
        if at.node.memory.has_directories.load(Ordering::Relaxed) {
            seek(at.handle, SeekFrom::Start(0)).map_err(at.own_error("lseek"))?;
            for entry in read_entries(at.handle.as_fd()).map_err(at.own_error("getdents64"))? {
                match unlinkat(at.handle, &entry.name, AtFlags::REMOVEDIR) {
                    Err(Errno::BUSY) => {
                        return Err(TreeError::MountPoint { path: at.node.path_of(&entry.name) });
                    }
                    other => other.map_err(at.error("rmdir", &entry.name))?,
                }
                *removed += 1;
            }
        }
        let all = self.removed.fetch_add(*removed, Ordering::Relaxed) + *removed;
        *removed = 0;
        if let Some(progress) = self.progress {
            progress(Progress { entries: all, bytes: 0 });
        }
        Ok(())
    }
}

fn open_again(from: &OwnedFd, name: &CStr, node: &Node<Remover<'_>>) -> Result<OwnedFd> {
    let failed = node.error("openat");
    let handle = open_directory(from, name).map_err(failed)?;
    if Meta::of(&handle).map_err(failed)?.id() != node.memory.id {
        return Err(TreeError::Moved { path: node.path() });
    }
    Ok(handle)
}

/// Removes one name and returns how many entries went: none when it was gone already.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => Ok(1),
        Err(Errno::NOENT) => Ok(0),
        Err(Errno::PERM) => {
            let file = open_quietly(directory, name, OFlags::RDONLY)?;
            free(&file, &Meta::of(&file)?);
            unlinkat(directory, name, AtFlags::empty()).map(|()| 1)
        }
        Err(errno) => Err(errno),
    }
}

/// Takes the flags off that forbid removal. If that is refused, the removal is, and says so better.
fn free(file: &OwnedFd, meta: &Meta) {
    if meta.attributes().intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        let _: Result<(), Errno> = ioctl_getflags(file)
            .and_then(|flags| ioctl_setflags(file, flags - (IFlags::IMMUTABLE | IFlags::APPEND)));
    }
}
