//! `keiki destroy`: planned whole, decided by one rename, reclaimed afterwards.
//!
//! ```text
//! [destroy.aside (once a ghost with a name of its own)]
//! destroy.unpublish                 ← the commit point: the first home is in the trash, and its name is free
//! [destroy.relations]   destroy.record   destroy.reclaim (once a volume)   destroy.empty
//! ```
//!
//! Until the commit point an error puts everything back, and so does a volume with a name of its own that is held, or out of
//! reach, when it is the first to go. Behind it the intent stays until all is reclaimed: a busy mount or a kill delays the
//! space, never the deletion.

use std::collections::BTreeSet;
use std::path::Path;

use super::ancestry::Ancestry;
use super::busy::{require_unbound, require_unmounted};
use super::catalogue::journal as rows;
use super::catalogue::{Neighbourhood, VolumeRow};
use super::discover::snapshot_as_container;
use super::intent::{Destroy, Intent, Leaving};
use super::journal::Begun;
use super::locks::Hold;
use super::moves::{Moves, Shifting};
use super::request::{ContainerKey, DestroyScope};
use super::{Engine, home, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Action, DestroyPlan, NodeRole, Target};
use crate::name::SnapshotName;
use crate::volume::{Volume, VolumeId};

/// How often a plan is made anew because others changed the family meanwhile.
const ATTEMPTS: usize = 20;

impl Engine {
    /// Plans the destruction of a container. Blockers are part of the plan, not an error.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn plan_destroy(&self, key: &ContainerKey, scope: DestroyScope) -> Result<DestroyPlan> {
        self.know(&Context::default(), std::slice::from_ref(key))?;
        let target = Target::Container(key.clone());
        self.ancestry(key, Neighbourhood::Whole)?.lineage.plan_destroy(&[target], scope)
    }

    /// Destroys a container as far as the scope reaches, and returns the plan that was carried out.
    ///
    /// # Errors
    /// [`ErrorKind::HasDependents`] naming every blocker; [`ErrorKind::Busy`] while any of the containers runs. Nothing
    /// was changed then. An error that says that the data could not be reclaimed comes after the deletion.
    pub fn destroy(&self, context: &Context, key: &ContainerKey, scope: DestroyScope) -> Result<DestroyPlan> {
        self.destroy_target(context, key, &Target::Container(key.clone()), scope)
    }

    /// Destroys one snapshot.
    ///
    /// # Errors
    /// As [`Self::destroy`]; [`ErrorKind::NotFound`].
    pub fn destroy_snapshot(
        &self,
        context: &Context,
        key: &ContainerKey,
        snapshot: &SnapshotName,
    ) -> Result<()> {
        let target = Target::Snapshot(key.clone(), snapshot.clone());
        self.destroy_target(context, key, &target, DestroyScope::Only).map(drop)
    }

    fn destroy_target(
        &self,
        context: &Context,
        key: &ContainerKey,
        target: &Target,
        scope: DestroyScope,
    ) -> Result<DestroyPlan> {
        for _ in 0..ATTEMPTS {
            self.know(context, std::slice::from_ref(key))?;
            let (before, ancestry) = self.plan_target(key, target, scope)?;
            let keys = self.concerned(key, &before, &ancestry)?;
            let wanted: Vec<_> = keys.iter().map(|key| (key, Hold::Exclusive)).collect();
            let held = self.locks.take(context, &wanted, "destroy")?;
            // Others may have cloned or destroyed while we waited; a plan counts only under its locks.
            let (plan, ancestry) = self.plan_target(key, target, scope)?;
            if self.concerned(key, &plan, &ancestry)? != keys {
                continue;
            }
            self.carry_out(context, &plan, &ancestry)?;
            if scope == DestroyScope::Only && matches!(target, Target::Snapshot(..)) {
                drop(held);
            } else {
                held.retire();
            }
            return Ok(plan);
        }
        Err(Error::new(ErrorKind::Busy, format!("cannot destroy `{}`: its family keeps changing", key.name))
            .with_hint("repeat the command"))
    }

    fn plan_target(
        &self,
        key: &ContainerKey,
        target: &Target,
        scope: DestroyScope,
    ) -> Result<(DestroyPlan, Ancestry)> {
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        if let Target::Snapshot(_, name) = target {
            ancestry.find(key, Some(name))?;
        }
        let plan = ancestry.lineage.plan_destroy(std::slice::from_ref(target), scope)?;
        Ok((plan.permitted()?, ancestry))
    }

    fn carry_out(&self, context: &Context, plan: &DestroyPlan, ancestry: &Ancestry) -> Result<()> {
        for key in plan.containers() {
            self.require_idle(key, "destroy")?;
            relations::refuse_counted(key, "destroy")?;
        }
        let destroy = self.describe(plan, ancestry)?;
        let homes = || destroy.homes.iter().map(|leaving| leaving.home.as_path());
        require_unmounted(homes(), "destroy")?;
        require_unbound(homes(), "destroy")?;
        self.require_within_reach(&destroy)?;
        let begun = self.begin("destroy", Intent::Destroy(destroy.clone()), &[])?;
        let gone = self
            .carry_out_moves(context, "destroy.aside", &destroy.moves)
            .and_then(|()| self.unpublish(context, &destroy))
            .and_then(|()| self.destroy_first(context, &destroy));
        if let Err(error) = gone {
            let undo = || republish(&destroy).and_then(|()| self.undo_moves(&destroy.moves));
            return Err(self.take_back(begun, error, undo));
        }
        self.reclaim(&context.without_deadline(), begun, &destroy).map_err(|error| {
            let gone = plan.subjects.join("`, `");
            error
                .while_doing(format!("`{gone}` is destroyed, but its data is not reclaimed yet"))
                .with_hint("the next keiki command goes on with it, or `keiki check --repair` does so now")
        })
    }

    /// Turns a plan into an intent: which homes move, and where each volume will be then.
    fn describe(&self, plan: &DestroyPlan, ancestry: &Ancestry) -> Result<Destroy> {
        let moves = self.ghosting_moves(plan, ancestry)?;
        self.require_free_places(&moves)?;
        let mut destroy = Destroy { homes: leaving_homes(plan), moves, ..Destroy::default() };
        for step in &plan.steps {
            let row = ancestry.rows.get(&step.volume).ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    format!("volume `{}` of the plan is not recorded", step.volume),
                )
            })?;
            match step.action {
                Action::Defer => destroy.ghosts.push(step.volume),
                Action::Destroy => {
                    let gone = self.in_trash(row, &destroy.homes)?;
                    destroy.volumes.push(destroy.moves.applied(&gone));
                }
            }
            let ancestors = ancestry.containers_above(row, &step.container);
            match &step.role {
                NodeRole::Head => {
                    destroy.containers.push((step.container.clone(), ancestors));
                    if let Some(row) = self.catalogue.container(&step.container)? {
                        destroy.marks.push((row.key, row.home_id));
                    }
                }
                // LXC notes snapshots as relatives too.
                NodeRole::Snapshot(name) if !ancestors.is_empty() => {
                    destroy.containers.push((snapshot_as_container(&step.container, name)?, ancestors));
                }
                NodeRole::Snapshot(_) | NodeRole::Layer | NodeRole::Ghost => {}
            }
        }
        Ok(destroy)
    }

    /// Plans where volumes go that stay for others; those in homes cannot stay, so there are none.
    fn ghosting_moves(&self, plan: &DestroyPlan, ancestry: &Ancestry) -> Result<Moves> {
        let mut shifting = Shifting::new(self, ancestry);
        for step in plan.steps.iter().filter(|step| step.action == Action::Defer) {
            if let Some(row) = ancestry.rows.get(&step.volume) {
                shifting.put_aside(row)?;
            }
        }
        let goes: BTreeSet<VolumeId> = plan.steps.iter().map(|step| step.volume).collect();
        shifting.finish(|row| goes.contains(&row.volume.id))
    }

    /// Returns every container whose volumes or files a plan touches.
    fn concerned(
        &self,
        key: &ContainerKey,
        plan: &DestroyPlan,
        ancestry: &Ancestry,
    ) -> Result<BTreeSet<ContainerKey>> {
        let named = plan.steps.iter().filter(|step| step.role != NodeRole::Ghost);
        let mut keys: BTreeSet<ContainerKey> = named.map(|step| step.container.clone()).collect();
        keys.extend(self.moved_containers(&self.ghosting_moves(plan, ancestry)?, ancestry));
        keys.insert(key.clone());
        Ok(keys)
    }

    /// Returns a volume where it is when the homes are in the trash.
    fn in_trash(&self, row: &VolumeRow, homes: &[Leaving]) -> Result<Volume> {
        let volume = &row.volume;
        if !self.lives_in_home(volume, &row.container)? {
            return Ok(volume.clone());
        }
        let lies_in = |home: &Path| volume.source.paths().last().is_some_and(|own| own.starts_with(home));
        // The innermost: a snapshot's home lies in its container's.
        let around = homes.iter().filter(|leaving| lies_in(&leaving.home));
        let source = match around.max_by_key(|leaving| leaving.home.components().count()) {
            Some(Leaving { home, trash }) => volume.source.relocated(home, trash)?,
            None => volume.source.clone(),
        };
        Ok(Volume { source, ..volume.clone() })
    }

    fn unpublish(&self, context: &Context, destroy: &Destroy) -> Result<()> {
        context.step("destroy.unpublish")?;
        for leaving in &destroy.homes {
            home::make_parent(&leaving.trash)?;
            // Gone by other hands, or moved before a crash: both are what is wanted.
            if home::exists(&leaving.home)? && !home::exists(&leaving.trash)? {
                home::move_to_free(&leaving.home, &leaving.trash)?;
            }
        }
        let parents: BTreeSet<_> = destroy
            .homes
            .iter()
            .flat_map(|leaving| [leaving.trash.parent(), leaving.home.parent()])
            .flatten()
            .collect();
        for parent in parents {
            if home::exists(parent)? {
                home::sync_directory(parent)?;
            }
        }
        Ok(())
    }

    fn reclaim(&self, context: &Context, begun: Begun, destroy: &Destroy) -> Result<()> {
        if destroy.containers.iter().any(|(_, ancestors)| !ancestors.is_empty()) {
            context.step("destroy.relations")?;
            self.unlink(context, &destroy.containers)?;
        }
        destroy.moves.write_files()?;
        context.step("destroy.record")?;
        self.catalogue.write(|db| {
            destroy.moves.record(db)?;
            destroy.ghosts.iter().try_for_each(|id| rows::make_ghost(db, *id))?;
            destroy.volumes.iter().try_for_each(|volume| rows::drop_volume(db, volume.id))?;
            destroy.marks.iter().try_for_each(|(key, mark)| rows::drop_container_of(db, key, *mark))
        })?;
        for volume in &destroy.volumes {
            context.step("destroy.reclaim")?;
            self.destroy_volume(context, volume)?;
        }
        context.step("destroy.empty")?;
        for leaving in &destroy.homes {
            home::remove(&leaving.trash)?;
            // `snaps` of a container that stays: LXC takes an empty one for snapshots.
            if let Some(parent) = leaving.home.parent().filter(|parent| parent.ends_with("snaps")) {
                home::remove_if_empty(parent);
            }
        }
        self.finish(begun, |_| Ok(()))
    }

    /// Destroys layers and ghosts around a container that nobody needs any more.
    pub(super) fn reclaim_garbage(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let rows = ancestry.lineage.garbage().into_iter().filter_map(|node| ancestry.rows.get(&node.id));
        let volumes: Vec<Volume> = rows.map(|row| row.volume.clone()).collect();
        if volumes.is_empty() {
            return Ok(());
        }
        let destroy = Destroy { volumes, ..Destroy::default() };
        let begun = self.begin("reclaim", Intent::Destroy(destroy.clone()), &[])?;
        self.reclaim(context, begun, &destroy)
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_destroy(&self, context: &Context, begun: Begun, destroy: &Destroy) -> Result<()> {
        let mut committed = destroy.homes.is_empty();
        for leaving in &destroy.homes {
            committed |= home::exists(&leaving.trash)? || !home::exists(&leaving.home)?;
        }
        if !committed {
            self.undo_moves(&destroy.moves)?;
            return self.finish(begun, |_| Ok(()));
        }
        self.unpublish(context, destroy)?;
        self.reclaim(context, begun, destroy)
    }
}

/// Returns which homes go, each with its place in the trash; a snapshot's goes with its container's.
fn leaving_homes(plan: &DestroyPlan) -> Vec<Leaving> {
    let containers: BTreeSet<&ContainerKey> = plan.containers().into_iter().collect();
    let homes = plan.steps.iter().filter_map(|step| {
        let home = match &step.role {
            NodeRole::Head => step.container.home(),
            NodeRole::Snapshot(name) if !containers.contains(&step.container) => {
                step.container.snapshot_home(name)
            }
            NodeRole::Snapshot(_) | NodeRole::Layer | NodeRole::Ghost => return None,
        };
        let trash = home::trash(&step.container.lxcpath, VolumeId::generate());
        Some(Leaving { home, trash })
    });
    homes.collect()
}

/// Puts back what was moved before an error.
fn republish(destroy: &Destroy) -> Result<()> {
    for leaving in destroy.homes.iter().rev() {
        if home::exists(&leaving.trash)? && !home::exists(&leaving.home)? {
            home::move_to_free(&leaving.trash, &leaving.home)?;
        }
    }
    Ok(())
}
