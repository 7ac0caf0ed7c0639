//! Who holds a device: processes that have it mounted or open, so that "in use" can be said with a name.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keiki_core::Error;
use keiki_sys::mount::holders::holders_of_device;
use keiki_sys::mount::table::{self, MountEntry};
use rustix::fs::{major, minor};

use crate::place::Place;

/// Adds who holds the device of `place` to an error that says that it is in use.
pub(crate) fn named(error: Error, place: &Place) -> Error {
    let device = fs::metadata(place.device());
    let found = device.map(|device| holders_of_device(device.rdev())).unwrap_or_default();
    let text = format!("`{}` is in use", place.full());
    let hint = match found.first() {
        Some(holder) => format!("stop process {} or unmount it, then repeat the command", holder.pid),
        None => {
            format!("`lsblk {}` and `dmsetup ls --tree` show what stands upon it", place.device().display())
        }
    };
    let error = error.while_doing(text).with_hint(hint);
    found.iter().fold(error, |error, holder| error.with_context("holder", holder.to_string()))
}

/// Opens the root of the file system on an active device, wherever a process has it mounted; `None` where nobody has.
pub(crate) fn mounted_root(place: &Place) -> Option<File> {
    let device = fs::metadata(place.device()).ok()?.rdev();
    let number = (major(device), minor(device));
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).find_map(|entry| {
        let text = fs::read(entry.path().join("mountinfo")).ok()?;
        // Only a root is opened: a container could turn any path below into a link.
        let is_root = |mount: &MountEntry| mount.device == number && mount.point == Path::new("/");
        let is_ours = |mount: &MountEntry| mount.device == number;
        let mounts = table::parse(&text);
        let at = if mounts.iter().any(is_root) {
            entry.path().join("root")
        } else if entry.file_name() == std::process::id().to_string().as_str() {
            mounts.iter().find(|mount| is_ours(mount))?.point.clone()
        } else {
            return None;
        };
        File::open(at).ok()
    })
}
