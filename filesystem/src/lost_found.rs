//! The directory `lost+found` of ext4: a root filesystem does not want it, and `mkfs` and `e2fsck` insist.
//!
//! `debugfs` works on what is not mounted, so that no device and no privilege is needed. It answers with 0 whatever happens; what it
//! says is looked at instead.

use std::path::Path;

use keiki_core::Result;
use keiki_core::context::Context;

use crate::FileSystemType;

/// Returns whether an ext4 has one.
pub(crate) fn exists(context: &Context, device: &Path) -> Result<bool> {
    let answer = debugfs().args(["-R", "stat /lost+found"]).arg(device).run(context)?;
    let is_there = answer.text()?.contains("Inode: ");
    let is_absent = String::from_utf8_lossy(&answer.stderr).contains("File not found by ext2_lookup");
    if is_there == is_absent {
        Err(answer.misunderstood("it neither has a `lost+found` nor lacks one"))
    } else {
        Ok(is_there)
    }
}

/// Removes it; one with something in it stays.
pub(crate) fn remove(context: &Context, device: &Path) -> Result<()> {
    debugfs().args(["-w", "-R", "rmdir /lost+found"]).arg(device).run(context).map(|_| ())
}

fn debugfs() -> keiki_core::tool::Call {
    FileSystemType::Ext4.tool("debugfs").call()
}
