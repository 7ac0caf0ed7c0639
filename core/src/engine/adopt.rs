//! Takes containers and snapshots that LXC made into the catalogue, at the first operation that changes them or builds upon
//! them. Nothing of theirs is altered but the ownership marks.
//!
//! Adoption reaches as far as lineage does: a container comes with those it stacks upon and those that stack upon it, because
//! rules about it cannot be decided otherwise. It needs no intent: marks without rows are replaced by the next try.

use std::collections::BTreeSet;
use std::ffi::OsString;

use super::catalogue::journal as rows;
use super::catalogue::{ContainerRow, PlacedRole, VolumeRow};
use super::discover::{
    Discovered, DiscoveredSnapshot, no_container, owner_of_snapshot, snapshot_as_container,
};
use super::intent::Touched;
use super::kin::Owners;
use super::locks::Hold;
use super::request::ContainerKey;
use super::settle::Known;
use super::{Engine, home, now, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::lxc_files::LxcSnapshots;
use crate::lineage::{Dependency, Edge, NodeRole};
use crate::store::Presence;
use crate::volume::{Volume, VolumeId, VolumeSource};

impl Engine {
    /// Takes a container that LXC made into the catalogue; one that is there already is left alone.
    ///
    /// # Behavior
    /// For whoever is about to mount one: stores mount only what carries our mark.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], and what keeps the catalogue from being written.
    pub fn adopt(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        match self.settled(context, key)? {
            Known::Ours(_) => Ok(()),
            Known::Lxc(_) | Known::Nothing => self.know(context, std::slice::from_ref(key)),
        }
    }

    /// Makes sure that containers, their snapshots, and whatever LXC related to them are in the catalogue, and that
    /// nothing is there that other hands destroyed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a container that is not there.
    pub(super) fn know(&self, context: &Context, keys: &[ContainerKey]) -> Result<()> {
        self.catalogue.require_writable()?;
        self.recover()?;
        let mut pending: Vec<ContainerKey> = keys.to_vec();
        let mut met: BTreeSet<ContainerKey> = BTreeSet::new();
        // Parents first: a child's edge needs its parent's row.
        let mut order: Vec<Discovered> = Vec::new();
        while let Some(key) = pending.pop() {
            let key = owner_of_snapshot(&key).unwrap_or(key);
            if !met.insert(key.clone()) {
                continue;
            }
            let required = keys.contains(&key);
            if !self.look_at(context, (&key, required), &mut order, &mut pending)? {
                self.forget(context, &key)?;
            }
        }
        while !order.is_empty() {
            let before = order.len();
            let mut later = Vec::new();
            for found in order {
                let waits = match &found.parent {
                    Some(parent) => self.catalogue.container(parent)?.is_none() && met.contains(parent),
                    None => false,
                };
                if waits {
                    later.push(found);
                } else {
                    self.adopt_container(context, &found)?;
                }
            }
            if later.len() == before {
                return Err(relations_in_a_circle(&later));
            }
            order = later;
        }
        keys.iter().try_for_each(|key| self.adopt_snapshots(context, key))
    }

    /// Decides what a name is; returns whether it is there at all.
    fn look_at(
        &self,
        context: &Context,
        (key, required): (&ContainerKey, bool),
        order: &mut Vec<Discovered>,
        pending: &mut Vec<ContainerKey>,
    ) -> Result<bool> {
        let known = self.settled(context, key)?;
        if !home::exists(&key.home())? {
            return if required { self.forget(context, key).and(Err(no_container(key))) } else { Ok(false) };
        }
        match known {
            Known::Ours(row) => self.require_own_home_now(context, &row)?,
            Known::Lxc(found) => {
                pending.extend(found.parent.clone());
                order.push(found);
            }
            Known::Nothing if required => return Err(no_container(key)),
            Known::Nothing => return Ok(true),
        }
        if let LxcSnapshots::Pairs(children) = relations::read_snapshots(key)? {
            pending.extend(self.catalogue.unknown(&children)?.into_iter().cloned());
        }
        Ok(true)
    }

    /// Refuses when another directory has taken the place of the home, and not merely another container the name's.
    fn require_own_home_now(&self, context: &Context, row: &ContainerRow) -> Result<()> {
        let Err(refusal) = require_own_home(row) else { return Ok(()) };
        // Between two looks it may have been destroyed and made again: only what is seen under the lock counts.
        let _held = self.locks.take(context, &[(&row.key, Hold::Exclusive)], "adopt")?;
        match self.settled(context, &row.key)? {
            Known::Ours(now) if now.home_id == row.home_id && home::exists(&row.key.home())? => Err(refusal),
            Known::Ours(now) if home::exists(&now.key.home())? => require_own_home(&now),
            _ => Ok(()),
        }
    }

    /// Removes the rows of a container whose home is gone, when its volumes lived in it.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while somebody works on the container: a rename or destroy may be half way.
    pub(super) fn forget(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        if self.catalogue.container(key)?.is_none() {
            return Ok(());
        }
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "forget")?;
        self.refuse_unfinished(key)?;
        if home::exists(&key.home())? {
            return Ok(());
        }
        self.forget_locked(key)
    }

    /// Refuses while an operation on the container is not finished, whoever left it.
    fn refuse_unfinished(&self, key: &ContainerKey) -> Result<()> {
        for id in self.catalogue.intent_ids()? {
            let Some(stored) = self.catalogue.intent(id)? else { continue };
            if Touched::by(&stored.intent).keys.contains(key) {
                let message = format!("a {} of container `{}` is not finished", stored.operation, key.name);
                return Err(Error::new(ErrorKind::Busy, message)
                    .with_context("holder", stored.owner)
                    .with_hint("`keiki check --repair` finishes it, or says why it cannot"));
            }
        }
        Ok(())
    }

    /// As [`Self::forget`], for whoever holds the container.
    pub(super) fn forget_locked(&self, key: &ContainerKey) -> Result<()> {
        let volumes = self.catalogue.volumes_of(key)?;
        let Some(container) = self.catalogue.container(key)? else { return Ok(()) };
        require_mounted(&container)?;
        for row in &volumes {
            if !self.lives_in_home(&row.volume, key)? {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "the directory of container `{}` is gone, its volume `{}` is not",
                        key.name, row.volume.source
                    ),
                )
                .with_hint("`keiki check` shows it, `keiki check --repair` makes the directory anew"));
            }
        }
        self.catalogue.write(|db| {
            volumes.iter().try_for_each(|row| rows::drop_volume(db, row.volume.id))?;
            // Whoever made the name anew since then did not need our lock: its row is another.
            rows::drop_container_of(db, key, container.home_id)
        })
    }

    /// Returns whether a volume's objects are below its container's home.
    pub(super) fn lives_in_home(&self, volume: &Volume, key: &ContainerKey) -> Result<bool> {
        let store = self.store_of(volume)?;
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(volume))?;
        Ok(capabilities.residence == crate::capability::Residence::Home)
    }

    fn adopt_container(&self, context: &Context, found: &Discovered) -> Result<()> {
        let key = &found.key;
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "adopt")?;
        // Since we looked the name may have gone, and come back as one of ours: only what is seen under the lock counts.
        let Known::Lxc(found) = self.settled(context, key)? else { return Ok(()) };
        let source = found.source.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the rootfs of container `{}` belongs to no store here", key.name),
            )
            .with_hint(format!("look at lxc.rootfs.path in `{}`", key.home().join("config").display()))
        })?;
        let volume = match self.adopt_volume(context, key, source) {
            Ok(volume) => volume,
            // A batch that was taken back left the name to somebody who makes it anew: that one is not LXC's.
            Err(_) if !matches!(self.settled(context, key)?, Known::Lxc(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        context.step("adopt.home")?;
        home::write_mark(&key.home(), volume.id)?;
        let edges = self.edges_of_adopted(key, &volume, found.parent.as_ref())?;
        let container = ContainerRow { key: key.clone(), home_id: volume.id, created: None };
        let row = VolumeRow {
            volume,
            container: key.clone(),
            role: NodeRole::Head,
            placed: PlacedRole::Head,
            created: Some(now()),
        };
        context.step("adopt.record")?;
        self.catalogue.write(|db| {
            rows::put_container(db, &container)?;
            rows::put_volume(db, &row)?;
            edges.iter().try_for_each(|edge| rows::put_edge(db, edge))
        })
    }

    /// Adopts the snapshots of a container that are not in the catalogue, and forgets those that are gone.
    fn adopt_snapshots(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        if self.are_snapshots_known(key)? {
            return Ok(());
        }
        // Looked at again under the lock: whoever makes or destroys a snapshot at this moment writes it down himself.
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "adopt")?;
        let Known::Ours(_) = self.settled(context, key)? else { return Ok(()) };
        let known = self.catalogue.volumes_of(key)?;
        let found = self.discover_snapshots(key)?;
        for row in &known {
            if let NodeRole::Snapshot(name) = &row.role
                && !found.iter().any(|snapshot| snapshot.name == *name)
                && !home::exists(&key.snapshot_home(name))?
                && self.lives_in_home(&row.volume, key)?
            {
                self.catalogue.write(|db| rows::drop_volume(db, row.volume.id))?;
            }
        }
        for snapshot in found {
            let role = NodeRole::Snapshot(snapshot.name.clone());
            if !known.iter().any(|row| row.role == role) {
                self.adopt_snapshot(context, key, &snapshot)?;
            }
        }
        Ok(())
    }

    /// Returns whether the snapshots in the catalogue are those on disk, by their names.
    fn are_snapshots_known(&self, key: &ContainerKey) -> Result<bool> {
        let directory = key.home().join("snaps");
        let mut known: BTreeSet<OsString> = BTreeSet::new();
        for row in self.catalogue.volumes_of(key)? {
            if let NodeRole::Snapshot(name) = row.role {
                known.insert(name.as_str().into());
            }
        }
        for name in home::entries(&directory)? {
            if !known.remove(&name) && home::exists(&directory.join(&name).join("config"))? {
                return Ok(false);
            }
        }
        Ok(known.is_empty())
    }

    fn adopt_snapshot(
        &self,
        context: &Context,
        key: &ContainerKey,
        found: &DiscoveredSnapshot,
    ) -> Result<()> {
        // One that no store understands is left to LXC's tools.
        let Some(source) = found.source.clone() else { return Ok(()) };
        let volume = self.adopt_volume(context, key, source)?;
        home::write_mark(&key.snapshot_home(&found.name), volume.id)?;
        let head = self.catalogue.volumes_of(key)?.into_iter().find(|row| row.role == NodeRole::Head);
        let head = head.ok_or_else(|| no_container(key))?.volume.id;
        let mut candidates = relations::read_rdepends(&snapshot_as_container(key, &found.name)?)?;
        candidates.push(key.clone());
        let mut edges = vec![Edge::provenance(volume.id, head)];
        edges.extend(self.dependency_of(key, &volume, &candidates)?);
        let row = VolumeRow {
            volume,
            container: key.clone(),
            role: NodeRole::Snapshot(found.name.clone()),
            placed: PlacedRole::Snapshot,
            created: found.created,
        };
        self.catalogue.write(|db| {
            rows::put_volume(db, &row)?;
            edges.iter().try_for_each(|edge| rows::put_edge(db, edge))
        })
    }

    fn adopt_volume(&self, context: &Context, key: &ContainerKey, source: VolumeSource) -> Result<Volume> {
        let mut volume = self.found_at(VolumeId::generate(), source)?;
        let store = self.store_of(&volume)?;
        context.step("adopt.volume")?;
        let mut copied = None;
        if let Presence::Complete(id) = self.wait(store.probe(&volume))? {
            match self.catalogue.volume(id)? {
                // One that was ours before its row was lost keeps its identity.
                None => volume.id = id,
                Some(row) if self.is_a_copy(&volume, &row)? => copied = Some(id),
                Some(_) => {}
            }
        }
        self.wait(store.adopt(context, &volume, copied)).map_err(|error| {
            error.while_doing(format!("cannot take over container `{}` from LXC", key.name))
        })?;
        Ok(volume)
    }

    /// Returns a volume of which only the place is known, with the options that find its pool.
    pub(super) fn found_at(&self, id: VolumeId, source: VolumeSource) -> Result<Volume> {
        let volume = Volume::new(id, source);
        let properties = match self.store_of(&volume)?.rename() {
            Some(named) => self.wait(named.options_of(&volume))?,
            None => return Ok(volume),
        };
        Ok(Volume { properties, ..volume })
    }

    /// Returns whether a volume that carries another's mark is a copy that LXC made: the other one is in its own place.
    fn is_a_copy(&self, volume: &Volume, other: &VolumeRow) -> Result<bool> {
        if other.volume.source == volume.source {
            return Ok(false);
        }
        let there = self.wait(self.store_of(&other.volume)?.probe(&other.volume))?;
        Ok(there == Presence::Complete(other.volume.id))
    }

    fn edges_of_adopted(
        &self,
        key: &ContainerKey,
        volume: &Volume,
        parent: Option<&ContainerKey>,
    ) -> Result<Vec<Edge>> {
        let Some(parent) = parent else { return Ok(Vec::new()) };
        let found = self.dependency_of(key, volume, std::slice::from_ref(parent))?;
        Ok(found.into_iter().collect())
    }

    /// Returns the dependency of a volume of LXC upon a volume of one of the candidates.
    fn dependency_of(
        &self,
        key: &ContainerKey,
        volume: &Volume,
        candidates: &[ContainerKey],
    ) -> Result<Option<Edge>> {
        let store = self.store_of(volume)?;
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(volume))?;
        let Some(terms) = Dependency::of(&capabilities) else { return Ok(None) };
        let mut rows = Vec::new();
        for candidate in candidates {
            rows.extend(self.catalogue.volumes_of(candidate)?);
        }
        Ok(Owners::of(&rows).dependency(volume, terms))
    }
}

/// Refuses when another directory has taken the place of a container's home.
pub(super) fn require_own_home(row: &ContainerRow) -> Result<()> {
    let home = row.key.home();
    if home::read_mark(&home)? == Some(row.home_id) {
        return Ok(());
    }
    let message = format!("`{}` is not the directory of container `{}`", home.display(), row.key.name);
    Err(Error::new(ErrorKind::Foreign, message)
        .with_hint("`keiki check` shows what became of it; keiki does not touch what it did not make"))
}

/// Refuses to conclude from an lxcpath that is not mounted that its containers are gone.
fn require_mounted(row: &ContainerRow) -> Result<()> {
    let lxcpath = &row.key.lxcpath;
    let is_there =
        if row.created.is_some() { home::exists(&lxcpath.join(home::OURS))? } else { home::exists(lxcpath)? };
    if is_there {
        return Ok(());
    }
    let message = format!(
        "the directory of container `{}` is gone, and so is all that keiki made beside it",
        row.key.name
    );
    Err(Error::new(ErrorKind::Unavailable, message)
        .with_hint(format!("is the file system of `{}` mounted?", lxcpath.display())))
}

fn relations_in_a_circle(found: &[Discovered]) -> Error {
    let names: Vec<&str> = found.iter().map(|found| found.key.name.as_str()).collect();
    Error::new(ErrorKind::Corrupt, format!("the relations of {} lead in a circle", names.join(", ")))
        .with_hint("look at the files lxc_rdepends in their directories")
}
