//! The optional verbs of the reference store.

use async_trait::async_trait;

use super::disk::{Base, Making, Verb};
use super::{Group, Naming, ReferenceStore};
use crate::capability::ParentWrite;
use crate::context::Context;
use crate::error::Result;
use crate::store::{
    CloneJob, Clones, Exchange, LineageOps, Promote, Promoted, Quota, Rename, Resize, Resized, Snapshots,
};
use crate::units::Bytes;
use crate::volume::{Properties, Volume, VolumeSource};

impl ReferenceStore {
    /// How a new volume hangs on its source, by what the store promises.
    fn base(&self) -> Base {
        let capabilities = &self.options.capabilities;
        match (capabilities.clones_depend(), capabilities.parent_write) {
            (false, _) => Base::Copied,
            (true, ParentWrite::Free) => Base::Held,
            (true, ParentWrite::Forbidden) => Base::Stacked,
        }
    }

    fn check_source(&self, source: &Volume, verb: &str) -> Result<()> {
        if !self.options.capabilities.snapshot_of_snapshot && self.disk.is_snapshot(source) {
            return Err(self.unsupported(&format!("{verb} a snapshot")));
        }
        Ok(())
    }

    async fn clone_one(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        self.check_source(source, "clone")?;
        let making = Making::Clone(source.clone(), self.base());
        self.disk.make(context, Verb::Clone, target, making).await?;
        self.settle([&target.source])
    }
}

#[async_trait]
impl Snapshots for ReferenceStore {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        if !self.has(Group::Snapshots) {
            return Err(self.unsupported("make snapshots"));
        }
        self.check_source(source, "snapshot")?;
        let making = Making::Snapshot(source.clone(), self.base());
        self.disk.make(context, Verb::Snapshot, target, making).await?;
        self.settle([&target.source])
    }
}

#[async_trait]
impl Clones for ReferenceStore {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(self.clone_one(context, source, &job.target).await);
        }
        results
    }
}

#[async_trait]
impl Exchange for ReferenceStore {
    async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()> {
        self.disk.exchange(context, a, b).await?;
        self.settle([&a.source, &b.source])
    }
}

#[async_trait]
impl Rename for ReferenceStore {
    fn aside(&self, volume: &Volume) -> Result<VolumeSource> {
        if self.options.naming == Naming::Plain && volume.source.location().contains('@') {
            // It moves with its head.
            return Ok(volume.source.clone());
        }
        VolumeSource::new(self.options.kind.clone(), format!("keiki-ghost-{}", volume.id.short()))
    }

    fn follow(&self, volume: &Volume, moved: &VolumeSource, target: &VolumeSource) -> Result<VolumeSource> {
        if volume.source == *moved {
            return Ok(target.clone());
        }
        match volume.source.location().strip_prefix(moved.location()) {
            Some(rest) if rest.starts_with('@') => {
                VolumeSource::new(self.options.kind.clone(), format!("{}{rest}", target.location()))
            }
            _ => Ok(volume.source.clone()),
        }
    }

    async fn options_of(&self, _volume: &Volume) -> Result<Properties> {
        Ok(Properties::new())
    }

    async fn rename(&self, context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
        let carried = self.disk.rename(context, volume, target).await?;
        self.settle([&volume.source, target].into_iter().chain(&carried))
    }
}

#[async_trait]
impl Resize for ReferenceStore {
    async fn resize(&self, context: &Context, volume: &Volume, size: Bytes) -> Result<Resized> {
        self.disk.limit(context, Verb::Resize, volume, Some(size)).await?;
        let mut properties = volume.properties.clone();
        properties.insert("size".to_owned(), size.0.to_string());
        Ok(Resized { size, properties })
    }
}

#[async_trait]
impl Quota for ReferenceStore {
    async fn set_quota(&self, context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()> {
        self.disk.limit(context, Verb::Quota, volume, limit).await
    }

    async fn limit_of(&self, _context: &Context, volume: &Volume) -> Result<Option<Bytes>> {
        self.disk.limit_of(volume)
    }
}

#[async_trait]
impl LineageOps for ReferenceStore {
    async fn flatten(&self, context: &Context, volume: &Volume, target: &Volume) -> Result<()> {
        let making = Making::Clone(volume.clone(), Base::Copied);
        self.disk.make(context, Verb::Flatten, target, making).await?;
        self.settle([&target.source])
    }
}

#[async_trait]
impl Promote for ReferenceStore {
    async fn promote(&self, context: &Context, volume: &Volume, family: &[Volume]) -> Result<Promoted> {
        let moved = self.disk.promote(context, volume).await?;
        self.settle(family.iter().map(|member| &member.source).chain(&moved))?;
        self.disk.standing(family)
    }

    async fn standing(&self, _context: &Context, family: &[Volume]) -> Result<Promoted> {
        self.disk.standing(family)
    }
}
