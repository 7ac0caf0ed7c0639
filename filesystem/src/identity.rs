//! Identities of file systems: a copy of a device carries its original's, which the kernel does not take twice.
//!
//! | | two with one identity, mounted at once | a new identity costs |
//! |---|---|---|
//! | ext4 | allowed | a superblock, or every checksum where there is no seed |
//! | xfs | refused, unless `nouuid` | a superblock each group; the log must be clean |
//! | btrfs | **mixed up**: refused by newer kernels, data loss on old ones | a superblock (`metadata_uuid`) |

use std::path::Path;

use keiki_core::Result;
use keiki_core::context::Context;

use crate::FileSystemType;
use crate::check::{Repair, check};
use crate::kind::effect;
use crate::superblock;

/// Whether another file system with the same identity may be around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// Its identity is its own.
    No,
    /// It is a copy whose identity was not, or could not be, renewed.
    Possible,
}

/// Returns the options with which a file system is mounted beside its copies.
#[must_use]
pub fn mount_options(fstype: FileSystemType, duplicate: Duplicate) -> Vec<String> {
    match (fstype, duplicate) {
        (FileSystemType::Xfs, Duplicate::Possible) => vec!["nouuid".to_owned()],
        _ => Vec::new(),
    }
}

/// Gives the file system on `device` a new identity at random.
///
/// # Behavior
/// An ext4 that was not unmounted, or whose checksums depend on its identity, is checked first (as `e2fsck -f -p` does).
///
/// # Requires
/// That nothing has it mounted.
///
/// # Errors
/// `Unavailable` without the tool; what the tool says: xfs refuses while its log is not replayed, which a mount does.
pub fn renew_uuid(context: &Context, fstype: FileSystemType, device: &Path) -> Result<()> {
    if fstype == FileSystemType::Ext4 && superblock::needs_check(&superblock::read_head(device)?) {
        check(context, fstype, device, Repair::Safe)?;
    }
    let (program, arguments) = match fstype {
        FileSystemType::Ext4 => ("tune2fs", ["-U", "random"].as_slice()),
        FileSystemType::Xfs => ("xfs_admin", ["-U", "generate"].as_slice()),
        FileSystemType::Btrfs => ("btrfstune", ["-f", "-m"].as_slice()),
    };
    let call = fstype.tool(program).call().args(arguments).arg(device);
    let shown = || format!("cannot renew the identity of the {fstype} on `{}`", device.display());
    effect(context, "filesystem.identity", shown, || call.run(context).map(|_| ()))
}
