//! Refuses to take away what is mounted: something mounted inside a home, or a stack that uses its directories, would lose its data
//! or keep the space.
//!
//! One reading of our own mount table; only when it names the home are other processes looked at, to say who holds it. What other
//! mount namespaces hold is not refused here: a store that minds says so itself.

use std::path::Path;
use std::time::{Duration, Instant};

use keiki_sys::loop_device;
use keiki_sys::mount::holders::holders_of;
use keiki_sys::mount::table::{self, MountEntry};

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Refuses while anything is mounted in or from one of the homes.
///
/// # Errors
/// [`ErrorKind::Busy`] naming the mount, the processes that hold it, and the command that helps.
pub(super) fn require_unmounted<'a>(homes: impl IntoIterator<Item = &'a Path>, verb: &str) -> Result<()> {
    let text = std::fs::read("/proc/self/mountinfo").or_err(|| "cannot read the mount table".to_owned())?;
    let mounts = table::parse(&text);
    match homes.into_iter().find_map(|home| in_use(&mounts, home).map(|entry| (home, entry))) {
        None => Ok(()),
        Some((home, entry)) => Err(refusal(home, entry, verb)),
    }
}

/// How long a loop device may take to go by itself: a program that is being started holds our mounts until its `execve`.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses while a loop device is bound to a file in one of the homes: whoever mounted it would go on writing into a file that
/// nobody can reach.
///
/// # Errors
/// [`ErrorKind::Busy`] naming the device and the command that helps.
pub(super) fn require_unbound<'a>(homes: impl IntoIterator<Item = &'a Path>, verb: &str) -> Result<()> {
    let homes: Vec<&Path> = homes.into_iter().collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let bound = loop_device::bound().or_err(|| "cannot look for loop devices".to_owned())?;
        match bound.into_iter().find(|(_, file)| homes.iter().any(|home| file.starts_with(home))) {
            None => return Ok(()),
            Some((device, file)) if Instant::now() >= deadline => {
                let text = format!("cannot {verb}: `{}` is bound to `{}`", device.display(), file.display());
                let hint = format!(
                    "unmount `{0}` (`findmnt -S {0}` shows where), `losetup -d {0}`, then repeat the command",
                    device.display()
                );
                return Err(Error::new(ErrorKind::Busy, text).with_hint(hint));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn in_use<'a>(mounts: &'a [MountEntry], home: &Path) -> Option<&'a MountEntry> {
    mounts.iter().find(|entry| entry.uses(home))
}

fn refusal(home: &Path, entry: &MountEntry, verb: &str) -> Error {
    let point = entry.point.display();
    let name = home.file_name().unwrap_or(home.as_os_str()).to_string_lossy();
    let text = format!("cannot {verb} `{name}`: `{point}` is mounted ({})", entry.fstype);
    let holders = holders_of(&entry.point);
    let error = holders.iter().fold(Error::new(ErrorKind::Busy, text), |error, holder| {
        error.with_context("holder", holder.to_string())
    });
    error.with_hint(format!("`umount {point}`, then repeat the command"))
}
