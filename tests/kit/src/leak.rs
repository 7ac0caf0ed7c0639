//! What must not be left when a case is over: descriptors, mounts and loop devices below its ground.
//!
//! Everything is told by its path, so that cases that run at the same time do not disturb each other.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::rig::namespace::mounts_below;
use crate::rig::{Ground, Rig};
use crate::verdict::{Failure, Verdict};

/// Fails if this process or the kernel still holds something below a ground, or of its pool.
///
/// # Errors
/// What is held.
#[track_caller]
pub fn check(rig: &dyn Rig, ground: &Ground) -> Verdict<()> {
    let root = ground.root();
    let mut held = open_files(root);
    let inside = mounts_below(root).into_iter().filter(|point| Path::new(point) != root);
    held.extend(inside.map(|point| format!("mount on {point}")));
    held.extend(loop_devices_that_stay(root));
    held.extend(staging(root));
    held.extend(rig.held(ground)?);
    if held.is_empty() { Ok(()) } else { Err(Failure::new(format!("left behind: {}", held.join(", ")))) }
}

fn open_files(root: &Path) -> Vec<String> {
    let Ok(list) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let targets = list.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.starts_with(root))
        .map(|target| format!("open {}", target.display()))
        .collect()
}

/// A program that is being started by another thread holds every mount of ours until its `execve`: such devices go by themselves.
pub(crate) fn loop_devices_that_stay(root: &Path) -> Vec<String> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = loop_devices(root);
        if held.is_empty() || Instant::now() >= deadline {
            return held;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn loop_devices(root: &Path) -> Vec<String> {
    let bound = keiki_sys::loop_device::bound().unwrap_or_default();
    let ours = bound.iter().filter(|(_, file)| file.starts_with(root));
    ours.map(|(device, file)| format!("{} on {}", device.display(), file.display())).collect()
}

/// Homes in the making belong to operations; when none runs there are none.
fn staging(root: &Path) -> Vec<String> {
    let staged = std::fs::read_dir(root.join("lxc/.keiki/staging"));
    staged
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("staging {}", entry.path().display()))
        .collect()
}
