//! Carries out the changes of a stream below one directory, and nowhere else, whatever the stream says.
//!
//! Every path is opened beneath the directory without following links, content goes only into regular files, and what is cloned
//! comes from the subvolume itself or from its base. `btrfs receive` follows the links that a stream made itself: a stream that links
//! `a` to `/etc` and then writes `a/passwd` writes the host's (`docs/decisions/0014-btrfs-streams-read-by-us.md`).

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use keiki_tree::mark::is_mark;
use rustix::fs::{
    AtFlags, Dev, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, copy_file_range, linkat, lremovexattr, lsetxattr, makedev, mkdirat, mknodat, openat,
    openat2, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, retry_on_intr};
use thiserror::Error;

use crate::stream::{Command, Moment, Node};

/// Why a change could not be made.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// The stream asks for what cannot be.
    #[error("it asks to {verb} `{path}`")]
    Impossible {
        verb: &'static str,
        path: String,
        #[source]
        why: Errno,
    },
    /// The file system does not bear it.
    #[error("cannot {verb} `{path}`")]
    Failed {
        verb: &'static str,
        path: String,
        #[source]
        why: io::Error,
    },
    /// Data of a subvolume that is neither this one nor its base.
    #[error("it takes data from a subvolume that it does not name as its base")]
    Unrelated,
}

type Result<T, E = ApplyError> = std::result::Result<T, E>;

/// A subvolume in the making.
#[derive(Debug)]
pub(crate) struct Target {
    root: OwnedFd,
    /// The identity that the stream gives it.
    identity: [u8; 16],
    /// What it begins as, by the name that the stream has for it.
    base: Option<([u8; 16], OwnedFd)>,
    /// The file that was written last: its data comes in many pieces.
    open: Option<(CString, File)>,
}

/// The directory of an entry, and its name there; `.` for the root itself.
struct Spot {
    directory: OwnedFd,
    name: CString,
}

impl Target {
    /// Begins with an empty directory, or one that holds what the base holds.
    pub(crate) fn new(root: OwnedFd, identity: [u8; 16], base: Option<([u8; 16], OwnedFd)>) -> Self {
        Self { root, identity, base, open: None }
    }

    /// Lets go of the directory.
    pub(crate) fn into_root(self) -> OwnedFd {
        self.root
    }

    /// Makes one change; commands about the subvolume as a whole are the caller's.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Write { path, offset, data } => {
                let file = self.file(path)?;
                file.write_all_at(data, *offset).map_err(failed("write", path))
            }
            Command::Clone { .. } => self.clone_range(command),
            Command::Truncate { path, size } => {
                self.file(path)?.set_len(*size).map_err(failed("truncate", path))
            }
            other => {
                // Names may mean other files from here on.
                self.open = None;
                self.change(other)
            }
        }
    }

    fn change(&self, command: &Command) -> Result<()> {
        const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
        let (verb, path) = subject(command);
        let spot = self.spot(path).map_err(impossible(verb, path))?;
        let Spot { directory, name } = &spot;
        let done = match command {
            Command::MakeFile(_) => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(directory, name, flags, PRIVATE).map(drop)
            }
            Command::MakeDirectory(_) => mkdirat(directory, name, Mode::RWXU),
            Command::MakeNode(_, node) => make_node(&spot, *node),
            Command::MakeSymlink { target, .. } => symlinkat(target, directory, name),
            Command::Rename { to, .. } => {
                let to = self.spot(to).map_err(impossible(verb, to))?;
                renameat(directory, name, &to.directory, &to.name)
            }
            Command::Link { existing, .. } => {
                let old = self.spot(existing).map_err(impossible(verb, existing))?;
                linkat(&old.directory, &old.name, directory, name, AtFlags::empty())
            }
            Command::Unlink(_) => unlinkat(directory, name, AtFlags::empty()),
            Command::RemoveDirectory(_) => unlinkat(directory, name, AtFlags::REMOVEDIR),
            other => change_facts(&spot, other),
        };
        done.map_err(impossible(verb, path))
    }

    /// Opens the directory of an entry.
    fn spot(&self, path: &CStr) -> Result<Spot, Errno> {
        spot_below(&self.root, path)
    }

    /// Opens a regular file for writing, or the one that is open.
    fn file(&mut self, path: &CString) -> Result<&File> {
        let is_open = self.open.as_ref().is_some_and(|(open, _)| open == path);
        if !is_open {
            let opened = open_regular(&self.root, path, OFlags::RDWR);
            self.open = Some((path.clone(), opened.map_err(impossible("write", path))?));
        }
        match &self.open {
            Some((_, file)) => Ok(file),
            None => Err(impossible("write", path)(Errno::NOENT)),
        }
    }

    /// Copies by sharing: on one btrfs the kernel clones what is aligned.
    fn clone_range(&mut self, command: &Command) -> Result<()> {
        let Command::Clone { path, offset, length, of, from, from_offset } = command else { return Ok(()) };
        let source = match &self.base {
            _ if *of == self.identity => &self.root,
            Some((identity, base)) if identity == of => base,
            _ => return Err(ApplyError::Unrelated),
        };
        let source = open_regular(source, from, OFlags::RDONLY).map_err(impossible("clone", from))?;
        let file = self.file(path)?;
        let (mut read, mut written, mut left) = (*from_offset, *offset, *length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
            let copy = || copy_file_range(&source, Some(&mut read), file, Some(&mut written), most);
            match retry_on_intr(copy) {
                Ok(0) => return Err(impossible("clone", from)(Errno::RANGE)),
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(errno) => return Err(impossible("clone", path)(errno)),
            }
        }
        Ok(())
    }
}

/// Returns what a change does, in words, and to what.
fn subject(command: &Command) -> (&'static str, &CStr) {
    match command {
        Command::MakeFile(path) | Command::MakeDirectory(path) | Command::MakeNode(path, _) => ("make", path),
        Command::MakeSymlink { path, .. } | Command::Link { path, .. } => ("link", path),
        Command::Rename { from, .. } => ("rename", from),
        Command::Unlink(path) | Command::RemoveDirectory(path) => ("remove", path),
        Command::SetAttribute { path, .. } | Command::RemoveAttribute { path, .. } => {
            ("change an attribute of", path)
        }
        Command::Write { path, .. } | Command::Clone { path, .. } | Command::Truncate { path, .. } => {
            ("write", path)
        }
        Command::ChangeMode { path, .. } => ("change the mode of", path),
        Command::ChangeOwner { path, .. } => ("change the owner of", path),
        Command::SetTimes { path, .. } => ("set the times of", path),
        Command::Subvolume(_) | Command::Snapshot { .. } | Command::End => ("begin or end", c"."),
    }
}

fn spot_below(root: &OwnedFd, path: &CStr) -> Result<Spot, Errno> {
    let bytes = path.to_bytes();
    if bytes.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..") {
        return Err(Errno::XDEV);
    }
    let (directory, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&[][..], bytes),
    };
    if name.is_empty() && !bytes.is_empty() {
        return Err(Errno::XDEV);
    }
    let or_dot = |part: &[u8]| CString::new(if part.is_empty() { b"." } else { part });
    let (Ok(directory), Ok(name)) = (or_dot(directory), or_dot(name)) else { return Err(Errno::INVAL) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(Spot { directory: openat2(root, &directory, flags, Mode::empty(), beneath)?, name })
}

impl Spot {
    fn look(&self) -> Result<Stat, Errno> {
        statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn is(&self, kind: FileType) -> Result<bool, Errno> {
        Ok(FileType::from_raw_mode(self.look()?.st_mode) == kind)
    }

    /// Returns a path for calls that take no descriptor; only its last name is an entry of the tree.
    fn path(&self) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend(self.name.to_bytes());
        path
    }
}

/// Opens a file that is regular: opening a device would reach the host's, opening a fifo would wait for ever.
fn open_regular(root: &OwnedFd, path: &CStr, access: OFlags) -> Result<File, Errno> {
    let spot = spot_below(root, path)?;
    if !spot.is(FileType::RegularFile)? {
        return Err(Errno::INVAL);
    }
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(&spot.directory, &spot.name, flags, Mode::empty()).map(File::from)
}

fn make_node(spot: &Spot, node: Node) -> Result<(), Errno> {
    let (kind, mode, device) = match node {
        Node::Fifo => (FileType::Fifo, Mode::RUSR | Mode::WUSR, 0),
        Node::Socket => (FileType::Socket, Mode::RUSR | Mode::WUSR, 0),
        Node::Device { mode, number } => {
            (FileType::from_raw_mode(mode), Mode::from_raw_mode(mode), device(number))
        }
    };
    mknodat(&spot.directory, &spot.name, kind, mode, device)
}

/// Unpacks a device number as the kernel packs it (`new_encode_dev`).
fn device(number: u64) -> Dev {
    let low = |bits: u64| u32::try_from(bits).unwrap_or_default();
    makedev(low((number & 0xF_FF00) >> 8), low((number & 0xFF) | ((number >> 12) & 0xF_FF00)))
}

fn change_facts(spot: &Spot, command: &Command) -> Result<(), Errno> {
    match command {
        Command::SetAttribute { name, .. } | Command::RemoveAttribute { name, .. }
            if is_mark(name.to_bytes()) =>
        {
            // The sender's bookkeeping; ours is written at the end.
            Ok(())
        }
        Command::SetAttribute { name, value, .. } => lsetxattr(spot.path(), name, value, XattrFlags::empty()),
        Command::RemoveAttribute { name, .. } => lremovexattr(spot.path(), name),
        Command::ChangeMode { .. } if spot.is(FileType::Symlink)? => Err(Errno::LOOP),
        Command::ChangeMode { mode, .. } => {
            chmodat(&spot.directory, &spot.name, Mode::from_raw_mode(*mode), AtFlags::empty())
        }
        Command::ChangeOwner { user, group, .. } => {
            let (user, group) = (Uid::from_raw(*user), Gid::from_raw(*group));
            chownat(&spot.directory, &spot.name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        }
        Command::SetTimes { accessed, modified, .. } => {
            let times =
                Timestamps { last_access: timespec(*accessed), last_modification: timespec(*modified) };
            utimensat(&spot.directory, &spot.name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
        _ => Err(Errno::INVAL),
    }
}

fn timespec(moment: Moment) -> Timespec {
    Timespec { tv_sec: moment.seconds, tv_nsec: moment.nanoseconds.into() }
}

/// Tells a stream that lies from a file system that cannot.
fn impossible<'a>(verb: &'static str, path: &'a CStr) -> impl Fn(Errno) -> ApplyError + 'a {
    move |why| {
        let path_shown = path.to_string_lossy().into_owned();
        match why {
            Errno::NOSPC
            | Errno::DQUOT
            | Errno::IO
            | Errno::ROFS
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE => ApplyError::Failed { verb, path: path_shown, why: why.into() },
            Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP => {
                ApplyError::Failed { verb, path: path_shown, why: why.into() }
            }
            why => ApplyError::Impossible { verb, path: path_shown, why },
        }
    }
}

fn failed<'a>(verb: &'static str, path: &'a CStr) -> impl Fn(io::Error) -> ApplyError + 'a {
    move |why| match Errno::from_io_error(&why) {
        Some(errno) => impossible(verb, path)(errno),
        None => ApplyError::Failed { verb, path: path.to_string_lossy().into_owned(), why },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use super::*;

    fn open_directory(path: &std::path::Path) -> Result<OwnedFd, Errno> {
        openat(rustix::fs::CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    fn text(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    fn target(root: &std::path::Path) -> Target {
        Target::new(open_directory(root).unwrap(), [1; 16], None)
    }

    fn write(path: &str, data: &[u8]) -> Command {
        Command::Write { path: text(path), offset: 0, data: data.to_vec() }
    }

    fn apply(target: &mut Target, commands: &[Command]) -> Result<()> {
        commands.iter().try_for_each(|command| target.apply(command))
    }

    #[test]
    fn changes_are_made_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut target = target(directory.path());
        apply(
            &mut target,
            &[
                Command::MakeDirectory(text("o256-1-0")),
                Command::MakeFile(text("o257-1-0")),
                write("o257-1-0", b"hello"),
                Command::Rename { from: text("o256-1-0"), to: text("etc") },
                Command::Rename { from: text("o257-1-0"), to: text("etc/motd") },
                Command::Link { path: text("motd"), existing: text("etc/motd") },
                Command::Truncate { path: text("motd"), size: 2 },
                Command::Clone {
                    path: text("motd"),
                    offset: 2,
                    length: 2,
                    of: [1; 16],
                    from: text("etc/motd"),
                    from_offset: 0,
                },
                Command::ChangeMode { path: text("motd"), mode: 0o640 },
                Command::SetTimes {
                    path: text(""),
                    accessed: Moment { seconds: 5, nanoseconds: 6 },
                    modified: Moment { seconds: -7, nanoseconds: 8 },
                },
                Command::MakeNode(text("fifo"), Node::Fifo),
            ],
        )
        .unwrap();
        let found = std::fs::metadata(directory.path().join("etc/motd")).unwrap();
        assert_eq!((found.nlink(), found.mode() & 0o7777), (2, 0o640));
        assert_eq!(std::fs::read(directory.path().join("motd")).unwrap(), b"hehe");
        let root = std::fs::metadata(directory.path()).unwrap();
        assert!(root.mtime() != -7, "the fifo came later");
        assert!(std::fs::metadata(directory.path().join("fifo")).unwrap().file_type().is_fifo());
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let before = std::fs::metadata(&victim).unwrap();
        let link = Command::MakeSymlink { path: text("out"), target: text(outside.path().to_str().unwrap()) };
        let file = Command::MakeSymlink { path: text("file"), target: text(victim.to_str().unwrap()) };
        let owner = |path: &str| Command::ChangeOwner { path: text(path), user: 7, group: 7 };
        for hostile in [
            write("out/victim", b"owned"),
            write("file", b"owned"),
            Command::Truncate { path: text("file"), size: 0 },
            Command::ChangeMode { path: text("file"), mode: 0o777 },
            owner("out/victim"),
            Command::Unlink(text("out/victim")),
            Command::Rename { from: text("out/victim"), to: text("stolen") },
            Command::Link { path: text("stolen"), existing: text("out/victim") },
            Command::MakeFile(text("out/new")),
            Command::MakeFile(text("../new")),
            Command::MakeFile(text("/tmp/keiki-new")),
            Command::MakeFile(text("a/../../new")),
            Command::MakeFile(text("new/")),
            Command::Clone {
                path: text("own"),
                offset: 0,
                length: 8,
                of: [1; 16],
                from: text("file"),
                from_offset: 0,
            },
            Command::Clone {
                path: text("own"),
                offset: 0,
                length: 8,
                of: [2; 16],
                from: text("own"),
                from_offset: 0,
            },
        ] {
            let inside = tempfile::tempdir().unwrap();
            let mut target = target(inside.path());
            apply(&mut target, &[link.clone(), file.clone(), Command::MakeFile(text("own"))]).unwrap();
            let refused = target.apply(&hostile);
            assert!(
                matches!(refused, Err(ApplyError::Impossible { .. } | ApplyError::Unrelated)),
                "{hostile:?}: {refused:?}"
            );
        }
        // These change the link itself.
        let inside = tempfile::tempdir().unwrap();
        apply(&mut target(inside.path()), &[file, owner("file")]).unwrap();
        let after = std::fs::metadata(&victim).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert_eq!((before.mode(), before.uid(), before.mtime()), (after.mode(), after.uid(), after.mtime()));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn content_goes_into_files_only() {
        let inside = tempfile::tempdir().unwrap();
        let mut target = target(inside.path());
        let null = Node::Device { mode: 0o020_666, number: (1 << 8) | 3 };
        target.apply(&Command::MakeNode(text("fifo"), Node::Fifo)).unwrap();
        let made = target.apply(&Command::MakeNode(text("null"), null));
        let paths: &[&str] = if made.is_ok() { &["fifo", "null", ""] } else { &["fifo", ""] };
        for path in paths {
            let refused = target.apply(&write(path, b"x")).unwrap_err();
            assert!(
                matches!(refused, ApplyError::Impossible { why: Errno::INVAL, .. }),
                "{path}: {refused:?}"
            );
        }
    }

    #[test]
    fn device_numbers_are_unpacked_as_the_kernel_packs_them() {
        for (major, minor) in [(1_u64, 3_u64), (8, 1), (240, 200_000), (4095, 1_048_575)] {
            let packed = (minor & 0xFF) | (major << 8) | ((minor & !0xFF) << 12);
            let wanted = makedev(u32::try_from(major).unwrap(), u32::try_from(minor).unwrap());
            assert_eq!(device(packed), wanted, "{major}:{minor}");
        }
    }

    #[test]
    fn the_senders_mark_is_not_taken_over() {
        let inside = tempfile::tempdir().unwrap();
        let name = text("trusted.keiki.id");
        let mark = Command::SetAttribute { path: text(""), name: name.clone(), value: b"somebody".to_vec() };
        apply(&mut target(inside.path()), &[mark, Command::RemoveAttribute { path: text(""), name }])
            .unwrap();
        let root = open_directory(inside.path()).unwrap();
        assert_eq!(keiki_tree::mark::read_mark(std::os::fd::AsFd::as_fd(&root)).unwrap(), None);
    }
}
