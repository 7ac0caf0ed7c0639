//! What volumes take, and when they are durable.

use std::collections::HashSet;
use std::os::fd::AsFd;

use keiki_core::context::Context;
use keiki_core::store::Usage;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::measure_tree;
use rustix::fs::{fstat, syncfs};

use crate::attach::own_directories;

/// Measures what destroying a volume would free: its upper layer and the base that it brought along.
///
/// What it shows in all (`referenced`) would take a walk through the merged tree; it is not told.
pub(crate) fn usage(volume: &Volume) -> Result<Usage> {
    let own = own_directories(volume)?;
    if own.is_empty() {
        return Ok(Usage::default());
    }
    let mut bytes = 0;
    for directory in own {
        let size =
            measure_tree(directory.as_fd(), None).or_err(|| format!("cannot measure `{}`", volume.source))?;
        bytes += size.allocated;
    }
    Ok(Usage { exclusive: Some(Bytes(bytes)), ..Usage::default() })
}

/// Writes back every file system that a volume is on, each of them once.
pub(crate) fn sync(context: &Context, volumes: &[Volume]) -> Result<()> {
    let mut done = HashSet::new();
    for volume in volumes {
        for directory in own_directories(volume)? {
            let shown = || format!("cannot write back `{}`", volume.source);
            if done.insert(fstat(&directory).or_err(shown)?.st_dev) {
                context.step("sync.syncfs")?;
                syncfs(&directory).or_err(shown)?;
            }
        }
    }
    Ok(())
}
