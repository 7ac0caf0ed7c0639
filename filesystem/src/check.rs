//! Checks a file system that is not mounted.

use std::path::Path;

use keiki_core::context::Context;
use keiki_core::tool::Call;
use keiki_core::{Error, ErrorKind, Result};

use crate::FileSystemType;
use crate::kind::effect;
use crate::lost_found;

/// What a check may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    Nothing,
    /// What is safe without a person: replaying the journal and repairs that lose nothing. Only ext4 has this; the
    /// kernel replays the journals of the others when it mounts them.
    Safe,
}

/// Checks the file system on `device`, whole, even when it says that it is clean.
///
/// # Requires
/// That nothing has it mounted.
///
/// # Errors
/// `Corrupt` with the command that repairs it; `Unavailable` without the tool.
pub fn check(context: &Context, fstype: FileSystemType, device: &Path, repair: Repair) -> Result<()> {
    let shown = || format!("cannot check the {fstype} on `{}`", device.display());
    let (program, arguments, damaged, remedy) = match (fstype, repair) {
        (FileSystemType::Ext4, Repair::Nothing) => ("e2fsck", ["-f", "-n"].as_slice(), 4, "e2fsck -f"),
        (FileSystemType::Ext4, Repair::Safe) => ("e2fsck", ["-f", "-p"].as_slice(), 4, "e2fsck -f"),
        (FileSystemType::Xfs, _) => ("xfs_repair", ["-n", "-f"].as_slice(), 1, "xfs_repair"),
        (FileSystemType::Btrfs, _) => ("btrfs", ["check", "--readonly"].as_slice(), 1, "btrfs check"),
    };
    let call = fstype.tool(program).call().args(arguments).arg(device).accept(damaged);
    // The codes of e2fsck are bits: 1, errors were repaired; 4, errors are left; 8, it could not even begin.
    let call: Call = if fstype == FileSystemType::Ext4 { call.accept(1).accept(4 | 8) } else { call };
    let is_ext4_repair = fstype == FileSystemType::Ext4 && repair == Repair::Safe;
    // Of one that is too damaged to tell, nothing is taken away.
    let had_lost_found = !is_ext4_repair || lost_found::exists(context, device).unwrap_or(true);
    let answer = effect(context, "filesystem.check", shown, || call.run(context))?;
    // It makes one whether it needs one or not.
    if !had_lost_found {
        lost_found::remove(context, device)?;
    }
    if answer.code & damaged == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.stdout);
    Err(Error::new(ErrorKind::Corrupt, format!("the {fstype} on `{}` is damaged", device.display()))
        .with_context("said", said.trim_end().to_owned())
        .with_hint(format!("look at it and repair it with `{remedy} {}`", device.display())))
}
