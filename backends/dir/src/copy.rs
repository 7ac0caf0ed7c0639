//! Snapshots and clones: copies, which share blocks where the file system can.

use std::os::fd::AsFd;

use keiki_core::context::{Context, Progress};
use keiki_core::homes::{MakeSteps, Place, Shape};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::{CopyOptions, TreeError, copy_tree};

use crate::store::KIND;

/// The steps of a copy.
#[derive(Debug)]
pub(crate) struct CopySteps {
    copy: &'static str,
    make: MakeSteps,
}

pub(crate) const SNAPSHOT: CopySteps = CopySteps {
    copy: "snapshot.copy",
    make: MakeSteps { make: "snapshot.mkdir", mark: "snapshot.mark", publish: "snapshot.publish" },
};

pub(crate) const CLONE: CopySteps = CopySteps {
    copy: "clone.copy",
    make: MakeSteps { make: "clone.mkdir", mark: "clone.mark", publish: "clone.publish" },
};

/// Makes `target` hold what `source` holds.
pub(crate) fn copy(context: &Context, source: &Volume, target: &Volume, steps: &CopySteps) -> Result<()> {
    if source.kind().as_str() != KIND {
        let text = format!("the dir store cannot clone from `{}`", source.source);
        return Err(Error::new(ErrorKind::Unsupported, text)
            .with_hint("copy the container into the dir store instead: `keiki copy --bdev dir`"));
    }
    let from = Place::of_existing(source, Shape::Directory)?.open_ours()?;
    Place::of_new(target, Shape::Directory)?.make(context, &steps.make, |root| {
        context.step(steps.copy)?;
        let progress = |progress: keiki_tree::Progress| {
            context.progress(Progress { entries: progress.entries, bytes: progress.bytes });
        };
        let options = CopyOptions { progress: Some(&progress), ..CopyOptions::default() };
        let copied = copy_tree(from.as_fd(), root.as_fd(), &options);
        copied.map(drop).map_err(|error| explain(error, source, target))
    })
}

fn explain(error: TreeError, source: &Volume, target: &Volume) -> Error {
    let was_written = matches!(error, TreeError::SourceChanged { .. });
    let text = || format!("cannot copy `{}` to `{}`", source.source, target.source);
    match Err::<(), _>(error).or_err(text) {
        Err(error) if was_written => error.with_hint("stop whatever writes to it and try again"),
        Err(error) => error,
        Ok(()) => Error::new(ErrorKind::Internal, text()),
    }
}
