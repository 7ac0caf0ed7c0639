//! [`FileSystemType`]: which file systems a block volume can hold.

use std::fmt;
use std::str::FromStr;

use keiki_core::context::Context;
use keiki_core::tool::Tool;
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result};

/// A file system that we can make, resize and tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileSystemType {
    /// ext4; its driver mounts ext2 and ext3 too, and those are recognised as this.
    Ext4,
    /// XFS; cannot shrink.
    Xfs,
    /// btrfs on one device; shrinks only while it is mounted, which we do not do.
    Btrfs,
}

impl FileSystemType {
    /// Every type, for tables and tests.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Returns the word by which the kernel mounts it and users choose it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Returns the smallest device that its `mkfs` takes.
    #[must_use]
    pub fn minimum(self) -> Bytes {
        match self {
            // Smaller ones have no room for a journal.
            Self::Ext4 => Bytes(8 << 20),
            // mkfs.xfs 5.19 and later.
            Self::Xfs => Bytes(300 << 20),
            // mkfs.btrfs 6.2.
            Self::Btrfs => Bytes(114_294_784),
        }
    }

    /// Returns the Debian package with its tools.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
            Self::Btrfs => "btrfs-progs",
        }
    }

    /// Tells whether the host has the tool that makes it.
    ///
    /// # Errors
    /// `Unavailable` naming the package to install.
    pub fn require_tools(self) -> Result<()> {
        self.mkfs().find().map(|_| ())
    }

    pub(crate) fn mkfs(self) -> Tool {
        let program = match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        };
        self.tool(program)
    }

    pub(crate) fn tool(self, program: &'static str) -> Tool {
        Tool::new(program, self.package())
    }
}

impl fmt::Display for FileSystemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FileSystemType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a file system that keiki makes"))
                .with_hint("choose `ext4`, `xfs` or `btrfs`")
        })
    }
}

/// Announces an effect on a file system and says what failed when it does.
pub(crate) fn effect<T>(
    context: &Context,
    step: &str,
    message: impl FnOnce() -> String,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    context.step(step)?;
    run().map_err(|error| error.while_doing(message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_they_are_read_and_others_are_refused_with_the_choice() {
        for known in FileSystemType::ALL {
            assert_eq!(known.to_string().parse::<FileSystemType>().unwrap(), known);
        }
        for other in ["ext3", "EXT4", "", "zfs", "ext4 "] {
            let error = other.parse::<FileSystemType>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.hints()[0].contains("ext4"), "{error:?}");
        }
    }
}
