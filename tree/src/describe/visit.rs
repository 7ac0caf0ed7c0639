//! The walk that gathers facts.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;

use rustix::fs::{FileType, OFlags, readlinkat};

use super::content::{data_map, digest};
use super::facts::Facts;
use super::{Describer, Holes, Seen};
use crate::entries::{Entry, Meta, open_directory, open_quietly};
use crate::error::Result;
use crate::walk::{Content, Entered, Node, Place, Visit};
use crate::xattrs::{Owner, Reader};

/// A multiple of the block of a content's digest.
const BUFFER: usize = 128 * 1024;

/// What one thread gathered, and its buffers.
pub(super) struct Worker {
    seen: Vec<Seen>,
    xattrs: Reader,
    buffer: Vec<u8>,
}

impl Visit for Describer {
    type Handle = OwnedFd;
    type Memory = ();
    type Worker = Worker;

    const LEAVES: bool = false;

    fn worker(&self) -> Worker {
        Worker { seen: Vec::new(), xattrs: Reader::new(), buffer: vec![0; BUFFER] }
    }

    fn retire(&self, worker: Worker) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(worker.seen);
    }

    fn directory<'a>(&self, handle: &'a OwnedFd) -> BorrowedFd<'a> {
        handle.as_fd()
    }

    fn enter(&self, worker: &mut Worker, at: &Place<'_, Self>, name: &CStr) -> Result<Entered<Self>> {
        let handle = open_directory(at.handle, name).map_err(at.error("openat", name))?;
        let meta = Meta::of(&handle).map_err(at.error("statx", name))?;
        let xattrs = worker.xattrs.read(Owner::Open(handle.as_fd())).map_err(at.error("fgetxattr", name))?;
        worker.seen.push((at.node.path_of(name), Facts::new(&meta, xattrs), None));
        let content = if meta.mount() == self.mount { Content::Visit } else { Content::Pass };
        Ok(Entered { handle, memory: (), content })
    }

    fn reopen(&self, parent: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_directory(parent, node.name()).map_err(node.error("openat"))
    }

    fn climb(&self, child: &OwnedFd, node: &Node<Self>) -> Result<OwnedFd> {
        open_directory(child, c"..").map_err(node.error("openat"))
    }

    fn entry(&self, worker: &mut Worker, at: &Place<'_, Self>, entry: &Entry) -> Result<()> {
        let name = entry.name.as_c_str();
        let (meta, facts) = match entry.kind {
            FileType::RegularFile => self.file(worker, at, name)?,
            _ => special(worker, at, name)?,
        };
        let id = (meta.links() > 1).then(|| meta.id());
        worker.seen.push((at.node.path_of(name), facts, id));
        Ok(())
    }

    fn leave(&self, _worker: &mut Worker, _at: &Place<'_, Self>) -> Result<()> {
        Ok(())
    }
}

impl Describer {
    fn file(&self, worker: &mut Worker, at: &Place<'_, Self>, name: &CStr) -> Result<(Meta, Facts)> {
        let file = open_quietly(at.handle, name, OFlags::RDONLY).map_err(at.error("openat", name))?;
        let meta = Meta::of(&file).map_err(at.error("statx", name))?;
        let xattrs = worker.xattrs.read(Owner::Open(file.as_fd())).map_err(at.error("fgetxattr", name))?;
        let mut facts = Facts::new(&meta, xattrs);
        let map = if meta.allocated() < meta.size() || self.holes == Holes::Compare {
            data_map(&file, meta.size()).map_err(at.error("lseek", name))?
        } else {
            vec![(0, meta.size())]
        };
        let content = digest(&file, meta.size(), &map, &mut worker.buffer);
        facts.content = Some(content.map_err(at.error("pread", name))?);
        facts.data = (self.holes == Holes::Compare).then_some(map);
        Ok((meta, facts))
    }
}

fn special(worker: &mut Worker, at: &Place<'_, Describer>, name: &CStr) -> Result<(Meta, Facts)> {
    let meta = Meta::of_name(at.handle, name).map_err(at.error("statx", name))?;
    let owner = Owner::Name(at.handle.as_fd(), name);
    let xattrs = worker.xattrs.read(owner).map_err(at.error("lgetxattr", name))?;
    let mut facts = Facts::new(&meta, xattrs);
    if meta.kind() == FileType::Symlink {
        let text = readlinkat(at.handle, name, Vec::new()).map_err(at.error("readlinkat", name))?;
        facts.link_text = Some(text.into_bytes());
    }
    Ok((meta, facts))
}
