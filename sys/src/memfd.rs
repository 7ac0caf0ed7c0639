//! Sealed memory files: a plan that nobody can change once it is handed over.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::call::{CallExt, Result};

/// Returns a memory file with `content` that can neither be written, grown, shrunk nor unsealed.
///
/// # Errors
/// `ENOSPC`, `EMFILE`.
pub fn sealed(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let mut file = File::from(create(name)?);
    file.write_all(content).and_then(|()| file.rewind()).of_call(|| format!("write(memfd:{name})"))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).of_call(|| format!("fcntl(memfd:{name}, F_ADD_SEALS)"))?;
    Ok(file.into())
}

fn create(name: &str) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Data is never a program; kernels before 6.3 do not know how to say so.
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .of_call(|| format!("memfd_create({name:?})"))
}

/// Reads a memory file from its beginning.
///
/// # Errors
/// `EPERM` when it is not sealed: its content could change under us.
pub fn read_sealed(fd: OwnedFd) -> Result<Vec<u8>> {
    let shown = || "read(memfd)".to_owned();
    let seals = rustix::fs::fcntl_get_seals(&fd).of_call(|| "fcntl(memfd, F_GET_SEALS)".to_owned())?;
    if !seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK) {
        return Err(crate::call::CallError::new("fcntl(memfd, F_GET_SEALS)", Errno::PERM));
    }
    let (mut file, mut content) = (File::from(fd), Vec::new());
    file.rewind().and_then(|()| file.read_to_end(&mut content)).of_call(shown)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_content_is_read_back_and_cannot_be_changed() {
        let fd = sealed("plan", b"abc").unwrap();
        let mut file = File::from(fd.try_clone().unwrap());
        assert!(file.write_all(b"x").is_err());
        assert_eq!(read_sealed(fd).unwrap(), b"abc");
    }

    #[test]
    fn an_unsealed_file_is_refused() {
        let fd = create("open").unwrap();
        assert_eq!(read_sealed(fd).unwrap_err().errno, Errno::PERM);
    }
}
