//! [`FsContext`]: a file system that is being configured, before it is a mount.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{MountError, Result};

/// The longest value that `fsconfig` takes as a string; longer paths go by descriptor.
pub const VALUE_MAX: usize = 255;

/// Messages that are read back after a failure; the kernel keeps eight.
const MESSAGES_MAX: usize = 16;

/// A file system context of the kernel.
///
/// Every refused call carries the messages that the kernel wrote into the context, which say far more than the errno.
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    fstype: String,
}

impl FsContext {
    /// Opens a context for file systems of `fstype`.
    ///
    /// # Errors
    /// `ENODEV` for an unknown type (the module is missing), `ENOSYS` before Linux 5.2, `EPERM`.
    pub fn open(fstype: &str) -> Result<Self> {
        let fd = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| MountError::new(format!("fsopen({fstype:?}, FSOPEN_CLOEXEC)"), errno))?;
        Ok(Self { fd, fstype: fstype.to_owned() })
    }

    /// Sets a flag (`userxattr`, `ro`).
    ///
    /// # Errors
    /// `EINVAL` for a flag that the file system does not know.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        let result = rustix::mount::fsconfig_set_flag(self.fd.as_fd(), key);
        self.checked(result, || format!("FSCONFIG_SET_FLAG, {key:?}"))
    }

    /// Sets `key` to a text of at most [`VALUE_MAX`] bytes.
    ///
    /// # Errors
    /// `EINVAL` for an unknown key, a bad value, or one that is too long.
    pub fn set_string(&self, key: &str, value: &[u8]) -> Result<()> {
        let result = rustix::mount::fsconfig_set_string(self.fd.as_fd(), key, value);
        self.checked(result, || format!("FSCONFIG_SET_STRING, {key:?}, {:?}", String::from_utf8_lossy(value)))
    }

    /// Sets `key` to a path, for parameters that the file system declares as paths.
    ///
    /// # Errors
    /// `EINVAL` where it wants a string or a descriptor instead.
    pub fn set_path(&self, key: &str, path: &Path) -> Result<()> {
        let result = rustix::mount::fsconfig_set_path(self.fd.as_fd(), key, path, rustix::fs::CWD);
        self.checked(result, || format!("FSCONFIG_SET_PATH, {key:?}, {path:?}"))
    }

    /// Sets `key` to an open file; overlay takes its layers so since Linux 6.13.
    ///
    /// # Errors
    /// `EINVAL` where the file system wants a string.
    pub fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<()> {
        let result = rustix::mount::fsconfig_set_fd(self.fd.as_fd(), key, value);
        self.checked(result, || format!("FSCONFIG_SET_FD, {key:?}, {}", value.as_raw_fd()))
    }

    /// Makes the file system and returns it as a detached mount.
    ///
    /// # Errors
    /// What the file system says.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        let result = rustix::mount::fsconfig_create(self.fd.as_fd());
        self.checked(result, || "FSCONFIG_CMD_CREATE".to_owned())?;
        rustix::mount::fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| self.error(format!("fsmount({}, {attributes:?})", self.fstype), errno))
    }

    fn checked(&self, result: rustix::io::Result<()>, arguments: impl FnOnce() -> String) -> Result<()> {
        result.map_err(|errno| self.error(format!("fsconfig({}, {})", self.fstype, arguments()), errno))
    }

    fn error(&self, call: String, errno: Errno) -> MountError {
        MountError { call, errno, messages: self.messages() }
    }

    /// Reads the kernel's messages, one a read, until there is none.
    fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0_u8; 1024];
        while messages.len() < MESSAGES_MAX {
            // `EMSGSIZE` would lose one message; every other error means that there is none.
            let Ok(length) = rustix::io::read(&self.fd, &mut buffer) else { break };
            messages.push(without_severity(&String::from_utf8_lossy(&buffer[..length])));
        }
        messages
    }
}

/// Takes the `e `, `w ` or `i ` from the front of a message.
fn without_severity(message: &str) -> String {
    let message = message.trim_end();
    ["e ", "w ", "i "].iter().find_map(|mark| message.strip_prefix(mark)).unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_severity_and_nothing_else() {
        let table = [
            ("e ext4: Unknown parameter 'nosuchopt'\n", "ext4: Unknown parameter 'nosuchopt'"),
            ("w overlay: slow", "overlay: slow"),
            ("everything", "everything"),
        ];
        for (raw, expected) in table {
            assert_eq!(without_severity(raw), expected);
        }
    }

    #[test]
    fn the_kernel_explains_an_unknown_parameter_in_its_own_words() {
        let Ok(context) = FsContext::open("tmpfs") else {
            println!("skipped: needs CAP_SYS_ADMIN");
            return;
        };
        let error = context.set_string("no,such", b"a:b").unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
        assert!(error.to_string().contains("fsconfig(tmpfs, FSCONFIG_SET_STRING, \"no,such\", \"a:b\")"));
        assert!(error.messages.iter().any(|message| message.contains("Unknown parameter")), "{error}");
    }

    #[test]
    fn an_unknown_file_system_is_named() {
        let error = FsContext::open("no-such-fs").unwrap_err();
        assert!(error.to_string().starts_with("fsopen(\"no-such-fs\""), "{error}");
    }
}
