//! [`unpack_tree`]: records become entries below one directory.

use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Mode, OFlags, StatxAttributes, fallocate, fchmod, fremovexattr,
    ftruncate, linkat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::meta::{Meta, set_flags};
use super::record::{Incoming, Opening, Record};
use super::{Position, UnpackOptions};
use crate::copy::Progress;
use crate::entries::{self, FileId, as_path, open_directory, open_quietly};
use crate::error::{Result, TreeError};
use crate::remove::{RemoveOptions, remove_tree};
use crate::xattrs::Reader;

/// Directories that stay open on the way down.
const MOST_OPEN: usize = 64;

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpackReport {
    /// The end; it must be the sender's.
    pub position: Position,
    /// Entries made or changed by this call.
    pub entries: u64,
    /// Bytes of content written by this call.
    pub bytes: u64,
}

/// Makes the tree below `target` what the stream says: an empty directory for a whole stream, the base for one of changes.
///
/// # Behavior
/// Until it is done, the root and every directory in work are closed to everybody else. When it fails, what was made stays;
/// the last position told to `reached` is where it may go on, and records that were applied behind that position may
/// be applied again. Nothing is synced.
///
/// # Errors
/// [`TreeError::Malformed`] for a stream that is not one of ours; [`TreeError::Stream`] with the error of `input`, `UnexpectedEof`
/// for one that was cut; [`TreeError::Call`] naming the entry.
pub fn unpack_tree(
    target: BorrowedFd<'_>,
    input: &mut dyn Read,
    options: UnpackOptions<'_>,
) -> Result<UnpackReport> {
    let mut unpacker = Unpacker::open(target)?;
    let UnpackOptions { from, mut reached } = options;
    let mut position = from;
    loop {
        let Incoming { record, bytes, is_repeated } = Record::read(input)?;
        if is_repeated && (from.is_start() || position != from) {
            return Err(TreeError::Malformed("a place is told where none was left"));
        }
        let is_end = matches!(record, Record::End(_));
        unpacker.apply(record)?;
        if !is_repeated {
            position.advance(&bytes);
            if let Some(reached) = &mut reached {
                let progress = Progress { entries: unpacker.entries, bytes: unpacker.bytes };
                reached(position, progress).map_err(TreeError::Stream)?;
            }
        }
        if is_end {
            return Ok(UnpackReport { position, entries: unpacker.entries, bytes: unpacker.bytes });
        }
    }
}

struct Level {
    name: CString,
    fd: Option<OwnedFd>,
    id: FileId,
}

struct Unpacker {
    levels: Vec<Level>,
    file: Option<(CString, OwnedFd)>,
    mount: (u64, u32, u32),
    xattrs: Reader,
    entries: u64,
    bytes: u64,
}

impl Unpacker {
    fn open(target: BorrowedFd<'_>) -> Result<Self> {
        let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
        let fd = open_directory(target, c".").map_err(at_root("openat"))?;
        let meta = entries::Meta::of(&fd).map_err(at_root("statx"))?;
        let root = Level { name: CString::default(), fd: Some(fd), id: meta.id() };
        let unpacker = Self {
            levels: vec![root],
            file: None,
            mount: meta.mount(),
            xattrs: Reader::new(),
            entries: 0,
            bytes: 0,
        };
        unpacker.close_to_others()?;
        Ok(unpacker)
    }

    fn apply(&mut self, record: Record) -> Result<()> {
        let needs_file = matches!(record, Record::Data(..) | Record::Hole(..) | Record::Close(..));
        if needs_file != self.file.is_some() {
            return Err(TreeError::Malformed("content without a file, or a file that was not closed"));
        }
        match record {
            Record::Enter(name) => self.enter(name),
            Record::Leave(meta) => self.leave(&meta),
            Record::File(name, opening) => self.file(name, opening),
            Record::Data(offset, bytes) => self.data(offset, &bytes),
            Record::Hole(offset, length) => self.hole(offset, length),
            Record::Close(size, meta) => self.close(size, &meta),
            Record::Link(name, path) => self.link(&name, &path),
            Record::Symlink(name, text, meta) => {
                self.remove(&name)?;
                symlinkat(&text, self.top()?, &name).map_err(self.failed("symlinkat", &name))?;
                self.finish_named(&name, FileType::Symlink, &meta)
            }
            Record::Node(name, kind, device, meta) => self.node(&name, kind, device, &meta),
            Record::Remove(name) => self.remove(&name),
            Record::Change(name, meta) => self.change(&name, &meta),
            Record::Flags(path, flags) => self.flags(&path, flags),
            Record::End(meta) => self.end(&meta),
        }
    }

    fn enter(&mut self, name: CString) -> Result<()> {
        let there = match entries::Meta::of_name(self.top()?, &name) {
            Ok(meta) => Some(meta),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(self.failed("statx", &name)(errno)),
        };
        match there {
            Some(meta) if meta.kind() == FileType::Directory => self.free(&name, &meta)?,
            _ => {
                self.remove(&name)?;
                mkdirat(self.top()?, &name, Mode::RWXU).map_err(self.failed("mkdirat", &name))?;
            }
        }
        let fd = open_directory(self.top()?, &name).map_err(self.failed("openat", &name))?;
        let meta = entries::Meta::of(&fd).map_err(self.failed("statx", &name))?;
        if meta.mount() != self.mount {
            return Err(TreeError::MountPoint { path: self.shown(Some(&name)) });
        }
        self.levels.push(Level { name, fd: Some(fd), id: meta.id() });
        if let Some(far) = self.levels.len().checked_sub(MOST_OPEN + 1).filter(|far| *far > 0) {
            self.levels[far].fd = None;
        }
        self.entries += 1;
        self.close_to_others()
    }

    /// Keeps others out of the present directory, and what it would hand down out of its entries.
    fn close_to_others(&self) -> Result<()> {
        let fd = self.top()?;
        for acl in [c"system.posix_acl_default", c"system.posix_acl_access"] {
            match fremovexattr(fd, acl) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(self.own_failed("fremovexattr")(errno)),
            }
        }
        fchmod(fd, Mode::RWXU).map_err(self.own_failed("fchmod"))
    }

    fn leave(&mut self, meta: &Meta) -> Result<()> {
        if self.levels.len() < 2 {
            return Err(TreeError::Malformed("the root is left before the end"));
        }
        self.finish_directory(meta)?;
        let failed = self.own_failed("openat");
        let Some(child) = self.levels.pop() else { return Ok(()) };
        let moved = TreeError::Moved { path: self.shown(None) };
        if let Some(parent) = self.levels.last_mut().filter(|parent| parent.fd.is_none()) {
            let fd = child.fd.as_ref().ok_or(Errno::BADF).and_then(|fd| open_directory(fd, c".."));
            let fd = fd.map_err(&failed)?;
            if entries::Meta::of(&fd).map_err(failed)?.id() != parent.id {
                return Err(moved);
            }
            parent.fd = Some(fd);
        }
        Ok(())
    }

    fn finish_directory(&mut self, meta: &Meta) -> Result<()> {
        let failed = |call: &'static str, path: PathBuf, errno| TreeError::Call { call, path, errno };
        let path = self.shown(None);
        let moved = || TreeError::Moved { path: path.clone() };
        let fd = self.levels.last().and_then(|level| level.fd.as_ref()).ok_or_else(moved)?;
        meta.write_open(fd, &mut self.xattrs).map_err(|(call, errno)| failed(call, path, errno))
    }

    fn file(&mut self, name: CString, opening: Opening) -> Result<()> {
        let fd = match opening {
            Opening::New => {
                self.remove(&name)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(self.top()?, &name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(self.failed("openat", &name))?
            }
            Opening::Kept => {
                self.kept(&name, |kind| kind == FileType::RegularFile)?;
                open_quietly(self.top()?, &name, OFlags::WRONLY).map_err(self.failed("openat", &name))?
            }
        };
        self.entries += 1;
        self.file = Some((name, fd));
        Ok(())
    }

    /// Makes sure that an entry is there and is of a kind, and frees it from flags.
    fn kept(&self, name: &CStr, is_right: impl Fn(FileType) -> bool) -> Result<FileType> {
        let meta = entries::Meta::of_name(self.top()?, name).map_err(self.failed("statx", name))?;
        if !is_right(meta.kind()) {
            return Err(TreeError::Malformed("an entry that is to be changed is of another kind"));
        }
        self.free(name, &meta)?;
        Ok(meta.kind())
    }

    fn free(&self, name: &CStr, meta: &entries::Meta) -> Result<()> {
        if meta
            .attributes()
            .intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND | StatxAttributes::NODUMP)
        {
            set_flags(self.top()?.as_fd(), name, 0);
        }
        Ok(())
    }

    fn opened(&self) -> Result<(&CStr, &OwnedFd)> {
        let open = self.file.as_ref().map(|(name, fd)| (name.as_c_str(), fd));
        open.ok_or(TreeError::Malformed("content without a file"))
    }

    fn data(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        let (name, fd) = self.opened()?;
        while !bytes.is_empty() {
            let written = retry_on_intr(|| pwrite(fd, bytes, offset)).map_err(self.failed("pwrite", name))?;
            if written == 0 {
                return Err(self.failed("pwrite", name)(Errno::IO));
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn hole(&mut self, offset: u64, length: u64) -> Result<()> {
        let (name, fd) = self.opened()?;
        let size = entries::Meta::of(fd).map_err(self.failed("statx", name))?.size();
        let end = offset.saturating_add(length).min(size);
        if offset >= end {
            return Ok(());
        }
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| fallocate(fd, how, offset, end - offset)) {
            Err(Errno::OPNOTSUPP) => self.zeros(offset, end),
            other => other.map_err(self.failed("fallocate", name)),
        }
    }

    /// Writes zeros where the file system has no holes.
    fn zeros(&mut self, mut offset: u64, end: u64) -> Result<()> {
        let zeros = [0; 64 * 1024];
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(zeros.len());
            self.data(offset, &zeros[..length])?;
            offset += length as u64;
        }
        Ok(())
    }

    fn close(&mut self, size: u64, meta: &Meta) -> Result<()> {
        let Some((name, fd)) = self.file.take() else { return Ok(()) };
        ftruncate(&fd, size).map_err(self.failed("ftruncate", &name))?;
        let path = self.shown(Some(&name));
        meta.write_open(&fd, &mut self.xattrs).map_err(|(call, errno)| TreeError::Call { call, path, errno })
    }

    fn link(&mut self, name: &CStr, path: &[CString]) -> Result<()> {
        self.remove(name)?;
        let (last, directory) = self.reach(path)?;
        let directory = directory.as_ref().map_or_else(|| self.root(), Ok)?;
        linkat(directory, last, self.top()?, name, AtFlags::empty()).map_err(self.failed("linkat", name))?;
        self.entries += 1;
        Ok(())
    }

    /// Opens the directory of the last name of a path from the root; `None` is the root.
    fn reach<'p>(&self, path: &'p [CString]) -> Result<(&'p CStr, Option<OwnedFd>)> {
        let (last, above) = path.split_last().ok_or(TreeError::Malformed("a path is empty"))?;
        let mut directory = None;
        for name in above {
            let from = directory.as_ref().map_or_else(|| self.root(), Ok)?;
            directory = Some(open_directory(from, name).map_err(self.failed("openat", name))?);
        }
        Ok((last, directory))
    }

    fn node(&mut self, name: &CStr, kind: u32, device: (u32, u32), meta: &Meta) -> Result<()> {
        let kind = FileType::from_raw_mode(kind);
        if !matches!(
            kind,
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket
        ) {
            return Err(TreeError::Malformed("a node is of no known kind"));
        }
        self.remove(name)?;
        mknodat(self.top()?, name, kind, Mode::RUSR | Mode::WUSR, makedev(device.0, device.1))
            .map_err(self.failed("mknodat", name))?;
        self.finish_named(name, kind, meta)
    }

    fn finish_named(&mut self, name: &CStr, kind: FileType, meta: &Meta) -> Result<()> {
        let path = self.shown(Some(name));
        let directory = self.levels.last().and_then(|level| level.fd.as_ref());
        let directory = directory.ok_or_else(|| TreeError::Moved { path: path.clone() })?;
        meta.write_named(directory.as_fd(), name, kind, &mut self.xattrs)
            .map_err(|(call, errno)| TreeError::Call { call, path, errno })?;
        self.entries += 1;
        Ok(())
    }

    fn change(&mut self, name: &CStr, meta: &Meta) -> Result<()> {
        let kind = self.kept(name, |kind| kind != FileType::Directory)?;
        if kind != FileType::RegularFile {
            return self.finish_named(name, kind, meta);
        }
        let fd = open_quietly(self.top()?, name, OFlags::RDONLY).map_err(self.failed("openat", name))?;
        let path = self.shown(Some(name));
        self.entries += 1;
        meta.write_open(&fd, &mut self.xattrs).map_err(|(call, errno)| TreeError::Call { call, path, errno })
    }

    fn flags(&self, path: &[CString], flags: u8) -> Result<()> {
        let (last, directory) = self.reach(path)?;
        let directory = directory.as_ref().map_or_else(|| self.root(), Ok)?;
        set_flags(directory.as_fd(), last, flags);
        Ok(())
    }

    fn end(&mut self, meta: &Meta) -> Result<()> {
        if self.levels.len() != 1 {
            return Err(TreeError::Malformed("it ends inside a directory"));
        }
        self.finish_directory(meta)
    }

    fn remove(&mut self, name: &CStr) -> Result<()> {
        remove_tree(self.top()?.as_fd(), OsStr::from_bytes(name.to_bytes()), &RemoveOptions::default())
            .map(drop)
    }

    fn root(&self) -> Result<&OwnedFd> {
        self.levels
            .first()
            .and_then(|level| level.fd.as_ref())
            .ok_or_else(|| TreeError::Moved { path: ".".into() })
    }

    fn top(&self) -> Result<&OwnedFd> {
        self.levels
            .last()
            .and_then(|level| level.fd.as_ref())
            .ok_or_else(|| TreeError::Moved { path: self.shown(None) })
    }

    fn shown(&self, name: Option<&CStr>) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str()).chain(name);
        let path: PathBuf = names.map(as_path).collect();
        if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
    }

    fn failed(&self, call: &'static str, name: &CStr) -> impl Fn(Errno) -> TreeError + use<> {
        let path = self.shown(Some(name));
        move |errno| TreeError::Call { call, path: path.clone(), errno }
    }

    fn own_failed(&self, call: &'static str) -> impl Fn(Errno) -> TreeError + use<> {
        let path = self.shown(None);
        move |errno| TreeError::Call { call, path: path.clone(), errno }
    }
}
