//! [`measure_tree`]: the space that a tree takes, as `du` counts it.

use std::collections::HashSet;
use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::entries::{Entry, FileId, Meta, open_directory};
use crate::error::{Result, TreeError};
use crate::walk::{Content, Entered, Node, Place, Visit, WalkOptions, walk};

/// The size of a tree; files with several links count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSize {
    /// Names, the root included.
    pub entries: u64,
    /// Bytes of disk space that the entries take, shared or not.
    pub allocated: u64,
    /// Bytes that reading every file would give.
    pub apparent: u64,
    /// When an entry below the root was changed last, in content or metadata: seconds since 1970, and nanoseconds. The root
    /// itself does not count: renaming or marking a tree changes it.
    pub changed: (i64, u32),
}

/// Measures the tree below an open directory, without leaving its mount.
///
/// # Behavior
/// Entries that go while it is measured are not counted: the answer about a tree in use is an estimate anyway.
///
/// # Errors
/// [`TreeError`] naming the entry.
pub fn measure_tree(root: BorrowedFd<'_>, workers: Option<NonZeroUsize>) -> Result<TreeSize> {
    let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
    let root = open_directory(root, c".").map_err(at_root("openat"))?;
    let meta = Meta::of(&root).map_err(at_root("statx"))?;
    let mut total = TreeSize::default();
    total.count(&meta);
    total.changed = TreeSize::default().changed;
    let measurer = Measurer { mount: meta.mount(), linked: Mutex::default(), total: Mutex::new(total) };
    let how = WalkOptions { workers, exclude: &[] };
    walk(&measurer, root, (), how, |_| Ok(()))?;
    Ok(measurer.total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl TreeSize {
    fn count(&mut self, meta: &Meta) {
        self.entries += 1;
        self.changed = self.changed.max(meta.changed());
        self.allocated += meta.allocated();
        if !meta.kind().is_dir() {
            self.apparent += meta.size();
        }
    }
}

struct Measurer {
    mount: (u64, u32, u32),
    linked: Mutex<HashSet<FileId>>,
    total: Mutex<TreeSize>,
}

impl Visit for Measurer {
    type Handle = OwnedFd;
    type Memory = ();
    type Worker = TreeSize;

    const LEAVES: bool = false;

    fn worker(&self) -> TreeSize {
        TreeSize::default()
    }

    fn retire(&self, worker: TreeSize) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        total.entries += worker.entries;
        total.allocated += worker.allocated;
        total.apparent += worker.apparent;
        total.changed = total.changed.max(worker.changed);
    }

    fn directory<'a>(&self, handle: &'a OwnedFd) -> BorrowedFd<'a> {
        handle.as_fd()
    }

    fn enter(&self, worker: &mut TreeSize, at: &Place<'_, Self>, name: &CStr) -> Result<Entered<Self>> {
        let handle = open_directory(at.handle, name).map_err(at.error("openat", name))?;
        let meta = Meta::of(&handle).map_err(at.error("statx", name))?;
        let content = if meta.mount() == self.mount { Content::Visit } else { Content::Pass };
        if content == Content::Visit {
            worker.count(&meta);
        }
        Ok(Entered { handle, memory: (), content })
    }

    fn reopen(&self, parent: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_directory(parent, node.name()).map_err(node.error("openat"))
    }

    fn climb(&self, child: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_directory(child, c"..").map_err(node.error("openat"))
    }

    fn entry(&self, worker: &mut TreeSize, at: &Place<'_, Self>, entry: &Entry) -> Result<()> {
        let meta = match Meta::of_name(at.handle, &entry.name) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => other.map_err(at.error("statx", &entry.name))?,
        };
        let is_new =
            meta.links() < 2 || self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert(meta.id());
        if is_new {
            worker.count(&meta);
        } else {
            worker.entries += 1;
        }
        Ok(())
    }

    fn leave(&self, _worker: &mut TreeSize, _at: &Place<'_, Self>) -> Result<()> {
        Ok(())
    }
}
