//! Mounts by descriptor: one wrapper a call, and errors that read like strace.
//!
//! - [`FsContext`]: a file system being configured (`fsopen`, `fsconfig`, `fsmount`), with the kernel's own words.
//! - [`clone_tree`], [`attach`], [`set_attributes`]: a mount as a file descriptor, on nobody's table until it is attached.
//! - [`unmount`], [`mount_classic`]: the old calls, for what the new ones cannot do.
//! - [`table`]: `/proc/*/mountinfo`, parsed. [`holders`]: which process keeps a directory busy.
//! - [`private`]: a thread of its own in a private mount namespace.
//!
//! What it does not do: no policy and no fallback; it never changes the caller's mount namespace unless told a place.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsPickFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

mod attributes;
mod context;
pub mod holders;
pub mod private;
pub mod table;

pub use attributes::{Attributes, Propagation, Reach, set_attributes};
pub use context::{FsContext, VALUE_MAX};

/// The result of every call here.
pub type Result<T, E = MountError> = std::result::Result<T, E>;

/// A refused call: the call as strace would print it, the errno, and what the kernel logged about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MountError {
    /// The call with its arguments.
    pub call: String,
    /// Why it was refused.
    pub errno: Errno,
    /// Messages of the file system context, without their severity.
    pub messages: Vec<String>,
}

impl MountError {
    /// Returns the error of a call about which the kernel logged nothing.
    #[must_use]
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno, messages: Vec::new() }
    }

    /// Returns whether the kernel does not have the call at all.
    #[must_use]
    pub fn is_missing_call(&self) -> bool {
        self.errno == Errno::NOSYS
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, io::Error::from(self.errno))?;
        if !self.messages.is_empty() {
            write!(f, ": the kernel says: {}", self.messages.join("; "))?;
        }
        Ok(())
    }
}

impl From<MountError> for io::Error {
    /// Keeps the kind; the text is the whole message.
    fn from(error: MountError) -> Self {
        Self::new(Self::from(error.errno).kind(), error)
    }
}

/// Returns a detached copy of the mount that shows `path`, cut to that directory.
///
/// # Behavior
/// [`Reach::Single`] leaves out whatever is mounted below; inside a user namespace the kernel refuses that (`EINVAL`)
/// where it would uncover something that a more privileged namespace has mounted.
///
/// # Errors
/// `ENOENT` for a missing path, `ENOSYS` before Linux 5.2, `EPERM` without `CAP_SYS_ADMIN`.
pub fn clone_tree(path: &Path, reach: Reach) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if reach == Reach::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags).map_err(|errno| {
        MountError::new(format!("open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE{})", reach.shown()), errno)
    })
}

/// Attaches the detached mount `mount` at `target` in the caller's mount namespace.
///
/// # Errors
/// `ENOENT`, `EINVAL` when `mount` is not detached, `EPERM`.
pub fn attach(mount: impl AsFd, target: &Path) -> Result<()> {
    rustix::mount::move_mount(mount, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| MountError::new(format!("move_mount(mount, \"\", AT_FDCWD, {target:?})"), errno))
}

/// Attaches the detached mount `mount` upon the open directory `target`; no name is resolved.
///
/// # Errors
/// As [`attach`].
pub fn attach_at(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
        .map_err(|errno| MountError::new("move_mount(mount, \"\", target, \"\")", errno))
}

/// Lets the file system below `mount` take writes; mounts that refuse them themselves go on refusing.
///
/// # Errors
/// `EROFS` when its device takes none, `EPERM`.
pub fn make_filesystem_writable(mount: impl AsFd) -> Result<()> {
    let refused = |errno| MountError::new("fsconfig(fspick(mount), rw, FSCONFIG_CMD_RECONFIGURE)", errno);
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let picked = rustix::mount::fspick(mount, c"", flags).map_err(refused)?;
    rustix::mount::fsconfig_set_flag(&picked, "rw").map_err(refused)?;
    rustix::mount::fsconfig_reconfigure(&picked).map_err(refused)
}

/// How a mount is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Now, or `EBUSY`.
    Now,
    /// From the table now; the file system goes with its last user.
    Lazily,
}

/// Takes away the topmost mount at `target`, never following a symbolic link in its last component.
///
/// # Errors
/// `EBUSY` while it is used, `EINVAL` when nothing is mounted there.
pub fn unmount(target: &Path, how: Unmount) -> Result<()> {
    let (flags, shown) = match how {
        Unmount::Now => (UnmountFlags::NOFOLLOW, "UMOUNT_NOFOLLOW"),
        Unmount::Lazily => (UnmountFlags::NOFOLLOW | UnmountFlags::DETACH, "UMOUNT_NOFOLLOW|MNT_DETACH"),
    };
    rustix::mount::unmount(target, flags)
        .map_err(|errno| MountError::new(format!("umount2({target:?}, {shown})"), errno))
}

/// Mounts with `mount(2)`: `options` as in its last argument, at most a page of them.
///
/// # Errors
/// What the kernel says; it gives no words of its own here.
pub fn mount_classic(fstype: &str, target: &Path, options: &[u8]) -> Result<()> {
    let shown = || format!("mount({fstype:?}, {target:?}, {:?})", String::from_utf8_lossy(options));
    let refused = |errno| MountError::new(shown(), errno);
    let data = CString::new(options).map_err(|_| refused(Errno::INVAL))?;
    rustix::mount::mount(fstype, target, fstype, rustix::mount::MountFlags::empty(), Some(data.as_c_str()))
        .map_err(refused)
}

/// Returns the bytes of a path, for option strings.
#[must_use]
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_like_strace_with_the_words_of_the_kernel_behind() {
        let mut error = MountError::new("fsconfig(overlay, FSCONFIG_CMD_CREATE)", Errno::INVAL);
        error.messages = vec!["overlay: workdir and upperdir must be separate subtrees".to_owned()];
        let text = "fsconfig(overlay, FSCONFIG_CMD_CREATE): Invalid argument (os error 22): the kernel says: \
                    overlay: workdir and upperdir must be separate subtrees";
        assert_eq!(error.to_string(), text);
        assert_eq!(io::Error::from(error).to_string(), text);
    }

    #[test]
    fn a_missing_directory_and_a_missing_mount_are_told_with_their_paths() {
        let error = clone_tree(Path::new("/no/such"), Reach::Single).unwrap_err();
        assert!(
            error.to_string().starts_with("open_tree(AT_FDCWD, \"/no/such\", OPEN_TREE_CLONE): "),
            "{error}"
        );
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
        let error = unmount(Path::new("/no/such"), Unmount::Now).unwrap_err();
        assert!(error.to_string().starts_with("umount2(\"/no/such\", UMOUNT_NOFOLLOW): "), "{error}");
    }
}
