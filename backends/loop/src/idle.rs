//! Who uses an image: the loop device that is bound to it, and waiting until none is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use keiki_core::homes::Place;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::loop_device::LoopDevice;
use keiki_sys::mount::holders;
use rustix::fs::{FlockOperation, flock};

/// How long the mounts of something that has just ended may take to go: the kernel takes them away in the background.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(2);

/// Whether an image is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    /// By nobody.
    Idle,
    /// This loop device is bound to it.
    Bound(PathBuf),
}

impl Use {
    /// Returns whether nobody uses it.
    pub(crate) fn is_idle(&self) -> bool {
        *self == Self::Idle
    }
}

/// Waits until nothing uses an image, and keeps it so: whoever mounts it takes the lock first, which the descriptor holds.
///
/// # Errors
/// `Busy` naming the device and, where they can be seen, the processes that use it.
pub(crate) fn wait_idle(place: &Place, image: &OwnedFd, verb: &str) -> Result<()> {
    let path = place.path();
    flock(image, FlockOperation::LockExclusive).or_err(|| format!("cannot lock `{}`", path.display()))?;
    match becomes_idle(place, image, PATIENCE)? {
        Use::Idle => Ok(()),
        Use::Bound(device) => Err(busy(path, &device, verb)),
    }
}

/// Waits a moment for an image to be used by nobody.
pub(crate) fn becomes_idle(place: &Place, image: &OwnedFd, patience: Duration) -> Result<Use> {
    let deadline = Instant::now() + patience;
    while let Some(device) = device(place, image)? {
        let path = device.path().to_owned();
        // Held by us, it could never clear itself.
        drop(device);
        if Instant::now() >= deadline {
            return Ok(Use::Bound(path));
        }
        thread::sleep(NAP);
    }
    Ok(Use::Idle)
}

/// Returns the loop device of an image, if it has one.
pub(crate) fn device(place: &Place, image: &OwnedFd) -> Result<Option<LoopDevice>> {
    LoopDevice::of_file(image.as_fd())
        .or_err(|| format!("cannot look for the loop device of `{}`", place.path().display()))
}

/// Returns the refusal of an image that is in use.
fn busy(image: &Path, device: &Path, verb: &str) -> Error {
    let text = format!("cannot {verb} `{}`: `{}` is bound to it", image.display(), device.display());
    let number = std::fs::metadata(device).map(|found| std::os::unix::fs::MetadataExt::rdev(&found));
    let found = number.map(holders::holders_of_device).unwrap_or_default();
    let error = found.iter().fold(Error::new(ErrorKind::Busy, text), |error, holder| {
        error.with_context("holder", holder.to_string())
    });
    error.with_hint(if found.is_empty() {
        format!("`losetup -d {}`, or stop what uses it, then repeat the command", device.display())
    } else {
        "stop the container or unmount it, then repeat the command".to_owned()
    })
}
