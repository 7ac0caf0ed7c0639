//! New places for objects with names of their own: planned whole, carried out before a commit point, taken back after an error.
//!
//! A container in a store of [`Residence::Named`](crate::capability::Residence) does not move with its home. When it is renamed its
//! objects are renamed too, and an object that stops being a head or a snapshot while others need it (a *ghost*) goes aside, so
//! that its name is free. What moves along with an object (a zfs snapshot with its dataset) is its store's to say: every
//! row of the family is asked about after each move.
//!
//! All moves happen before the operation's commit point, each idempotent in both directions, so that recovery needs no memory of
//! how far they went: not committed, they are undone in reverse; committed, they were all done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ancestry::Ancestry;
use super::catalogue::journal as rows;
use super::catalogue::{PlacedRole, VolumeRow};
use super::locks::{Held, Hold};
use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::NodeRole;
use crate::name::ContainerName;
use crate::store::BackingStore;
use crate::volume::{Placement, Volume, VolumeId, VolumeRole, VolumeSource};

/// How often locks are taken anew because others changed the family meanwhile.
const ATTEMPTS: usize = 20;

/// One object that gets another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// The volume where it is before.
    volume: Volume,
    target: VolumeSource,
}

/// Objects that get other names, and what is true then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moves {
    /// In the order in which they are carried out.
    steps: Vec<Move>,
    /// Every volume of the family whose place changes.
    pub(super) sources: Vec<(VolumeId, VolumeSource)>,
    /// Configurations that name a changed place, as they will be.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Moves {
    /// Returns a volume where it is afterwards.
    pub(super) fn applied(&self, volume: &Volume) -> Volume {
        let moved = self.sources.iter().find(|(id, _)| *id == volume.id);
        let source = moved.map_or_else(|| volume.source.clone(), |(_, source)| source.clone());
        Volume { source, ..volume.clone() }
    }

    /// Writes the new places into the rows.
    pub(super) fn record(&self, db: &rusqlite::Connection) -> Result<()> {
        self.sources.iter().try_for_each(|(id, source)| rows::move_volume(db, *id, source))
    }

    /// Replaces the configurations. A home that went meanwhile needs none.
    pub(super) fn write_files(&self) -> Result<()> {
        for (path, content) in &self.files {
            if home::exists(path)? {
                home::replace_file(path, content)?;
            }
        }
        Ok(())
    }
}

/// Where the volumes of a family are while moves are planned.
#[derive(Debug)]
pub(super) struct Shifting<'a> {
    engine: &'a Engine,
    ancestry: &'a Ancestry,
    places: BTreeMap<VolumeId, VolumeSource>,
    steps: Vec<Move>,
}

impl<'a> Shifting<'a> {
    /// Begins with everything where its row says.
    pub(super) fn new(engine: &'a Engine, ancestry: &'a Ancestry) -> Self {
        let places = ancestry.rows.iter().map(|(id, row)| (*id, row.volume.source.clone())).collect();
        Self { engine, ancestry, places, steps: Vec::new() }
    }

    /// Returns a volume where it is after the moves so far.
    fn at(&self, row: &VolumeRow) -> Volume {
        let source = self.places.get(&row.volume.id).unwrap_or(&row.volume.source).clone();
        Volume { source, ..row.volume.clone() }
    }

    /// Moves a volume that becomes a ghost out of the way, where its store can name objects.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn put_aside(&mut self, row: &VolumeRow) -> Result<()> {
        if self.engine.lives_in_home(&row.volume, &row.container)? {
            return Ok(());
        }
        let store = self.engine.store_of(&row.volume)?.clone();
        let Some(group) = store.rename() else { return Ok(()) };
        let target = group.aside(&self.at(row))?;
        self.shift(store.as_ref(), row, target)
    }

    /// Moves a volume of a container to where it belongs under another name.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the store cannot name objects anew; what `place` says.
    pub(super) fn rename(&mut self, row: &VolumeRow, new: &ContainerKey) -> Result<()> {
        if self.engine.lives_in_home(&row.volume, &row.container)? {
            return Ok(());
        }
        let store = self.engine.store_of(&row.volume)?.clone();
        let target = store.place(&placement(row, new), self.origin(row).as_ref())?;
        if target != self.at(row).source && store.rename().is_none() {
            let text = format!("the {} store cannot give its volumes other names", store.kind());
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(format!(
                "`keiki clone {} {}` makes another container",
                row.container.name, new.name
            )));
        }
        self.shift(store.as_ref(), row, target)
    }

    /// The volume upon which the store placed this one, if it was one of its own.
    fn origin(&self, row: &VolumeRow) -> Option<Volume> {
        let (parent, _) = self.ancestry.lineage.parent(row.volume.id)?;
        let parent = self.ancestry.rows.get(&parent.id)?;
        (parent.volume.kind() == row.volume.kind()).then(|| self.at(parent))
    }

    fn shift(&mut self, store: &dyn BackingStore, row: &VolumeRow, target: VolumeSource) -> Result<()> {
        let volume = self.at(row);
        let Some(group) = store.rename().filter(|_| volume.source != target) else { return Ok(()) };
        for (id, place) in &mut self.places {
            if *id == volume.id {
                *place = target.clone();
            } else if let Some(other) = self.ancestry.rows.get(id)
                && other.volume.kind() == volume.kind()
            {
                let other = Volume { source: place.clone(), ..other.volume.clone() };
                *place = group.follow(&other, &volume.source, &target)?;
            }
        }
        self.steps.push(Move { volume, target });
        Ok(())
    }

    /// Ends the plan. `without` are the volumes whose configuration goes or is written by somebody else.
    ///
    /// # Errors
    /// When a configuration cannot be read.
    pub(super) fn finish(self, without: impl Fn(&VolumeRow) -> bool) -> Result<Moves> {
        let mut moves = Moves { steps: self.steps, ..Moves::default() };
        for (id, source) in self.places {
            let Some(row) = self.ancestry.rows.get(&id).filter(|row| row.volume.source != source) else {
                continue;
            };
            if !without(row)
                && let Some(path) = configuration(row)
                && let Some(config) = home::read_file(&path)?
            {
                let text = self.engine.editor.with_rootfs(&config, &source.to_string())?;
                moves.files.push((path, text));
            }
            moves.sources.push((id, source));
        }
        Ok(moves)
    }
}

/// Returns the configuration that names a volume; layers and ghosts have none.
pub(super) fn configuration(row: &VolumeRow) -> Option<PathBuf> {
    match &row.role {
        NodeRole::Head => Some(row.container.home().join("config")),
        NodeRole::Snapshot(name) => Some(row.container.snapshot_home(name).join("config")),
        NodeRole::Layer | NodeRole::Ghost => None,
    }
}

/// Returns how a volume was placed, with another container's name.
fn placement(row: &VolumeRow, new: &ContainerKey) -> Placement {
    let (role, home) = match (&row.role, row.placed) {
        (NodeRole::Snapshot(name), _) => (VolumeRole::Snapshot(name.clone()), new.snapshot_home(name)),
        (_, PlacedRole::Successor) => (VolumeRole::Successor, new.home()),
        (_, PlacedRole::Head | PlacedRole::Snapshot) => (VolumeRole::Head, new.home()),
    };
    let container: ContainerName = new.name.clone();
    Placement { id: row.volume.id, container, role, home, options: row.volume.properties.clone() }
}

impl Engine {
    /// Returns every container with a row whose place changes.
    pub(super) fn moved_containers(&self, moves: &Moves, ancestry: &Ancestry) -> BTreeSet<ContainerKey> {
        let rows = moves.sources.iter().filter_map(|(id, _)| ancestry.rows.get(id));
        rows.filter(|row| row.role != NodeRole::Ghost).map(|row| row.container.clone()).collect()
    }

    /// Refuses names that are taken, before anything is done.
    pub(super) fn require_free_places(&self, moves: &Moves) -> Result<()> {
        for step in &moves.steps {
            let there = Volume { source: step.target.clone(), ..step.volume.clone() };
            let found = self.wait(self.store_of(&there)?.probe(&there))?;
            let (kind, whose) = match found {
                crate::store::Presence::Absent => continue,
                crate::store::Presence::Foreign => (ErrorKind::Foreign, "is not keiki's"),
                _ => (ErrorKind::AlreadyExists, "is there already"),
            };
            return Err(Error::new(kind, format!("`{}` {whose}", step.target))
                .with_hint("choose another name, or move that one away"));
        }
        Ok(())
    }

    /// Carries the moves out and makes them durable; each is announced as `verb.NAME`.
    ///
    /// # Errors
    /// What a store says; the caller takes everything back with [`Self::undo_moves`].
    pub(super) fn carry_out_moves(&self, context: &Context, step: &str, moves: &Moves) -> Result<()> {
        for entry in &moves.steps {
            context.step(step)?;
            self.move_volume(context, &entry.volume, &entry.target)?;
        }
        let moved =
            moves.steps.iter().map(|step| Volume { source: step.target.clone(), ..step.volume.clone() });
        self.sync_volumes(context, &moved.collect::<Vec<_>>())
    }

    /// Takes moves back, however far they went.
    pub(super) fn undo_moves(&self, moves: &Moves) -> Result<()> {
        // The caller's observer must not be able to break the way back.
        let quiet = Context::default();
        for step in moves.steps.iter().rev() {
            let there = Volume { source: step.target.clone(), ..step.volume.clone() };
            self.move_volume(&quiet, &there, &step.volume.source)?;
        }
        Ok(())
    }

    fn move_volume(&self, context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
        let store = self.store_of(volume)?;
        let group = store.rename().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the {} store cannot rename any more", store.kind()))
        })?;
        self.wait(group.rename(context, volume, target))
    }

    /// Takes the lock of a container, and of those whose rows an operation on it changes.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when patience ends, or when the family keeps changing.
    pub(super) fn take_with_relatives(
        &self,
        context: &Context,
        key: &ContainerKey,
        verb: &str,
        relatives: impl Fn() -> Result<BTreeSet<ContainerKey>>,
    ) -> Result<Held> {
        for _ in 0..ATTEMPTS {
            let mut keys = relatives()?;
            keys.insert(key.clone());
            let wanted: Vec<_> = keys.iter().map(|key| (key, Hold::Exclusive)).collect();
            let held = self.locks.take(context, &wanted, verb)?;
            // Others may have cloned or promoted while we waited.
            if relatives()?.is_subset(&keys) {
                return Ok(held);
            }
        }
        Err(Error::new(ErrorKind::Busy, format!("cannot {verb} `{}`: its family keeps changing", key.name))
            .with_hint("repeat the command"))
    }
}
