//! What create, clone and snapshot share: homes are planned, made in staging, published together or taken back.
//!
//! The steps of an operation called `verb`:
//!
//! ```text
//! verb.staging   verb.volume   [verb.fill]   verb.config   verb.sync        (clone, snapshot: the config first)
//! verb.publish                                              ← the commit point: the first rename
//! [verb.head]    [verb.relations]   verb.record
//! ```
//!
//! `publish`, `complete` and `roll_back` are idempotent: recovery calls the same functions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::catalogue::journal as rows;
use super::catalogue::{ContainerRow, Durable, PlacedRole, VolumeRow};
use super::intent::{Freeze, Intent, Made, Make};
use super::journal::{Begun, unfinished};
use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Edge, NodeRole};
use crate::name::SnapshotName;
use crate::store::{BackingStore, Presence};
use crate::volume::{Placement, Properties, Volume, VolumeId, VolumeRole, VolumeSource};

/// Homes beyond this number are made durable by one sync of the file system instead of one by one.
const SYNC_SINGLY: usize = 8;

/// What is needed to plan one home.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) store: &'a dyn BackingStore,
    pub(super) container: &'a ContainerKey,
    pub(super) snapshot: Option<&'a SnapshotName>,
    pub(super) options: &'a Properties,
    /// The volume that it will be cloned from, where its place depends on it.
    pub(super) origin: Option<&'a Volume>,
}

impl Plan<'_> {
    /// Chooses identity and places; `edges` are given the identity.
    pub(super) fn decide(
        &self,
        edges: impl FnOnce(VolumeId) -> Vec<Edge>,
        ancestors: &[ContainerKey],
    ) -> Result<Made> {
        let id = VolumeId::generate();
        let home = match self.snapshot {
            Some(name) => self.container.snapshot_home(name),
            None => self.container.home(),
        };
        let staging = home::staging(&self.container.lxcpath, id);
        let role = self.snapshot.map_or(VolumeRole::Head, |name| VolumeRole::Snapshot(name.clone()));
        let placed = PlacedRole::of(&role);
        let placement = Placement {
            id,
            container: self.container.name.clone(),
            role,
            home: staging.clone(),
            options: self.options.clone(),
        };
        let staged = self.store.place(&placement, self.origin)?;
        let source = self.store.place(&Placement { home: home.clone(), ..placement }, self.origin)?;
        Ok(Made {
            container: self.container.clone(),
            snapshot: self.snapshot.cloned(),
            placed,
            volume: Volume { id, source, properties: self.options.clone() },
            staged,
            staging,
            home,
            edges: edges(id),
            ancestors: ancestors.to_vec(),
            created: super::now(),
        })
    }
}

impl Make {
    fn is_synced_singly(&self) -> bool {
        self.made.len() <= SYNC_SINGLY
    }

    /// Writes the files of the staging homes back, before the volumes are made: where making a volume commits the file system
    /// that both are on, it takes them along, and their own sync has nothing left to wait for.
    pub(super) fn write_back(&self) -> Result<()> {
        if self.is_synced_singly() {
            return self.made.iter().try_for_each(|made| home::write_back_home(&made.staging));
        }
        Ok(())
    }
}

impl Engine {
    /// Refuses when a name is taken, on disk or in the making.
    ///
    /// A name whose container other hands removed is free; nothing of it is inherited.
    pub(super) fn require_free(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        if !home::exists(&key.home())? {
            return self.forget(context, key);
        }
        let known = self.catalogue.container(key)?.is_some() || self.discover(key)?.is_some();
        if known {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("container `{}` exists", key.name))
                .with_hint(format!("choose another name, or `keiki destroy {}` first", key.name)));
        }
        // Destroyed or renamed by somebody else between two looks.
        if !home::exists(&key.home())? {
            return self.forget(context, key);
        }
        Err(Error::new(
            ErrorKind::Foreign,
            format!("`{}` exists and is not a container", key.home().display()),
        )
        .with_hint("move it away, or choose another name; keiki does not touch what it did not make"))
    }

    /// Carries a plan out: `fill` makes volumes and files in the staging homes, the rest is the same for all.
    pub(super) fn make(
        &self,
        context: &Context,
        make: Make,
        reserve: &[ContainerKey],
        effects: impl FnOnce(&Make) -> Result<()>,
    ) -> Result<()> {
        let begun = self.begin(&make.verb, Intent::Make(make.clone()), reserve)?;
        let made = self
            .stage(context, &make)
            .and_then(|()| effects(&make).map_err(|error| self.explain_taken(&make, error)))
            .and_then(|()| self.harden(context, &make));
        if let Err(error) = made.and_then(|()| self.publish(context, &make)) {
            // The caller's observer must not be able to break the way back.
            return Err(self.take_back(begun, error, || self.roll_back(&Context::default(), &make)));
        }
        self.complete(&context.without_deadline(), begun, &make).map_err(unfinished)
    }

    /// Tells a name that another container of ours has, or is just getting, from one that something foreign has: stores whose
    /// names are the objects' own see only that an object is not the volume that was to be made.
    fn explain_taken(&self, make: &Make, error: Error) -> Error {
        if error.kind() != ErrorKind::Foreign {
            return error;
        }
        let probe = |volume: &Volume| self.wait(self.store(volume.kind())?.probe(volume));
        let found: Result<Vec<(VolumeSource, Presence)>> = make
            .made
            .iter()
            .map(Made::staged_volume)
            .map(|volume| Ok((volume.source.clone(), probe(&volume)?)))
            .collect();
        // What cannot be told, or is nothing of ours: the refusal stands as it was.
        let Ok(found) = found else { return error };
        if found.iter().any(|(_, presence)| *presence == Presence::Foreign) {
            return error;
        }
        let is_ours = |presence: &Presence| matches!(presence, Presence::Complete(_) | Presence::Partial);
        let Some((source, _)) = found.iter().find(|(_, presence)| is_ours(presence)) else { return error };
        Error::new(ErrorKind::AlreadyExists, format!("`{source}` belongs to another container"))
            .with_source(error)
            .with_hint("choose another name; `keiki ls` shows those that this installation knows")
    }

    fn stage(&self, context: &Context, make: &Make) -> Result<()> {
        context.step(&format!("{}.staging", make.verb))?;
        make.made.iter().try_for_each(|made| home::make_staging(&made.staging, made.volume.id))
    }

    /// Puts everything on the disk that the commit point will stand upon.
    fn harden(&self, context: &Context, make: &Make) -> Result<()> {
        context.step(&format!("{}.sync", make.verb))?;
        let mut volumes: Vec<Volume> = make.made.iter().map(Made::staged_volume).collect();
        volumes.extend(make.freeze.iter().map(|freeze| freeze.head.clone()));
        self.sync_volumes(context, &volumes)?;
        if make.is_synced_singly() {
            return make.made.iter().try_for_each(|made| home::sync_home(&made.staging));
        }
        lxcpaths(&make.made).iter().try_for_each(|path| home::sync_filesystem(path))
    }

    /// Waits for volumes of any stores to be durable, once a store.
    pub(super) fn sync_volumes(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        let kinds: BTreeSet<_> = volumes.iter().map(Volume::kind).collect();
        for kind in kinds {
            let of_kind: Vec<Volume> =
                volumes.iter().filter(|volume| volume.kind() == kind).cloned().collect();
            self.wait(self.store(kind)?.sync_barrier(context, &of_kind))?;
        }
        Ok(())
    }

    /// Renames every staging home into its place. Those that are there already stay.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a place is taken; those that were renamed are back in staging then.
    fn publish(&self, context: &Context, make: &Make) -> Result<()> {
        context.step(&format!("{}.publish", make.verb))?;
        for (index, made) in make.made.iter().enumerate() {
            if let Err(error) = publish_one(made) {
                for done in make.made[..index].iter().rev() {
                    home::move_to_free(&done.home, &done.staging)?;
                }
                return Err(error);
            }
        }
        let mut parents: BTreeSet<&Path> = make.made.iter().filter_map(|made| made.home.parent()).collect();
        // The directory of snapshots may be new itself.
        let snapshots = make.made.iter().filter(|made| made.snapshot.is_some());
        parents.extend(snapshots.filter_map(|made| made.home.parent()?.parent()));
        parents.into_iter().try_for_each(home::sync_directory)
    }

    /// Does what follows the commit point, and ends the intent.
    fn complete(&self, context: &Context, begun: Begun, make: &Make) -> Result<()> {
        if let Some(freeze) = &make.freeze {
            context.step(&format!("{}.head", make.verb))?;
            home::replace_file(&freeze.container.home().join("config"), &freeze.config)?;
        }
        let links: Vec<(ContainerKey, Vec<ContainerKey>)> = make
            .made
            .iter()
            .filter(|made| made.snapshot.is_none() && !made.ancestors.is_empty())
            .map(|made| (made.container.clone(), made.ancestors.clone()))
            .collect();
        if !links.is_empty() {
            context.step(&format!("{}.relations", make.verb))?;
            self.link(context, &links)?;
        }
        context.step(&format!("{}.record", make.verb))?;
        // The intent is on the disk and says all of it; only a configuration is not to be written twice.
        let durable = if make.freeze.is_none() { Durable::WithTheNext } else { Durable::Now };
        self.finish_as(durable, begun, |db| {
            make.made.iter().try_for_each(|made| record(db, made))?;
            make.freeze.iter().try_for_each(|freeze| record_freeze(db, freeze))
        })
    }

    /// Removes everything that the intent may have made before its commit point.
    fn roll_back(&self, context: &Context, make: &Make) -> Result<()> {
        // Last made first: an object may live within one that was made before it.
        for made in make.made.iter().rev() {
            if home::read_mark(&made.home)? == Some(made.volume.id) {
                // Published, and then the directory could not be synced: nobody was told, so it comes back.
                home::move_to_free(&made.home, &made.staging)?;
            }
            self.destroy_if_ours(context, &made.staged_volume())?;
            home::remove(&made.staging)?;
        }
        if let Some(freeze) = &make.freeze {
            self.destroy_if_ours(context, &freeze.head)?;
        }
        for made in make.made.iter().filter(|made| made.snapshot.is_some()) {
            made.home.parent().into_iter().for_each(home::remove_if_empty);
        }
        Ok(())
    }

    /// Destroys what an operation made. Somebody else's object in its place is why the operation failed: it made nothing.
    fn destroy_if_ours(&self, context: &Context, volume: &Volume) -> Result<()> {
        match self.destroy_volume(context, volume) {
            Err(error) if error.kind() == ErrorKind::Foreign => Ok(()),
            other => other,
        }
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_make(&self, context: &Context, begun: Begun, make: &Make) -> Result<()> {
        let mut committed = false;
        for made in &make.made {
            committed |= home::read_mark(&made.home)? == Some(made.volume.id);
        }
        if !committed {
            self.roll_back(context, make)?;
            return self.finish(begun, |_| Ok(()));
        }
        match self.publish(context, &without_removed(make)?) {
            Ok(()) => self.complete(context, begun, make),
            // Somebody took one of the places meanwhile: none of them is made, as the caller was never told otherwise.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.roll_back(context, make)?;
                self.finish(begun, |_| Ok(()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the plan without the homes that other hands removed since they were published: the power may fail long after a
/// command has ended, with its last transaction not on the disk.
fn without_removed(make: &Make) -> Result<Make> {
    let mut standing = make.clone();
    standing.made.clear();
    for made in &make.made {
        if home::exists(&made.staging)? || home::read_mark(&made.home)? == Some(made.volume.id) {
            standing.made.push(made.clone());
        }
    }
    Ok(standing)
}

fn publish_one(made: &Made) -> Result<()> {
    if home::read_mark(&made.home)? == Some(made.volume.id) {
        return Ok(());
    }
    if let (Some(_), Some(parent)) = (&made.snapshot, made.home.parent()) {
        make_snapshots_directory(parent)?;
    }
    home::move_to_free(&made.staging, &made.home)
}

fn make_snapshots_directory(path: &Path) -> Result<()> {
    use crate::error::ResultExt;
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o770).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.or_err(|| format!("cannot make the directory `{}`", path.display())),
    }
}

fn lxcpaths(made: &[Made]) -> BTreeSet<PathBuf> {
    made.iter().map(|made| made.container.lxcpath.clone()).collect()
}

fn record(db: &rusqlite::Connection, made: &Made) -> Result<()> {
    let role = made.snapshot.clone().map_or(NodeRole::Head, NodeRole::Snapshot);
    if made.snapshot.is_none() {
        let created = Some(made.created);
        rows::put_container(
            db,
            &ContainerRow { key: made.container.clone(), home_id: made.volume.id, created },
        )?;
    }
    rows::put_volume(
        db,
        &VolumeRow {
            volume: made.volume.clone(),
            container: made.container.clone(),
            role,
            placed: made.placed,
            created: Some(made.created),
        },
    )?;
    made.edges.iter().try_for_each(|edge| rows::put_edge(db, edge))
}

/// Turns the old head into a layer and records the new one.
fn record_freeze(db: &rusqlite::Connection, freeze: &Freeze) -> Result<()> {
    rows::freeze_head(db, freeze.old)?;
    rows::put_volume(
        db,
        &VolumeRow {
            volume: freeze.head.clone(),
            container: freeze.container.clone(),
            role: NodeRole::Head,
            placed: PlacedRole::Successor,
            created: Some(super::now()),
        },
    )?;
    freeze.edges.iter().try_for_each(|edge| rows::put_edge(db, edge))
}
