//! Says who holds a dataset. zfs only says that it is busy.

use std::os::fd::AsFd;

use keiki_core::mount_plan::{MountPlan, MountRecipe, execute};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::mount::holders::{holders_of, holders_of_device};
use keiki_sys::mount::table::{self, MountEntry};
use rustix::fs::fstat;

/// Refuses while our own mount table shows the dataset: zfs would silently unmount it.
///
/// # Errors
/// `Busy` naming the mount, who holds it, and the command that helps.
pub(crate) fn refuse_mounted(dataset: &str, verb: &str) -> Result<()> {
    let text = std::fs::read("/proc/self/mountinfo").or_err(|| "cannot read the mount table".to_owned())?;
    let Some(entry) = table::parse(&text).into_iter().find(|entry| shows(entry, dataset)) else {
        return Ok(());
    };
    let point = entry.point.display();
    let error = Error::new(ErrorKind::Busy, format!("cannot {verb} `{dataset}`: it is mounted at `{point}`"));
    let holders = holders_of(&entry.point);
    let error = holders.iter().fold(error, |error, holder| error.with_context("holder", holder.to_string()));
    Err(error.with_hint(format!("`umount {point}`, then repeat the command")))
}

/// Returns whether a mount shows a dataset or a snapshot of it.
fn shows(entry: &MountEntry, dataset: &str) -> bool {
    let source = entry.source.to_string_lossy();
    entry.fstype == "zfs"
        && (source == dataset || source.strip_prefix(dataset).is_some_and(|rest| rest.starts_with('@')))
}

/// Adds the processes that hold a dataset to zfs's complaint that it is busy; another error stays as it is.
pub(crate) fn name_holders(error: Error, name: &str) -> Error {
    if error.kind() != ErrorKind::Busy {
        return error;
    }
    let holders = device_of(name).map(holders_of_device).unwrap_or_default();
    let hint = match holders.first() {
        Some(holder) => format!("end process {} or let it unmount, then repeat the command", holder.pid),
        None => {
            format!("`grep -l {name} /proc/*/mountinfo` shows who has it mounted; `zfs holds` shows holds")
        }
    };
    holders
        .iter()
        .fold(error, |error, holder| error.with_context("holder", holder.to_string()))
        .with_hint(hint)
}

/// Returns the number of the device that a mounted dataset is: one more mount of it, which nobody sees, shows the same.
fn device_of(name: &str) -> Option<u64> {
    let options = if name.contains('@') { Vec::new() } else { vec!["rw".to_owned()] };
    let recipe = MountRecipe::Filesystem { fstype: "zfs".to_owned(), device: name.to_owned(), options };
    let mount = execute(&MountPlan { recipe, read_only: true }).ok()?;
    fstat(mount.as_fd()).ok().map(|stat| stat.st_dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fstype: &str, source: &str) -> MountEntry {
        let line = format!("34 26 0:29 / /mnt/a rw,relatime - {fstype} {source} rw,xattr,posixacl");
        table::parse_line(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_mount_shows_a_dataset_or_its_snapshots_only() {
        assert!(shows(&entry("zfs", "rig/r/a"), "rig/r/a"));
        assert!(shows(&entry("zfs", "rig/r/a@s"), "rig/r/a"));
        assert!(!shows(&entry("zfs", "rig/r/ab"), "rig/r/a"));
        assert!(!shows(&entry("zfs", "rig/r/a/b"), "rig/r/a"));
        assert!(!shows(&entry("ext4", "rig/r/a"), "rig/r/a"));
    }
}
