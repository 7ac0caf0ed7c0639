//! Content from the host: an archive or a directory.
//!
//! An archive is opened once. It is scanned whole ([`crate::scan`]), then the same file is read again from its beginning and piped into
//! the system's tar, which keeps what no Rust library does (ACLs, devices, holes, nanoseconds); what tar is given is hashed on the
//! way and must be what was scanned, and the names that tar lists must be those that we read. See `docs/decisions/0002-archives.md`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use keiki_core::context::{Context, Progress};
use keiki_core::engine::Fill;
use keiki_core::tool::{Input, Tool};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::{CopyOptions, TreeError, copy_tree};
use sha2::{Digest, Sha256};

use crate::archive::Archive;
use crate::scan::{Cause, Contents, Limits, NameHash, Refusal, scan};

/// The slowest root filesystem on the slowest disk.
const UNPACK_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// What becomes of device nodes in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// The archive is refused.
    #[default]
    Refuse,
    /// They are left out.
    Skip,
    /// They are made.
    Make,
}

impl FromStr for Devices {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "skip" => Ok(Self::Skip),
            "make" => Ok(Self::Make),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{text}` is not a choice for device nodes"),
            )
            .with_hint("use `refuse`, `skip` or `make`")),
        }
    }
}

/// An archive or a directory of the host.
#[derive(Debug)]
pub struct Local {
    path: PathBuf,
    devices: Devices,
}

impl Local {
    /// Takes the archive or directory at `path`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] and the like when it cannot be looked at; an archive is looked into later.
    pub fn new(path: &Path, devices: Devices) -> Result<Self> {
        let shown = || format!("cannot use `{}` as a root filesystem", path.display());
        std::fs::metadata(path).or_err(shown)?;
        Ok(Self { path: path.to_owned(), devices })
    }

    fn copy(&self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        let shown = || format!("cannot copy `{}`", self.path.display());
        let source = File::open(&self.path).or_err(shown)?;
        let report = |progress: keiki_tree::Progress| {
            context.progress(Progress { entries: progress.entries, bytes: progress.bytes });
        };
        let options = CopyOptions { progress: Some(&report), ..CopyOptions::default() };
        match copy_tree(source.as_fd(), root, &options) {
            Err(inside @ TreeError::TargetInside { .. }) => {
                Err(Error::new(ErrorKind::InvalidArgument, shown()).with_source(inside))
            }
            other => other.map(drop).map_err(std::io::Error::from).or_err(shown),
        }
    }

    fn unpack(&self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        let shown = || format!("cannot unpack `{}`", self.path.display());
        let archive = Archive::open(&self.path)?;
        let stream = archive.stream().or_err(shown)?;
        let room = room(root).or_err(shown)?;
        let contents = scan(stream, self.devices, room).map_err(|refusal| refused(&self.path, refusal))?;
        let (reader, writer) = std::io::pipe().or_err(shown)?;
        let feed = archive.stream().or_err(shown)?;
        let mut index = File::from(
            rustix::fs::memfd_create("keiki-index", rustix::fs::MemfdFlags::CLOEXEC).or_err(shown)?,
        );
        let fed = std::thread::scope(|scope| {
            let feeder = scope.spawn(|| pump(context, feed, writer));
            let call = tar(root, &index).args(self.left_out(&contents));
            let unpacked = call.input(Input::File(reader.into())).timeout(UNPACK_LIMIT).run(context);
            let fed = feeder.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            // tar's own words tell more than the broken pipe that follows from them.
            unpacked.map_err(|error| error.while_doing(shown()))?;
            fed.or_err(shown)
        })?;
        if fed != contents.digest {
            return Err(corrupt(format!("`{}` changed while it was unpacked", self.path.display())));
        }
        if names_of(&mut index).or_err(shown)? != contents.names {
            return Err(corrupt(format!("tar reads other members in `{}` than we do", self.path.display())));
        }
        Ok(())
    }

    /// Device nodes that are not wanted, one an argument: a file of patterns would lose blanks and line breaks of names.
    fn left_out(&self, contents: &Contents) -> Vec<OsString> {
        if self.devices != Devices::Skip {
            return Vec::new();
        }
        let argument = |name: &Vec<u8>| {
            // tar compares without them.
            let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            OsString::from_vec([b"--exclude=", &name[..end]].concat())
        };
        contents.devices.iter().map(argument).collect()
    }
}

impl Fill for Local {
    fn fill(&mut self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        let shown = || format!("cannot use `{}` as a root filesystem", self.path.display());
        let kind = std::fs::metadata(&self.path).or_err(shown)?.file_type();
        if kind.is_dir() {
            return self.copy(context, root);
        }
        if kind.is_file() {
            return self.unpack(context, root);
        }
        // A pipe can be read only once, and would be waited for.
        Err(Error::new(ErrorKind::InvalidArgument, shown()).with_hint("name a file or a directory"))
    }
}

/// Returns what the file system has room for.
fn room(root: BorrowedFd<'_>) -> std::io::Result<Limits> {
    let room = rustix::fs::fstatvfs(root)?;
    // btrfs counts no inodes and says 0 of 0.
    let members = if room.f_files == 0 { u64::MAX } else { room.f_favail };
    Ok(Limits { bytes: room.f_bavail.saturating_mul(room.f_frsize), members })
}

fn corrupt(text: String) -> Error {
    Error::new(ErrorKind::Corrupt, text)
}

fn refused(path: &Path, refusal: Refusal) -> Error {
    let (kind, hint) = match refusal.cause {
        Cause::Unsound => (ErrorKind::InvalidArgument, None),
        Cause::TooLarge => (ErrorKind::NoSpace, None),
        Cause::Device => (
            ErrorKind::InvalidArgument,
            Some("`--devices skip` leaves device nodes out, `--devices make` makes them"),
        ),
    };
    let error = Error::new(kind, format!("the archive `{}` is refused", path.display())).with_source(refusal);
    hint.into_iter().fold(error, Error::with_hint)
}

/// The system's tar, told to keep everything and to believe nothing.
fn tar(root: BorrowedFd<'_>, index: &File) -> keiki_core::tool::Call {
    // Through our own descriptor: the volume's mount is on nobody's mount table, so there is no other path to it.
    let directory = format!("--directory=/proc/{}/fd/{}", std::process::id(), root.as_raw_fd());
    // What it says that it unpacks.
    let index = format!("--index-file=/proc/{}/fd/{}", std::process::id(), index.as_raw_fd());
    Tool::new("tar", "tar").call().args([
        "--extract",
        "--file=-",
        "--numeric-owner",
        "--same-owner",
        "--preserve-permissions",
        "--delay-directory-restore",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        // Our marks, and what tells overlayfs to hide or redirect, never come from an archive.
        "--xattrs-exclude=trusted.keiki.*",
        "--xattrs-exclude=user.keiki.*",
        "--xattrs-exclude=trusted.overlay.*",
        "--xattrs-exclude=user.overlay.*",
        "--no-wildcards",
        "--anchored",
        "--verbose",
        "--quoting-style=literal",
        &index,
        &directory,
    ])
}

/// Feeds tar and returns the hash of what it was given.
fn pump(context: &Context, mut from: impl Read, mut to: impl Write) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut progress = Progress::default();
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..count]);
        match to.write_all(&buffer[..count]) {
            // tar stops reading at the end mark; the padding behind it is hashed all the same.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        progress.bytes += count as u64;
        context.progress(progress);
    }
}

/// Returns the hash of the names that tar has listed.
fn names_of(index: &mut File) -> std::io::Result<[u8; 32]> {
    index.seek(SeekFrom::Start(0))?;
    let mut lines = BufReader::new(index);
    let (mut names, mut line) = (NameHash::default(), Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        names.add(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(names.finish())
}
