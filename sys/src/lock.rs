//! Locks that belong to an open file description: they survive `exec`, are handed to other processes with the
//! descriptor, and are released by the kernel when the last copy of it closes, however its holders die.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno as NixErrno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::call::{CallExt, Result};

/// What an attempt to lock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// It is ours now.
    Taken,
    /// Somebody else has it.
    Held,
}

/// Takes the exclusive lock of an open file without waiting.
///
/// # Errors
/// What the file system says.
pub fn try_exclusive(file: impl AsFd) -> Result<Locked> {
    let range = whole_file();
    match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range)) {
        Ok(_) => Ok(Locked::Taken),
        Err(NixErrno::EAGAIN | NixErrno::EACCES) => Ok(Locked::Held),
        Err(errno) => Err(errno).of_call(|| shown(&file, "F_OFD_SETLK")),
    }
}

/// Takes the exclusive lock of an open file, waiting for it.
///
/// # Errors
/// What the file system says.
pub fn exclusive(file: impl AsFd) -> Result<()> {
    let range = whole_file();
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&range)) {
            Ok(_) => return Ok(()),
            Err(NixErrno::EINTR) => {}
            Err(errno) => return Err(errno).of_call(|| shown(&file, "F_OFD_SETLKW")),
        }
    }
}

/// Returns whether somebody else holds the lock. Asking disturbs nobody: it never takes the lock itself.
///
/// # Errors
/// What the file system says.
pub fn is_held(file: impl AsFd) -> Result<bool> {
    let mut range = whole_file();
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut range)).of_call(|| shown(&file, "F_OFD_GETLK"))?;
    Ok(i32::from(range.l_type) != nix::libc::F_UNLCK)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel's own field is this narrow, and the constants are 0 to 2"
)]
fn whole_file() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn shown(file: &impl AsFd, command: &str) -> String {
    format!("fcntl({}, {command}, F_WRLCK)", file.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_goes_with_the_last_copy_of_its_descriptor_and_asking_does_not_take_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let (first, second) = (
            std::fs::File::create(&path).unwrap(),
            std::fs::OpenOptions::new().write(true).open(&path).unwrap(),
        );
        assert!(!is_held(&second).unwrap());
        assert_eq!(try_exclusive(&first).unwrap(), Locked::Taken);
        assert_eq!(try_exclusive(&second).unwrap(), Locked::Held);
        assert!(is_held(&second).unwrap());
        assert!(!is_held(&first).unwrap(), "our own lock is not somebody else's");
        let copy = first.try_clone().unwrap();
        drop(first);
        assert!(is_held(&second).unwrap());
        drop(copy);
        assert!(!is_held(&second).unwrap());
        exclusive(&second).unwrap();
    }
}
