//! The kernel's scratch directory beside an upper layer: made, looked at, removed.
//!
//! Nothing in it is ever needed again after an unmount, so that it can be made anew at any time. The kernel leaves a directory
//! `work` of mode 000 in it, which tells that the layer has been mounted for writing.
//!
//! LXC always takes `work` beside the upper layer, whatever that is called. A home therefore has a `work` as long as
//! it has any layer, so that LXC's tools start a container whose head is a successor.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use keiki_core::context::Context;
use keiki_core::homes::{Attempt, DIRECTORY, Place, Seen, foreign};
use keiki_core::{ErrorKind, Result, ResultExt};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, mkdir, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::layers::Layers;

/// The name that LXC takes.
const OF_LXC: &CStr = c"work";
const MODE: Mode = Mode::from_raw_mode(0o755);

/// Returns the name of the scratch directory beside the upper layer.
pub(crate) fn name(layers: &Layers) -> OsString {
    layers.work().file_name().unwrap_or_default().to_owned()
}

/// Makes the scratch directory of a new layer. One that is there already is ours only if we have been here before.
///
/// # Errors
/// `Foreign` when something is in the way.
pub(crate) fn make(upper: &Place, layers: &Layers, attempt: Attempt) -> Result<OwnedFd> {
    let (path, name) = (layers.work(), name(layers));
    let shown = || format!("cannot make `{}`", path.display());
    match mkdirat(upper.parent(), &name, MODE) {
        Err(Errno::EXIST) if attempt == Attempt::Repeated => {}
        Err(Errno::EXIST) => return Err(foreign(&path, "is in the way")),
        other => other.or_err(shown)?,
    }
    if is_of_successor(layers) {
        ensure_named(upper, OsStr::new("work")).or_err(shown)?;
    }
    openat(upper.parent(), &name, DIRECTORY, Mode::empty()).or_err(shown)
}

/// Opens the scratch directory of an existing layer; old versions of LXC called it otherwise, so that it may be missing.
pub(crate) fn ensure(upper: &Place, layers: &Layers) -> Result<OwnedFd> {
    let shown = || format!("cannot make `{}`", layers.work().display());
    let name = name(layers);
    ensure_named(upper, &name).or_err(shown)?;
    openat(upper.parent(), &name, DIRECTORY, Mode::empty()).or_err(shown)
}

fn ensure_named(upper: &Place, name: &OsStr) -> Result<(), Errno> {
    match mkdirat(upper.parent(), name, MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Returns the scratch directory for a mount, made anew where somebody tidied it away.
pub(crate) fn ready(layers: &Layers) -> Result<PathBuf> {
    let work = layers.work();
    match mkdir(&work, MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(work),
        Err(errno) => Err(errno).or_err(|| format!("cannot make `{}`", work.display())),
    }
}

/// Returns whether the layer has been mounted for writing.
pub(crate) fn was_used(layers: &Layers) -> Result<bool> {
    let work = layers.work();
    match statat(CWD, work.join("work"), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno).or_err(|| format!("cannot look into `{}`", work.display())),
    }
}

/// Removes the scratch directory of a layer that is out of its place; that of somebody else's in its place stays.
pub(crate) fn remove(context: &Context, upper: &Place, layers: &Layers) -> Result<()> {
    if !matches!(upper.look()?, Seen::Nothing) {
        return Ok(());
    }
    let name = name(layers);
    match upper.remove(context, &name) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_for_owner(upper, &name);
            upper.remove(context, &name)
        }
        other => other,
    }
}

/// Lets the owner into `work/work`, which the kernel makes with mode 000; only root does not need it.
fn open_for_owner(upper: &Place, name: &OsStr) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(upper.parent(), name, DIRECTORY, Mode::empty())
        .and_then(|work| openat(&work, "work", flags, Mode::empty()));
    if let Ok(inner) = opened {
        // The removal that follows says what is still wrong.
        let _best_effort = chmod(format!("/proc/self/fd/{}", inner.as_raw_fd()), Mode::RWXU);
    }
}

/// Removes the directory `overlay` once no layer is in it; while there is one, LXC finds a `work` in it.
pub(crate) fn remove_above(upper: &Place, layers: &Layers) -> Result<()> {
    let above = layers.upper.parent().unwrap_or(&layers.upper);
    if above == layers.home() {
        return Ok(());
    }
    if has_layers(upper)? {
        return ensure_named(upper, OsStr::new("work"))
            .or_err(|| format!("cannot make `work` in `{}`", above.display()));
    }
    // What LXC or we left empty goes; anything else was put there by somebody, and stays with the directory.
    if let Ok(work) = openat(upper.parent(), OF_LXC, DIRECTORY, Mode::empty()) {
        let _left_by_the_kernel = unlinkat(&work, OF_LXC, AtFlags::REMOVEDIR);
    }
    let _empty = unlinkat(upper.parent(), OF_LXC, AtFlags::REMOVEDIR);
    let _empty = unlinkat(CWD, above, AtFlags::REMOVEDIR);
    Ok(())
}

fn has_layers(upper: &Place) -> Result<bool> {
    let shown = || format!("cannot read the directory of `{}`", upper.path().display());
    for entry in Dir::read_from(upper.parent()).or_err(shown)? {
        if entry.or_err(shown)?.file_name().to_bytes().starts_with(b"delta") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of_successor(layers: &Layers) -> bool {
    name(layers).as_encoded_bytes().starts_with(b"work-")
}
