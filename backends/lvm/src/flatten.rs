//! A dependent volume gets data of its own: a new volume, and the tree copied into it.

use std::os::fd::AsFd;

use keiki_core::context::{Context, Progress};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::{CopyOptions, copy_tree};

use crate::attach::{attach, detach};
use crate::create::create;

/// Makes `target` hold everything that `volume` shows; see `LineageOps::flatten`.
pub(crate) fn flatten(context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
    create(context, target)?;
    let copied = copy(context, volume, target);
    let ends = detach(context, target).and(detach(context, volume));
    copied.and(ends)
}

fn copy(context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
    let (read, write) =
        (attach(context, volume, AttachMode::ReadOnly)?, attach(context, target, AttachMode::Fill)?);
    let (source, root) = (execute(&read)?, execute(&write)?);
    context.step("lvm.copy")?;
    let progress = |done: keiki_tree::Progress| {
        context.progress(Progress { entries: done.entries, bytes: done.bytes });
    };
    let options = CopyOptions { progress: Some(&progress), ..CopyOptions::default() };
    copy_tree(source.as_fd(), root.as_fd(), &options)
        .map(drop)
        .map_err(std::io::Error::from)
        .or_err(|| format!("cannot copy `{}` to `{}`", volume.source, target.source))
}
