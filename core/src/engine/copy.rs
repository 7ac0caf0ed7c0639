//! Clones by a store's own verb, and copies between any two stores: the source is mounted read-only, the target for filling, both detached, and the tree is copied
//! from descriptor to descriptor with everything that it is made of.

use std::os::fd::AsFd;

use keiki_tree::{CopyOptions, copy_tree};

use super::Engine;
use crate::capability::Cost;
use crate::context::{Context, Progress};
use crate::error::{Result, ResultExt};
use crate::mount_plan::{self, AttachMode};
use crate::store::{CloneJob, Clones};
use crate::volume::Volume;

impl Engine {
    /// Makes `target`, which is not there yet, hold what `source` shows, depending on nobody: by the store's own verb where it has
    /// one, else as a new volume that the tree is copied into.
    pub(super) fn copy_aside(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        let store = self.store_of(target)?;
        if let Some(group) = store.lineage_ops().filter(|_| source.kind() == target.kind()) {
            return self.wait(group.flatten(context, source, target));
        }
        self.wait(store.create(context, target))?;
        self.copy_content(context, source, target).map(drop)
    }

    /// Makes clones of `source` by its store's own verb, as one batch.
    pub(super) fn clone_natively(
        &self,
        context: &Context,
        group: &dyn Clones,
        source: &Volume,
        targets: impl IntoIterator<Item = Volume>,
    ) -> Result<()> {
        let jobs: Vec<CloneJob> = targets.into_iter().map(|target| CloneJob { target }).collect();
        self.wait(group.clone_from(context, source, &jobs)).into_iter().collect()
    }

    /// Makes the empty volume `target` hold what `source` shows.
    pub(super) fn copy_content(&self, context: &Context, source: &Volume, target: &Volume) -> Result<Cost> {
        let (from, to) = (self.store_of(source)?, self.store_of(target)?);
        let read = self.wait(from.attach(context, source, AttachMode::ReadOnly))?;
        let copied = self.wait(to.attach(context, target, AttachMode::Fill)).and_then(|write| {
            let (source, target) = (mount_plan::execute(&read)?, mount_plan::execute(&write)?);
            let report = |progress: keiki_tree::Progress| {
                context.progress(Progress { entries: progress.entries, bytes: progress.bytes });
            };
            let options = CopyOptions { progress: Some(&report), ..CopyOptions::default() };
            copy_tree(source.as_fd(), target.as_fd(), &options)
                .map_err(std::io::Error::from)
                .or_err(|| "cannot copy the root filesystem".to_owned())
        });
        let ends = self.wait(to.detach(context, target)).and(self.wait(from.detach(context, source)));
        let report = copied?;
        ends?;
        Ok(if report.means() == keiki_tree::Means::Reflink { Cost::PerEntry } else { Cost::PerByte })
    }
}
