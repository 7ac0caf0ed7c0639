//! A mount namespace for the test process, so that no mount of a test is ever seen by the machine or outlives us.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::Missing;

/// Gives the process a mount namespace of its own.
///
/// Call it first thing in `main`: threads that exist already stay behind in the old one.
///
/// # Errors
/// What this machine lacks: it takes root.
pub fn enter() -> Result<(), Missing> {
    let alone = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    });
    alone.map_err(|errno| Missing(format!("a mount namespace of its own ({errno})")))
}

/// Returns the mount points of this process at or below `path`.
#[must_use]
pub fn mounts_below(path: &std::path::Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| std::path::Path::new(point).starts_with(path)).map(str::to_owned).collect()
}
