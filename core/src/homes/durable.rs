//! Making volumes in homes durable.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, open, syncfs};
use rustix::io::Errno;

use super::{DIRECTORY, path_of};
use crate::context::Context;
use crate::error::{Result, ResultExt};
use crate::volume::Volume;

/// Writes back every file system that holds one of the volumes, once; each is announced as `step`.
///
/// # Errors
/// What the kernel says.
pub fn sync_file_systems(context: &Context, step: &str, volumes: &[Volume]) -> Result<()> {
    let mut synced = BTreeSet::new();
    for volume in volumes {
        let path = path_of(volume)?;
        let shown = || format!("cannot write back `{}`", path.display());
        let Some(directory) = nearest(path).or_err(shown)? else { continue };
        if synced.insert(fstat(&directory).or_err(shown)?.st_dev) {
            context.step(step)?;
            syncfs(&directory).or_err(shown)?;
        }
    }
    Ok(())
}

/// Opens the nearest directory above a volume that exists: a destroyed volume has none of its own.
///
/// # Errors
/// What the kernel says.
pub fn nearest(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    for ancestor in path.ancestors().skip(1) {
        match open(ancestor, DIRECTORY - OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}
