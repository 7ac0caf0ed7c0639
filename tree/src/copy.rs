//! [`copy_tree`]: a copy of a tree with nothing lost.
//!
//! What is kept: types, contents with their holes, permission bits with setuid, setgid and sticky, owners, access and
//! modification times to the nanosecond, every extended attribute (ACLs, file capabilities and labels are among them)
//! except our own marks, hard links within the tree, symbolic links, devices, pipes and sockets, and, where the file
//! system lets us, the flags immutable, append-only and no-dump (not on the root, which must stay markable).
//! What cannot be kept: inode numbers, times of change and birth, links to names outside the tree.
//!
//! Order within an entry: content, owner (which clears setuid and capabilities), attributes, mode, times. Directories
//! get theirs when everything below is done; until then they and the root are closed to everybody else, so a
//! half-made copy shows nobody a file that its directory would have hidden. Flags come at the very end.
//!
//! Contents are shared by `FICLONE` where the file system can. One answer of "cannot" is enough: a walk never leaves
//! one mount on either side, so there is one pair of devices a copy. Else bytes go by `copy_file_range`, else by reading and
//! writing, in both cases around holes.

use std::ffi::OsStr;
use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::entries::FileId;
use crate::error::Result;
use crate::walk::{WalkOptions, walk};

mod content;
mod directory;
mod entry;
mod flags;
mod links;

use content::Contents;
use directory::open_roots;
use flags::Flags;
use links::Links;

/// Whether blocks may be shared between source and copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflink {
    /// Where the file system can; else bytes are copied.
    #[default]
    Auto,
    /// Never: every byte is copied.
    Never,
    /// Always; a file that cannot be shared is an error.
    Require,
}

/// How far a copy has come; both fields only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files, directories and other entries finished.
    pub entries: u64,
    /// Bytes of content finished.
    pub bytes: u64,
}

/// How a tree is copied.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// Whether blocks may be shared.
    pub reflink: Reflink,
    /// How many threads work; `None` is twice the processors, at most eight.
    pub workers: Option<NonZeroUsize>,
    /// Is told how far the copy has come; called from any worker, after every directory.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Names directly below the root that are left out.
    pub exclude: &'a [&'a OsStr],
}

impl fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("reflink", &self.reflink)
            .field("workers", &self.workers)
            .field("exclude", &self.exclude)
            .finish_non_exhaustive()
    }
}

/// By which means content got into a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Every block is shared with the source.
    Reflink,
    /// Bytes were copied, at least for some files.
    Copy,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyReport {
    /// Entries made, the root not counted.
    pub entries: u64,
    /// Directories among them.
    pub directories: u64,
    /// Names that became hard links to a file copied before.
    pub hard_links: u64,
    /// Bytes of content reachable in the copy, holes not counted, hard links counted once.
    pub bytes: u64,
    /// Files whose blocks are shared with the source.
    pub reflinked_files: u64,
    /// Their bytes.
    pub reflinked_bytes: u64,
    /// Files with content whose bytes were copied.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files in which holes were kept by copying around them.
    pub sparse_files: u64,
}

impl CopyReport {
    /// Returns by which means content got into the copy; a tree without content counts as copied.
    #[must_use]
    pub fn means(&self) -> Means {
        if self.copied_files == 0 && self.reflinked_files > 0 { Means::Reflink } else { Means::Copy }
    }

    fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.directories += other.directories;
        self.hard_links += other.hard_links;
        self.bytes += other.bytes;
        self.reflinked_files += other.reflinked_files;
        self.reflinked_bytes += other.reflinked_bytes;
        self.copied_files += other.copied_files;
        self.copied_bytes += other.copied_bytes;
        self.sparse_files += other.sparse_files;
    }
}

/// Copies the content and the root directory's own metadata of `source` into the empty directory `target`.
///
/// # Behavior
/// The source is not changed. Its access times stay where the kernel lets us say so, except those of symbolic links. File systems
/// mounted in it are not entered: their mount points become empty directories. When it fails, what was made so far
/// stays for the caller to remove. Nothing is synced.
///
/// # Requires
/// `CAP_CHOWN`, `CAP_MKNOD` and `CAP_SYS_ADMIN` for foreign owners, devices and `trusted.*` attributes; `/proc`.
///
/// # Errors
/// [`TreeError::Call`](crate::TreeError::Call) naming the entry, with `EEXIST` where the target is not empty;
/// [`TreeError::SourceChanged`](crate::TreeError::SourceChanged) when the source is written meanwhile;
/// [`TreeError::ReflinkRefused`](crate::TreeError::ReflinkRefused).
pub fn copy_tree(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    options: &CopyOptions<'_>,
) -> Result<CopyReport> {
    let (root, memory) = open_roots(source, target)?;
    let copier = Copier {
        mount: memory.mount(),
        target: memory.target(),
        contents: Contents::new(options.reflink),
        links: Links::default(),
        flags: Flags::default(),
        report: Mutex::default(),
        entries: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        progress: options.progress,
    };
    let how = WalkOptions { workers: options.workers, exclude: options.exclude };
    walk(&copier, root, memory, how, |copier| copier.set_flags())?;
    Ok(copier.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// One copy in progress.
struct Copier<'a> {
    /// The mount that is not left.
    mount: (u64, u32, u32),
    /// The root of the copy, which must not be met in the source.
    target: FileId,
    contents: Contents,
    links: Links<Self>,
    flags: Flags<Self>,
    report: Mutex<CopyReport>,
    entries: AtomicU64,
    bytes: AtomicU64,
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Copier<'_> {
    /// Tells the caller what a worker has done since it last told.
    fn announce(&self, worker: &mut Worker) {
        let Some(progress) = self.progress else { return };
        let (entries, bytes) = (worker.report.entries, worker.report.bytes);
        let new = (entries - worker.announced.entries, bytes - worker.announced.bytes);
        worker.announced = Progress { entries, bytes };
        progress(Progress {
            entries: self.entries.fetch_add(new.0, Ordering::Relaxed) + new.0,
            bytes: self.bytes.fetch_add(new.1, Ordering::Relaxed) + new.1,
        });
    }
}

/// What one thread keeps to itself.
struct Worker {
    report: CopyReport,
    announced: Progress,
    xattrs: crate::xattrs::Reader,
    buffer: Vec<u8>,
}
