//! Makes a file system as large as its device, or smaller.
//!
//! What is mounted is grown by the kernel, by descriptor: the tools would look for a mount point in our own mount table, where
//! a container's root file system never is. What is not mounted is grown by `resize2fs` (ext4, also in an image file), or on a
//! detached mount that nobody else sees (xfs and btrfs, which cannot do it otherwise).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::mount_plan::{self, MountPlan, MountRecipe};
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result};
use keiki_sys::filesystem_size;
use rustix::io::Errno;

use crate::check::{Repair, check};
use crate::identity::{Duplicate, mount_options};
use crate::kind::effect;
use crate::make::device_size;
use crate::{FileSystemType, superblock};

/// What the kernel means by `EINVAL`: it resizes no btrfs to less than this.
const BTRFS_HINT: &str = "btrfs takes no new size below 256M; choose a larger one";

/// How the file system is reached.
#[derive(Debug, Clone, Copy)]
pub enum Reached<'a> {
    /// It is mounted, and this is its root directory or any other in it: of a container, for example.
    Mounted(BorrowedFd<'a>),
    /// It is not mounted; this is its block device. An image file will do for ext4.
    Device(&'a Path),
}

/// Makes the file system as large as its device, which has grown before; returns its size.
///
/// # Behavior
/// One that is as large already stays as it is. Announced as `filesystem.grow`.
///
/// # Requires
/// `CAP_SYS_ADMIN`, and for a mounted ext4 `CAP_SYS_RESOURCE`.
///
/// # Errors
/// `Corrupt` for a damaged ext4 that is not mounted; what the kernel or the tool says.
pub fn grow(context: &Context, fstype: FileSystemType, reached: Reached<'_>) -> Result<Bytes> {
    let shown = || format!("cannot grow the {fstype}");
    match reached {
        Reached::Device(device) if fstype == FileSystemType::Ext4 => {
            check(context, fstype, device, Repair::Safe)?;
            resize2fs(context, "filesystem.grow", device, Bytes(device_size(device)?))
        }
        Reached::Device(device) => effect(context, "filesystem.grow", shown, || {
            grow_mounted(fstype, mounted(fstype, device)?.as_fd())
        }),
        Reached::Mounted(root) => effect(context, "filesystem.grow", shown, || grow_mounted(fstype, root)),
    }
}

fn grow_mounted(fstype: FileSystemType, root: BorrowedFd<'_>) -> Result<Bytes> {
    // The kernel takes ioctls only from a real descriptor, not from the `O_PATH` one that a mount is.
    let grown = filesystem_size::reopen(root).and_then(|root| match fstype {
        FileSystemType::Ext4 => filesystem_size::grow_ext4(root.as_fd()),
        FileSystemType::Xfs => filesystem_size::grow_xfs(root.as_fd()),
        FileSystemType::Btrfs => filesystem_size::grow_btrfs(root.as_fd()),
    });
    grown.map(Bytes).map_err(|refused| {
        let is_too_small = fstype == FileSystemType::Btrfs && refused.errno == Errno::INVAL;
        let error = Error::io("the kernel does not make it larger", refused.into());
        if is_too_small { error.with_hint(BTRFS_HINT) } else { error }
    })
}

fn mounted(fstype: FileSystemType, device: &Path) -> Result<OwnedFd> {
    let device = device.to_str().ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("`{}` is not UTF-8", device.display()))
    })?;
    mount_plan::execute(&MountPlan {
        recipe: MountRecipe::Filesystem {
            fstype: fstype.to_string(),
            device: device.to_owned(),
            options: mount_options(fstype, Duplicate::Possible),
        },
        read_only: false,
    })
}

/// Makes the file system on `device` at most `size` large, so that the device can be cut to that; returns its size.
///
/// # Behavior
/// It is checked first, whole. What a killed shrink leaves is what `resize2fs` leaves: a file system that `e2fsck` accepts.
///
/// # Requires
/// That nothing has it mounted, and ext4.
///
/// # Errors
/// `Unsupported` for xfs and btrfs; `InvalidArgument` when its content does not fit; `Corrupt` when it is damaged.
pub fn shrink(context: &Context, fstype: FileSystemType, device: &Path, size: Bytes) -> Result<Bytes> {
    if fstype != FileSystemType::Ext4 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("cannot shrink the {fstype} on `{}`: only ext4 can be made smaller", device.display()),
        )
        .with_hint("make a smaller volume and copy: `keiki clone --copy --fssize …`"));
    }
    check(context, fstype, device, Repair::Safe)?;
    resize2fs(context, "filesystem.shrink", device, size)
}

/// Makes a checked ext4 `size` large, at most as large as its device.
fn resize2fs(context: &Context, step: &str, device: &Path, size: Bytes) -> Result<Bytes> {
    let kibibytes = size.0.min(device_size(device)?) >> 10;
    let call = FileSystemType::Ext4.tool("resize2fs").call().arg(device).arg(format!("{kibibytes}K"));
    let shown = || format!("cannot resize the ext4 on `{}` to {kibibytes} KiB", device.display());
    effect(context, step, shown, || call.run(context)).map_err(explain)?;
    let found = superblock::probe(device)?;
    found.map(|found| found.size).ok_or_else(|| {
        Error::new(
            ErrorKind::Corrupt,
            format!("`{}` holds no file system after it was resized", device.display()),
        )
        .with_hint(format!("look at it with `e2fsck -f {}`", device.display()))
    })
}

/// Tells a file system that is too full from everything else that can fail.
fn explain(error: Error) -> Error {
    let said = error.context().iter().find(|(key, _)| *key == "stderr").map_or("", |(_, said)| said.as_str());
    if !is_too_full(said) {
        return error;
    }
    Error::new(ErrorKind::InvalidArgument, "what it holds does not fit into so little")
        .with_source(error)
        .with_hint("remove files, or choose a larger size")
}

/// What `resize2fs` says when the content does not fit: before it begins, or in the middle.
fn is_too_full(said: &str) -> bool {
    said.contains("New size smaller than minimum") || said.contains("No space left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_system_is_told_from_other_failures() {
        let full = "resize2fs 1.47.0 (5-Feb-2023)\nresize2fs: New size smaller than minimum (2059)\n";
        assert!(is_too_full(full));
        for other in ["", "resize2fs: Bad magic number in super-block while trying to open x"] {
            assert!(!is_too_full(other), "{other}");
        }
    }
}
