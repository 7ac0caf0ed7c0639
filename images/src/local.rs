//! Content from the host: an archive or a directory.
//!
//! An archive is opened once. It is scanned whole ([`crate::scan`]), then the same file is read again from its beginning and piped into
//! the system's tar, which keeps what no Rust library does (ACLs, devices, holes, nanoseconds); what tar is given is hashed on the
//! way and must be what was scanned. See `docs/decisions/0002-archives.md`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use keiki_core::context::{Context, Progress};
use keiki_core::engine::Fill;
use keiki_core::tool::{Input, Tool};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::{CopyOptions, copy_tree};
use sha2::{Digest, Sha256};

use crate::archive::Archive;
use crate::scan::{Contents, scan};

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
        copy_tree(source.as_fd(), root, &options).map(drop).map_err(std::io::Error::from).or_err(shown)
    }

    fn unpack(&self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        let shown = || format!("cannot unpack `{}`", self.path.display());
        let archive = Archive::open(&self.path)?;
        let stream = archive.stream().or_err(shown)?;
        let contents = scan(stream, self.devices).map_err(|refusal| refused(&self.path, refusal))?;
        let (reader, writer) = std::io::pipe().or_err(shown)?;
        let feed = archive.stream().or_err(shown)?;
        let skip =
            (self.devices == Devices::Skip).then(|| exclude_list(&contents)).transpose().or_err(shown)?;
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| pump(context, feed, writer));
            let call =
                tar(root).args(skip.iter().map(|file| {
                    format!("--exclude-from=/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
                }));
            let unpacked = call.input(Input::File(reader.into())).timeout(UNPACK_LIMIT).run(context);
            let fed = feeder.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            // tar's own words tell more than the broken pipe that follows from them.
            unpacked.map_err(|error| error.while_doing(shown()))?;
            if fed.or_err(shown)? == contents.digest {
                return Ok(());
            }
            Err(Error::new(
                ErrorKind::Corrupt,
                format!("`{}` changed while it was unpacked", self.path.display()),
            ))
        })
    }
}

impl Fill for Local {
    fn fill(&mut self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        if self.path.is_dir() { self.copy(context, root) } else { self.unpack(context, root) }
    }
}

fn refused(path: &Path, refusal: crate::scan::Refusal) -> Error {
    let device = refusal.reason.contains("device node");
    let error =
        Error::new(ErrorKind::InvalidArgument, format!("the archive `{}` is refused", path.display()))
            .with_source(refusal);
    if device {
        return error.with_hint("`--devices skip` leaves device nodes out, `--devices make` makes them");
    }
    error
}

/// The system's tar, told to keep everything and to believe nothing.
fn tar(root: BorrowedFd<'_>) -> keiki_core::tool::Call {
    // Through our own descriptor: the volume's mount is on nobody's mount table, so there is no other path to it.
    let directory = format!("--directory=/proc/{}/fd/{}", std::process::id(), root.as_raw_fd());
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

/// Names to leave out, one a line, in a file that vanishes with its descriptor.
fn exclude_list(contents: &Contents) -> std::io::Result<File> {
    let fd = rustix::fs::memfd_create("keiki-exclude", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    for name in &contents.devices {
        file.write_all(name)?;
        file.write_all(b"\n")?;
    }
    Ok(file)
}
