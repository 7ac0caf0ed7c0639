//! [`TreeError`]: which call failed on which entry, and what the kernel said.
//!
//! Paths are relative to the root of the tree in question (`.` is the root itself), because the crate only ever sees
//! descriptors; the caller knows the rest and says it in front.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// The result of everything in this crate that can fail.
pub type Result<T, E = TreeError> = std::result::Result<T, E>;

/// Why a tree could not be copied, removed, measured or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The kernel refused a call.
    #[error("{call}(`{path}`): {}", io::Error::from(*errno))]
    Call {
        /// The system call.
        call: &'static str,
        /// The entry, relative to the root of the tree.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The source was written while it was copied, so the copy would be a mixture.
    #[error("`{path}` changed while it was copied")]
    SourceChanged {
        /// The entry, relative to the root of the tree.
        path: PathBuf,
    },
    /// The copy would be copied into itself without end.
    #[error("`{path}` is where the copy goes: a tree cannot be copied into itself")]
    TargetInside {
        /// The entry, relative to the root of the tree.
        path: PathBuf,
    },
    /// A file system is mounted in a tree that is to be removed.
    #[error("`{path}` is a mount point")]
    MountPoint {
        /// The entry, relative to the root of the tree.
        path: PathBuf,
    },
    /// Somebody moved a directory of the tree while we worked in it.
    #[error("`{path}` was moved while we worked in it")]
    Moved {
        /// The entry, relative to the root of the tree.
        path: PathBuf,
    },
    /// Reflinks were required, and the file system has none between these two places.
    #[error("`{path}` cannot be shared by reflink: {}", io::Error::from(*errno))]
    ReflinkRefused {
        /// The entry, relative to the root of the tree.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A stream could not be written or read.
    #[error("{0}")]
    Stream(#[source] io::Error),
    /// A stream says what no stream of ours says.
    #[error("the stream of the tree is damaged: {0}")]
    Malformed(&'static str),
    /// What is to be continued is not what was begun.
    #[error("the tree is not what it was when its stream was begun")]
    NotTheSame,
}

impl TreeError {
    /// Returns the kind that stands for the error in `std::io`, so that callers can tell full disks from lost names.
    #[must_use]
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Call { errno, .. } => errno.kind(),
            Self::SourceChanged { .. } | Self::MountPoint { .. } | Self::Moved { .. } => {
                io::ErrorKind::ResourceBusy
            }
            Self::TargetInside { .. } => io::ErrorKind::InvalidInput,
            Self::ReflinkRefused { .. } => io::ErrorKind::Unsupported,
            Self::Stream(error) => error.kind(),
            Self::Malformed(_) | Self::NotTheSame => io::ErrorKind::InvalidData,
        }
    }
}

impl From<TreeError> for io::Error {
    /// Keeps the kind; the text names call, entry and errno.
    fn from(error: TreeError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_like_strace_and_keeps_its_kind_in_std_io() {
        let error = TreeError::Call { call: "openat", path: PathBuf::from("a/b"), errno: Errno::NOSPC };
        assert_eq!(error.to_string(), "openat(`a/b`): No space left on device (os error 28)");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    }
}
