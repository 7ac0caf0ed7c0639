//! Who holds a device: processes that have it mounted or open, so that "in use" can be said with a name.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keiki_core::Error;
use keiki_sys::mount::table::{self, MountEntry};
use rustix::fs::{major, minor};

use crate::place::Place;

/// More would not help anybody.
const SHOWN_MAX: usize = 4;

/// Adds who holds the device of `place` to an error that says that it is in use.
pub(crate) fn named(error: Error, place: &Place) -> Error {
    let found = holders_of(&place.device());
    let text = format!("`{}` is in use", place.full());
    let hint = match found.first() {
        Some(holder) => format!("stop process {} or unmount it, then repeat the command", holder.pid),
        None => {
            format!("`lsblk {}` and `dmsetup ls --tree` show what stands upon it", place.device().display())
        }
    };
    let error = error.while_doing(text).with_hint(hint);
    found.into_iter().fold(error, |error, holder| error.with_context("holder", holder.text))
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

#[derive(Debug)]
struct Holder {
    pid: u32,
    text: String,
}

/// Best effort: an empty answer does not prove that nobody holds it.
fn holders_of(device: &Path) -> Vec<Holder> {
    let Ok(found) = fs::metadata(device) else { return Vec::new() };
    let device = found.rdev();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| holder(pid, device)).take(SHOWN_MAX).collect()
}

fn holder(pid: u32, device: u64) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let how = mounted(&process, device).or_else(|| opened(&process, device))?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(Holder { pid, text: format!("process {pid} ({}) {how}", name.trim_end()) })
}

fn mounted(process: &Path, device: u64) -> Option<String> {
    let text = fs::read(process.join("mountinfo")).ok()?;
    let entry =
        table::parse(&text).into_iter().find(|entry| entry.device == (major(device), minor(device)))?;
    Some(format!("has it mounted on `{}`", entry.point.display()))
}

fn opened(process: &Path, device: u64) -> Option<String> {
    let open = fs::read_dir(process.join("fd")).ok()?.flatten();
    let mut files = open.filter_map(|entry| fs::metadata(entry.path()).ok());
    files.any(|file| file.rdev() == device).then(|| "has it open".to_owned())
}
