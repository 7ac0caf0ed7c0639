//! [`RootDir`]: the only way to reach anything inside a container's tree.
//!
//! What is in there belongs to the container: every component may be a symbolic link that points at the host. The
//! kernel resolves names for us with the tree as their root (`openat2`, `RESOLVE_IN_ROOT`) and without links of
//! `/proc`; what comes out is a descriptor, and mounts are attached upon descriptors, so that no name is resolved twice.
//! The few directories that must be real ones (`/dev`, `/proc`, `/sys`) are opened without any link at all.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::call::{CallError, CallExt, Result};

/// A directory that is the root of everything below it.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

/// What is made when a mount target is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: it is an error.
    Refuse,
    /// A directory, with its parents.
    MakeDirectory,
    /// An empty file, with its parents.
    MakeFile,
}

impl RootDir {
    /// Returns the tree below an open directory.
    #[must_use]
    pub fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens `path` as a process whose root this is would see it.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP` for a link of `/proc`.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(self.0.as_fd(), path, flags, resolve)
    }

    /// Opens `name`, a directory directly below the root that is no link, and makes it when it is missing.
    ///
    /// # Errors
    /// `ENOTDIR` and `ELOOP` when something else is there; `EROFS` when it cannot be made.
    pub fn real_directory(&self, name: &str) -> Result<OwnedFd> {
        let open = || {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            openat2(self.0.as_fd(), Path::new(name), OFlags::PATH | OFlags::DIRECTORY, resolve)
        };
        match open() {
            Err(error) if error.errno == Errno::NOENT => {
                make_directory(self.0.as_fd(), OsStr::new(name))?;
                open()
            }
            other => other,
        }
    }

    /// Opens the place at which something will be mounted.
    ///
    /// # Errors
    /// `ENOENT` when it is missing and may not be made; else what the kernel says.
    pub fn mount_target(&self, path: &Path, missing: Missing) -> Result<OwnedFd> {
        match self.open(path, OFlags::PATH) {
            Err(error) if error.errno == Errno::NOENT && missing != Missing::Refuse => {
                self.make(path, missing)?;
                self.open(path, OFlags::PATH)
            }
            other => other,
        }
    }

    /// Makes `path` with its parents. Parents that exist may be links; what is made never is.
    fn make(&self, path: &Path, missing: Missing) -> Result<()> {
        let names = plain_components(path)?;
        let Some((last, parents)) = names.split_last() else { return Ok(()) };
        let mut so_far = PathBuf::from(".");
        for name in parents {
            self.make_one(&so_far, name, Missing::MakeDirectory)?;
            so_far.push(name);
        }
        self.make_one(&so_far, last, missing)
    }

    fn make_one(&self, parent: &Path, name: &OsStr, missing: Missing) -> Result<()> {
        let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        match missing {
            Missing::Refuse => Ok(()),
            Missing::MakeDirectory => make_directory(parent.as_fd(), name),
            Missing::MakeFile => make_file(parent.as_fd(), name),
        }
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn plain_components(path: &Path) -> Result<Vec<&OsStr>> {
    let refused = || CallError::new(format!("mkdir({path:?})"), Errno::INVAL);
    let named = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    named
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(refused()),
        })
        .collect()
}

fn openat2(directory: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    // The kernel asks for a retry when a rename is under way while it walks upwards.
    const ATTEMPTS: usize = 128;
    let flags = flags | OFlags::CLOEXEC;
    let attempt = || rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve);
    let mut result = attempt();
    for _ in 1..ATTEMPTS {
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
        result = attempt();
    }
    result.of_call(|| format!("openat2(root, {path:?}, {flags:?}, {resolve:?})"))
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other.of_call(|| format!("mkdirat(parent, {name:?})")),
    }
}

fn make_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0) {
        Err(Errno::EXIST) => Ok(()),
        other => other.of_call(|| format!("mknodat(parent, {name:?}, S_IFREG)")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, RootDir) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(directory.path().join("canary")).unwrap();
        let fd = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        (directory, RootDir::new(fd))
    }

    #[test]
    fn links_to_the_host_end_inside_the_tree() {
        let (directory, root) = tree();
        let canary = directory.path().join("canary");
        symlink(&canary, directory.path().join("root/out")).unwrap();
        symlink("../canary", directory.path().join("root/up")).unwrap();
        for target in ["out/made", "up/made"] {
            let result = root.mount_target(Path::new(target), Missing::MakeFile);
            assert!(result.is_err() || !canary.join("made").exists(), "{target}");
        }
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
    }

    #[test]
    fn directories_that_must_be_real_are_refused_as_links_and_made_when_missing() {
        let (directory, root) = tree();
        root.real_directory("proc").unwrap();
        assert!(directory.path().join("root/proc").is_dir());
        symlink("/canary", directory.path().join("root/dev")).unwrap();
        std::fs::write(directory.path().join("root/sys"), "").unwrap();
        assert_eq!(root.real_directory("dev").unwrap_err().errno, Errno::LOOP);
        assert_eq!(root.real_directory("sys").unwrap_err().errno, Errno::NOTDIR);
    }

    #[test]
    fn missing_targets_are_made_with_their_parents_only_when_asked() {
        let (directory, root) = tree();
        let target = Path::new("/a/b/file");
        assert_eq!(root.mount_target(target, Missing::Refuse).unwrap_err().errno, Errno::NOENT);
        root.mount_target(target, Missing::MakeFile).unwrap();
        assert!(directory.path().join("root/a/b/file").is_file());
        root.mount_target(Path::new("c/d"), Missing::MakeDirectory).unwrap();
        assert!(directory.path().join("root/c/d").is_dir());
        assert_eq!(
            root.mount_target(Path::new("x/../y"), Missing::MakeFile).unwrap_err().errno,
            Errno::INVAL
        );
    }
}
