//! The kit itself is tried: a store that lies in one way must be caught by the case that is there for it.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use keiki_core::Result;
use keiki_core::capability::{Availability, Capabilities, Cost};
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan};
use keiki_core::store::{
    Accounting, BackingStore, CloneJob, Clones, Destroyed, Exchange, Found, LineageOps, Pool, Presence,
    Promote, Quota, Rename, Resize, Snapshots, Transfer, Usage,
};
use keiki_core::volume::{Placement, StoreKind, Volume, VolumeId, VolumeSource};
use keiki_dir::DirStore;
use keiki_kit::rig::FileSystem;
use keiki_kit::{Case, PathRig, Rig, Section, harness};

/// One way to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    ClonesAreEmpty,
    ClonesShareFiles,
    SnapshotsAreEmpty,
    DestroyTakesForeign,
    DestroyDoesNothing,
    CreateTakesForeign,
    CreateSwallowsErrors,
    ListIsEmpty,
    ReadOnlyIsWritable,
    AnyOptionIsTaken,
    ClonesCostNothing,
    ProbeSaysAbsent,
}

/// A directory store that lies.
#[derive(Debug)]
struct Liar {
    inner: DirStore,
    lie: Lie,
}

impl Liar {
    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }
}

fn root(volume: &Volume) -> &Path {
    Path::new(volume.source.location())
}

#[async_trait]
impl BackingStore for Liar {
    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn capabilities(&self, pool: &Pool) -> Result<Capabilities> {
        let mut told = self.inner.capabilities(pool)?;
        if self.is(Lie::ClonesCostNothing) {
            told.clone_cost = Cost::Constant;
        }
        Ok(told)
    }

    async fn availability(&self, pool: &Pool) -> Availability {
        self.inner.availability(pool).await
    }

    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
        let mut placement = placement.clone();
        if self.is(Lie::AnyOptionIsTaken) {
            placement.options.clear();
        }
        self.inner.place(&placement, origin)
    }

    async fn create(&self, context: &Context, volume: &Volume) -> Result<()> {
        if self.is(Lie::CreateTakesForeign) && root(volume).exists() {
            return Ok(());
        }
        let context = if self.is(Lie::CreateSwallowsErrors) { &Context::default() } else { context };
        if self.is(Lie::CreateSwallowsErrors) {
            context.step("liar.create")?;
        }
        self.inner.create(context, volume).await
    }

    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        if self.is(Lie::DestroyDoesNothing) {
            return Ok(Destroyed::Removed);
        }
        if self.is(Lie::DestroyTakesForeign) && root(volume).exists() {
            std::fs::remove_dir_all(root(volume)).unwrap();
            return Ok(Destroyed::Removed);
        }
        self.inner.destroy(context, volume).await
    }

    async fn probe(&self, volume: &Volume) -> Result<Presence> {
        if self.is(Lie::ProbeSaysAbsent) { Ok(Presence::Absent) } else { self.inner.probe(volume).await }
    }

    async fn list(&self, pool: &Pool) -> Result<Vec<Found>> {
        if self.is(Lie::ListIsEmpty) { Ok(Vec::new()) } else { self.inner.list(pool).await }
    }

    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
        self.inner.adopt(context, volume, copied).await
    }

    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
        let mut plan = self.inner.attach(context, volume, mode).await?;
        plan.read_only &= !self.is(Lie::ReadOnlyIsWritable);
        Ok(plan)
    }

    async fn detach(&self, context: &Context, volume: &Volume) -> Result<()> {
        self.inner.detach(context, volume).await
    }

    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
        self.inner.usage(context, volumes).await
    }

    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        self.inner.sync_barrier(context, volumes).await
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn exchange(&self) -> Option<&dyn Exchange> {
        BackingStore::exchange(&self.inner)
    }

    fn rename(&self) -> Option<&dyn Rename> {
        self.inner.rename()
    }

    fn resize(&self) -> Option<&dyn Resize> {
        self.inner.resize()
    }

    fn quota(&self) -> Option<&dyn Quota> {
        self.inner.quota()
    }

    fn lineage_ops(&self) -> Option<&dyn LineageOps> {
        self.inner.lineage_ops()
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        self.inner.transfer()
    }

    fn promotion(&self) -> Option<&dyn Promote> {
        self.inner.promotion()
    }

    fn accounting(&self) -> Option<&dyn Accounting> {
        self.inner.accounting()
    }
}

#[async_trait]
impl Snapshots for Liar {
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()> {
        if self.is(Lie::SnapshotsAreEmpty) {
            return self.inner.create(context, target).await;
        }
        self.inner.snapshots().unwrap().snapshot(context, source, target).await
    }
}

#[async_trait]
impl Clones for Liar {
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for job in jobs {
            results.push(match self.lie {
                Lie::ClonesAreEmpty => self.inner.create(context, &job.target).await,
                Lie::ClonesShareFiles => {
                    let made = self.inner.create(context, &job.target).await;
                    for entry in std::fs::read_dir(root(source)).into_iter().flatten().flatten() {
                        // Directories cannot be linked; the case that catches it has files.
                        let _linked =
                            std::fs::hard_link(entry.path(), root(&job.target).join(entry.file_name()));
                    }
                    made
                }
                _ => {
                    let one = std::slice::from_ref(job);
                    self.inner.clones().unwrap().clone_from(context, source, one).await.remove(0)
                }
            });
        }
        results
    }
}

/// Returns which of the cases that are wanted fail with a lie.
fn caught(lie: Lie, wanted: impl Fn(&Case) -> bool) -> Vec<String> {
    let store = Arc::new(Liar { inner: DirStore::new(), lie });
    let rig = PathRig::new(store, FileSystem::Native);
    let cases = keiki_kit::cases::all().into_iter().filter(|case| wanted(case));
    cases
        .filter(|case| case.concerns(&rig as &dyn Rig) && harness::run(&rig, case).is_err())
        .map(|case| case.name.to_owned())
        .collect()
}

#[test]
fn a_store_that_does_not_lie_passes() {
    let sections = [Section::Description, Section::Honesty, Section::Lifecycle, Section::Mounts];
    assert_eq!(caught(Lie::None, |case| sections.contains(&case.section)), Vec::<String>::new());
}

#[test]
fn every_lie_is_caught_by_its_case() {
    for (lie, name) in [
        (Lie::ClonesAreEmpty, "a_clone_begins_as_its_source"),
        (Lie::ClonesShareFiles, "writes_to_a_parent_do_what_is_declared"),
        (Lie::SnapshotsAreEmpty, "a_snapshot_keeps_what_was"),
        (Lie::DestroyTakesForeign, "a_foreign_object_refuses_destroy_and_is_left_alone"),
        (Lie::DestroyDoesNothing, "a_volume_is_absent_made_and_gone"),
        (Lie::CreateTakesForeign, "a_foreign_object_refuses_create_and_is_left_alone"),
        (Lie::CreateSwallowsErrors, "a_create_that_fails_anywhere_is_cleaned_by_destroy"),
        (Lie::ListIsEmpty, "list_finds_exactly_what_is_marked"),
        (Lie::ReadOnlyIsWritable, "a_read_only_mount_refuses_every_write"),
        (Lie::AnyOptionIsTaken, "options_it_does_not_know_are_refused"),
        (Lie::ClonesCostNothing, "a_clone_costs_what_is_declared"),
        (Lie::ProbeSaysAbsent, "a_volume_is_absent_made_and_gone"),
    ] {
        assert_eq!(caught(lie, |case| case.name == name), [name], "{lie:?}");
    }
}
