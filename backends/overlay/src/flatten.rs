//! Flattening: the merged tree is copied into a base of its own, after which no other layer is needed.

use std::os::fd::AsFd;

use keiki_core::context::{Context, Progress};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_tree::{CopyOptions, copy_tree};

use crate::attach;
use crate::create::{Steps, make};

const FLATTEN: Steps =
    Steps { base: "flatten.base", mkdir: "flatten.mkdir", mark: "flatten.mark", publish: "flatten.publish" };

/// Makes `target`, which has a base of its own, hold what `volume` shows.
///
/// The copy is made from the mounted stack: whiteouts and the notes of overlayfs are not content, and the kernel hides
/// both.
pub(crate) fn flatten(context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
    let plan = attach::plan(volume, AttachMode::ReadOnly)?;
    make(context, target, &FLATTEN, |base| {
        let source = execute(&plan)?;
        context.step("flatten.copy")?;
        let progress = |done: keiki_tree::Progress| {
            context.progress(Progress { entries: done.entries, bytes: done.bytes });
        };
        let options = CopyOptions { progress: Some(&progress), ..CopyOptions::default() };
        let copied = copy_tree(source.as_fd(), base, &options);
        copied.map(drop).or_err(|| format!("cannot copy `{}` to `{}`", volume.source, target.source))
    })
}
