//! [`pack_tree`]: the walk that makes the records.
//!
//! Directories far above the present one are closed and found again by `..`, which must be the directory that we came
//! from; so depth costs no descriptors. Against a base, a directory is entered only when something in it is told.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, OFlags, readlinkat};
use rustix::io::Errno;

use super::compare::{Claims, differences, is_same_special, is_settled, look_up};
use super::emit::Emitter;
use super::meta::Meta;
use super::record::{DATA_MAX, Opening, Record};
use super::{PackOptions, Position};
use crate::copy::Progress;
use crate::describe::{data_map, read_fully};
use crate::entries::{self, Entry, FileId, as_path, open_directory, open_quietly, read_entries};
use crate::error::{Result, TreeError};
use crate::xattrs::{Owner, Reader};

/// Directories that stay open on the way down.
const MOST_OPEN: usize = 64;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackReport {
    /// The end; the receiver must come to the same.
    pub position: Position,
    /// Entries gone through, the root not counted.
    pub entries: u64,
    /// Entries that were passed over because the base has them.
    pub unchanged: u64,
    /// Bytes of content in the stream.
    pub bytes: u64,
}

/// Writes the tree below `source`, the root's own metadata included, into `output`.
///
/// # Behavior
/// The source is not changed; file systems mounted in it are not entered.
///
/// # Errors
/// [`TreeError::SourceChanged`] when it is written meanwhile; [`TreeError::NotTheSame`] when it is not what it was when the
/// stream that is to be continued was begun; [`TreeError::Stream`] with the error of `output`.
pub fn pack_tree(
    source: BorrowedFd<'_>,
    output: &mut dyn Write,
    options: &PackOptions<'_>,
) -> Result<PackReport> {
    let mut packer = Packer {
        emitter: Emitter::new(output, options.from),
        options,
        levels: Vec::new(),
        mount: (0, 0, 0),
        links: HashMap::new(),
        claims: Claims::default(),
        flagged: Vec::new(),
        xattrs: Reader::new(),
        report: PackReport::default(),
    };
    packer.begin(source)?;
    packer.walk()?;
    let mut report = packer.report;
    report.position = packer.emitter.finish()?;
    Ok(report)
}

/// A directory that is both in the new and in the old tree.
struct Older {
    fd: Option<OwnedFd>,
    id: FileId,
    meta: Meta,
}

/// A directory on the way down.
struct Level {
    name: CString,
    fd: Option<OwnedFd>,
    entry: entries::Meta,
    meta: Meta,
    older: Option<Older>,
    /// What was not visited yet, last name first.
    rest: Vec<Entry>,
    /// Whether the receiver was told to enter it.
    is_entered: bool,
}

/// A file with several names whose first name was visited.
struct Linked {
    path: Vec<CString>,
    /// The inode of the older tree that goes on as this one.
    kept: Option<FileId>,
}

struct Packer<'a> {
    emitter: Emitter<'a>,
    options: &'a PackOptions<'a>,
    levels: Vec<Level>,
    mount: (u64, u32, u32),
    links: HashMap<FileId, Linked>,
    claims: Claims,
    flagged: Vec<(Vec<CString>, u8)>,
    xattrs: Reader,
    report: PackReport,
}

impl Packer<'_> {
    fn begin(&mut self, source: BorrowedFd<'_>) -> Result<()> {
        let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
        let fd = open_directory(source, c".").map_err(at_root("openat"))?;
        self.mount = entries::Meta::of(&fd).map_err(at_root("statx"))?.mount();
        let older = match self.options.base {
            None => None,
            Some(base) => {
                let fd = open_directory(base.root, c".").map_err(at_root("openat"))?;
                Some(self.older(fd).map_err(at_root("statx"))?)
            }
        };
        self.push(CString::default(), fd, older)
    }

    fn walk(&mut self) -> Result<()> {
        while let Some(level) = self.levels.last_mut() {
            match level.rest.pop() {
                Some(entry) => {
                    self.report.entries += 1;
                    if entry.kind == FileType::Directory {
                        self.descend(entry)
                    } else {
                        self.entry(&entry.name)
                    }?;
                }
                None => self.ascend()?,
            }
            if let Some(progress) = self.options.progress {
                progress(Progress { entries: self.report.entries, bytes: self.report.bytes });
            }
        }
        Ok(())
    }

    fn older(&mut self, fd: OwnedFd) -> std::result::Result<Older, Errno> {
        let entry = entries::Meta::of(&fd)?;
        let meta = Meta::of(&entry, self.xattrs.read(Owner::Open(fd.as_fd()))?);
        Ok(Older { fd: Some(fd), id: entry.id(), meta })
    }

    fn descend(&mut self, entry: Entry) -> Result<()> {
        let name = entry.name;
        let fd = open_directory(self.top()?, &name).map_err(|errno| self.vanished(&name, errno))?;
        let older = match self.older_of(&name)? {
            Some(meta) if meta.kind() == FileType::Directory => {
                let directory = self.older_top().ok_or_else(|| self.moved())?;
                let fd = open_directory(directory, &name).map_err(self.failed("openat", &name))?;
                let failed = self.failed("statx", &name);
                Some(self.older(fd).map_err(failed)?)
            }
            _ => None,
        };
        self.push(name, fd, older)
    }

    /// Goes into a directory: what is gone is told first, then everything by name.
    fn push(&mut self, name: CString, fd: OwnedFd, older: Option<Older>) -> Result<()> {
        let failed = |call| self.failed(call, &name);
        let entry = entries::Meta::of(&fd).map_err(failed("statx"))?;
        let (list_failed, attributes_failed, older_failed) =
            (failed("getdents64"), failed("fgetxattr"), failed("getdents64"));
        let mut rest = if entry.mount() == self.mount {
            read_entries(fd.as_fd()).map_err(list_failed)?
        } else {
            Vec::new()
        };
        rest.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        let xattrs = self.xattrs.read(Owner::Open(fd.as_fd())).map_err(attributes_failed)?;
        let mut gone = match older.as_ref().and_then(|older| older.fd.as_ref()) {
            Some(fd) => read_entries(fd.as_fd()).map_err(older_failed)?,
            None => Vec::new(),
        };
        let present: HashSet<&CStr> = rest.iter().map(|entry| entry.name.as_c_str()).collect();
        gone.retain(|entry| !present.contains(entry.name.as_c_str()));
        gone.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let is_new = older.is_none();
        let meta = Meta::of(&entry, xattrs);
        let is_entered = self.levels.is_empty();
        self.levels.push(Level { name, fd: Some(fd), entry, meta, older, rest, is_entered });
        if let Some(far) = self.levels.len().checked_sub(MOST_OPEN + 1) {
            self.levels[far].fd = None;
            self.levels[far].older.iter_mut().for_each(|older| older.fd = None);
        }
        if is_new && !is_entered {
            self.enter()?;
        }
        gone.into_iter().try_for_each(|entry| self.tell(&Record::Remove(entry.name)))
    }

    /// Leaves the directory whose entries are all visited.
    fn ascend(&mut self) -> Result<()> {
        let failed = self.own_failed("statx");
        let now = entries::Meta::of(self.top()?).map_err(failed)?;
        let path = self.path();
        let Some(level) = self.levels.last() else { return Ok(()) };
        if !level.entry.is_unchanged(&now) {
            return Err(TreeError::SourceChanged { path: self.shown(None) });
        }
        let meta = level.meta.clone();
        if self.levels.len() == 1 {
            for (path, flags) in std::mem::take(&mut self.flagged) {
                self.emitter.emit(&Record::Flags(path, flags))?;
            }
            self.levels.clear();
            return self.emitter.emit(&Record::End(meta));
        }
        let differs = level.older.as_ref().is_none_or(|older| !older.meta.is_like(&meta));
        if level.is_entered || differs {
            self.enter()?;
            self.note_flags(path, meta.flags);
            self.emitter.emit(&Record::Leave(meta))?;
        } else {
            self.report.unchanged += 1;
        }
        self.climb()
    }

    /// Opens the directory above again where it was closed.
    fn climb(&mut self) -> Result<()> {
        let failed = self.own_failed("openat");
        let Some(child) = self.levels.pop() else { return Ok(()) };
        let moved = self.moved();
        let Some(parent) = self.levels.last_mut() else { return Ok(()) };
        if parent.fd.is_none() {
            let fd = child.fd.as_ref().ok_or(Errno::BADF).and_then(|fd| open_directory(fd, c".."));
            let fd = fd.map_err(&failed)?;
            if entries::Meta::of(&fd).map_err(failed)?.id() != parent.entry.id() {
                return Err(moved);
            }
            parent.fd = Some(fd);
            self.find_older()?;
        }
        Ok(())
    }

    /// Opens the older directory again, from the older root: the way up is another one there.
    fn find_older(&mut self) -> Result<()> {
        let Some(base) = self.options.base else { return Ok(()) };
        let failed = self.own_failed("openat");
        let moved = self.moved();
        let names: Vec<CString> = self.path();
        let Some(older) = self.levels.last_mut().and_then(|level| level.older.as_mut()) else {
            return Ok(());
        };
        let mut fd = open_directory(base.root, c".").map_err(&failed)?;
        for name in names {
            fd = open_directory(&fd, &name).map_err(&failed)?;
        }
        if entries::Meta::of(&fd).map_err(failed)?.id() != older.id {
            return Err(moved);
        }
        older.fd = Some(fd);
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<()> {
        let meta = entries::Meta::of_name(self.top()?, name).map_err(|errno| self.vanished(name, errno))?;
        let older = self.older_of(name)?;
        if let Some(first) = self.links.get(&meta.id()).filter(|_| meta.links() > 1) {
            if first.kept.is_some() && older.as_ref().map(entries::Meta::id) == first.kept {
                self.report.unchanged += 1;
                return Ok(());
            }
            let path = first.path.clone();
            return self.tell(&Record::Link(name.to_owned(), path));
        }
        let is_same = match (&older, self.older_top()) {
            (Some(older), Some(directory)) => {
                let same = is_same_special((directory, older), (self.top()?, &meta), name)
                    .map_err(self.failed("readlinkat", name))?;
                same && self.claims.may_keep(older, &meta)
            }
            _ => false,
        };
        let older = older.filter(|_| is_same);
        if meta.links() > 1 {
            let (path, kept) = (self.path_of(name), older.as_ref().map(entries::Meta::id));
            self.links.insert(meta.id(), Linked { path, kept });
        }
        if older
            .as_ref()
            .is_some_and(|older| is_settled(older, &meta, self.options.base.and_then(|base| base.taken)))
        {
            self.report.unchanged += 1;
            return Ok(());
        }
        match meta.kind() {
            FileType::RegularFile => self.file(name, &meta, older.as_ref()),
            _ => self.special(name, &meta, older.as_ref()),
        }
    }

    fn special(&mut self, name: &CStr, entry: &entries::Meta, older: Option<&entries::Meta>) -> Result<()> {
        let directory = self.top()?.as_fd();
        let failed = self.failed("lgetxattr", name);
        // The reader and the level are two fields; the descriptor is copied so that both can be used at once.
        let directory = directory.try_clone_to_owned().map_err(TreeError::Stream)?;
        let xattrs = self.xattrs.read(Owner::Name(directory.as_fd(), name)).map_err(&failed)?;
        let meta = Meta::of(entry, xattrs);
        if let Some(older) = older {
            return self.change(name, meta, older);
        }
        let record = match entry.kind() {
            FileType::Symlink => {
                let text =
                    readlinkat(&directory, name, Vec::new()).map_err(self.failed("readlinkat", name))?;
                Record::Symlink(name.to_owned(), text, meta)
            }
            kind
            @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket) => {
                Record::Node(name.to_owned(), kind.as_raw_mode(), entry.device(), meta)
            }
            _ => return Err(TreeError::SourceChanged { path: self.shown(Some(name)) }),
        };
        self.tell(&record)
    }

    /// Tells metadata alone, where it differs.
    fn change(&mut self, name: &CStr, meta: Meta, older: &entries::Meta) -> Result<()> {
        if self.older_meta(name, older)?.is_like(&meta) {
            self.report.unchanged += 1;
            return Ok(());
        }
        self.note_flags(self.path_of(name), meta.flags);
        self.tell(&Record::Change(name.to_owned(), meta))
    }

    fn older_meta(&mut self, name: &CStr, older: &entries::Meta) -> Result<Meta> {
        let failed = self.failed("lgetxattr", name);
        let moved = self.moved();
        let Some(Older { fd: Some(fd), .. }) = self.levels.last().and_then(|level| level.older.as_ref())
        else {
            return Err(moved);
        };
        let xattrs = self.xattrs.read(Owner::Name(fd.as_fd(), name)).map_err(failed)?;
        Ok(Meta::of(older, xattrs))
    }

    fn file(&mut self, name: &CStr, seen: &entries::Meta, older: Option<&entries::Meta>) -> Result<()> {
        let fd =
            open_quietly(self.top()?, name, OFlags::RDONLY).map_err(|errno| self.vanished(name, errno))?;
        let entry = entries::Meta::of(&fd).map_err(self.failed("statx", name))?;
        if entry.id() != seen.id() || entry.kind() != FileType::RegularFile {
            return Err(TreeError::SourceChanged { path: self.shown(Some(name)) });
        }
        let failed = self.failed("fgetxattr", name);
        let meta = Meta::of(&entry, self.xattrs.read(Owner::Open(fd.as_fd())).map_err(failed)?);
        // A file that is mounted upon another is an empty one, as for copies.
        let size = if entry.mount() == self.mount { entry.size() } else { 0 };
        match older {
            Some(older) => self.changed_file(name, (&fd, size), meta, older)?,
            None => self.whole_file(name, (&fd, size), meta)?,
        }
        let now = entries::Meta::of(&fd).map_err(self.failed("statx", name))?;
        if entry.is_unchanged(&now) {
            return Ok(());
        }
        Err(TreeError::SourceChanged { path: self.shown(Some(name)) })
    }

    fn whole_file(&mut self, name: &CStr, (fd, size): (&OwnedFd, u64), meta: Meta) -> Result<()> {
        self.note_flags(self.path_of(name), meta.flags);
        self.tell(&Record::File(name.to_owned(), Opening::New))?;
        for (start, stop) in data_map(fd, size).map_err(self.failed("lseek", name))? {
            let mut offset = start;
            while offset < stop {
                let wanted = usize::try_from(stop - offset).unwrap_or(usize::MAX).min(DATA_MAX);
                let mut bytes = vec![0; wanted];
                let read = read_fully(fd, &mut bytes, offset).map_err(self.failed("pread", name))?;
                if read == 0 {
                    return Err(TreeError::SourceChanged { path: self.shown(Some(name)) });
                }
                bytes.truncate(read);
                self.data(&Record::Data(offset, bytes))?;
                offset += read as u64;
            }
        }
        self.emitter.emit(&Record::Close(size, meta))
    }

    fn changed_file(
        &mut self,
        name: &CStr,
        (fd, size): (&OwnedFd, u64),
        meta: Meta,
        older: &entries::Meta,
    ) -> Result<()> {
        let directory = self.older_top().ok_or_else(|| self.moved())?;
        let old = open_quietly(directory, name, OFlags::RDONLY).map_err(self.failed("openat", name))?;
        let shown = self.shown(Some(name));
        let mut is_open = false;
        differences::<Difference>((&old, older.size()), (fd, size), |stretch| {
            if !is_open {
                self.tell(&Record::File(name.to_owned(), Opening::Kept))?;
                is_open = true;
            }
            Ok(self.data(&stretch)?)
        })
        .map_err(|difference| difference.at(shown))?;
        if !is_open && size == older.size() {
            return self.change(name, meta, older);
        }
        if !is_open {
            self.tell(&Record::File(name.to_owned(), Opening::Kept))?;
        }
        self.note_flags(self.path_of(name), meta.flags);
        self.emitter.emit(&Record::Close(size, meta))
    }

    fn data(&mut self, record: &Record) -> Result<()> {
        if let Record::Data(_, bytes) = record {
            self.report.bytes += bytes.len() as u64;
        }
        self.emitter.emit(record)
    }

    /// Tells a record about an entry of the present directory.
    fn tell(&mut self, record: &Record) -> Result<()> {
        self.enter()?;
        self.emitter.emit(record)
    }

    /// Tells the receiver to go where we are.
    fn enter(&mut self) -> Result<()> {
        for level in self.levels.iter_mut().filter(|level| !level.is_entered) {
            level.is_entered = true;
            self.emitter.emit(&Record::Enter(level.name.clone()))?;
        }
        Ok(())
    }

    fn note_flags(&mut self, path: Vec<CString>, flags: u8) {
        if flags != 0 {
            self.flagged.push((path, flags));
        }
    }

    fn top(&self) -> Result<&OwnedFd> {
        self.levels.last().and_then(|level| level.fd.as_ref()).ok_or_else(|| self.moved())
    }

    fn older_top(&self) -> Option<&OwnedFd> {
        self.levels.last()?.older.as_ref()?.fd.as_ref()
    }

    fn older_of(&self, name: &CStr) -> Result<Option<entries::Meta>> {
        match self.older_top() {
            Some(directory) => look_up(directory, name).map_err(self.failed("statx", name)),
            None => Ok(None),
        }
    }

    fn path(&self) -> Vec<CString> {
        self.levels.iter().skip(1).map(|level| level.name.clone()).collect()
    }

    fn path_of(&self, name: &CStr) -> Vec<CString> {
        let mut path = self.path();
        path.push(name.to_owned());
        path
    }

    fn shown(&self, name: Option<&CStr>) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str()).chain(name);
        let path: PathBuf = names.map(as_path).collect();
        if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
    }

    fn moved(&self) -> TreeError {
        TreeError::Moved { path: self.shown(None) }
    }

    fn vanished(&self, name: &CStr, errno: Errno) -> TreeError {
        let path = self.shown(Some(name));
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => TreeError::SourceChanged { path },
            errno => TreeError::Call { call: "openat", path, errno },
        }
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

/// Why a comparison ended: reading failed, or telling did.
enum Difference {
    Read(Errno),
    Tell(TreeError),
}

impl From<Errno> for Difference {
    fn from(errno: Errno) -> Self {
        Self::Read(errno)
    }
}

impl From<TreeError> for Difference {
    fn from(error: TreeError) -> Self {
        Self::Tell(error)
    }
}

impl Difference {
    fn at(self, path: PathBuf) -> TreeError {
        match self {
            Self::Read(errno) => TreeError::Call { call: "pread", path, errno },
            Self::Tell(error) => error,
        }
    }
}
