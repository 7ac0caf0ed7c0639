//! What an intent says: everything that an operation may leave on a disk, and what will be true once it is committed.
//!
//! An intent is written before the first effect and removed after the last row. It is data alone: whoever finds it decides by
//! looking at the disk whether the commit point was passed (`recover.rs`), and finishes or undoes the operation with the
//! same functions that carry it out.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ContainerKey;
use super::catalogue::PlacedRole;
use super::moves::Moves;
use crate::lineage::Edge;
use crate::name::SnapshotName;
use crate::units::Bytes;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// An operation under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Intent {
    /// Homes are made: create, clone, snapshot. Committed when any of them is in its place.
    Make(Make),
    /// A head is replaced by another: restore in place, flatten.
    Replace(Box<Replace>),
    /// Homes go. Committed when any of them is in the trash.
    Destroy(Destroy),
    /// A home gets another name. Committed when it has it.
    Rename(Rename),
    /// A dependency is turned round. The store alone knows whether it was.
    Promote(Promotion),
    /// A volume gets another size. Repeated until it has it.
    Resize(Resizing),
}

/// A dependency that is turned round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Promotion {
    pub(super) key: ContainerKey,
    pub(super) head: VolumeId,
}

/// A volume that gets another size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Resizing {
    pub(super) key: ContainerKey,
    pub(super) volume: Volume,
    pub(super) size: Bytes,
}

/// Homes that are made together, all or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Make {
    pub(super) verb: String,
    pub(super) made: Vec<Made>,
    pub(super) freeze: Option<Freeze>,
}

/// One home with its volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) container: ContainerKey,
    /// The snapshot that it is; `None` for a container.
    pub(super) snapshot: Option<SnapshotName>,
    pub(super) placed: PlacedRole,
    /// The volume where it will be.
    pub(super) volume: Volume,
    /// The volume where it is made.
    pub(super) staged: VolumeSource,
    pub(super) staging: PathBuf,
    pub(super) home: PathBuf,
    pub(super) edges: Vec<Edge>,
    /// The containers whose data it needs, eldest first.
    pub(super) ancestors: Vec<ContainerKey>,
    pub(super) created: u64,
}

impl Made {
    /// Returns the volume where it is made.
    pub(super) fn staged_volume(&self) -> Volume {
        Volume { source: self.staged.clone(), ..self.volume.clone() }
    }
}

/// A head that a snapshot freezes where it is, and the new head upon it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Freeze {
    pub(super) container: ContainerKey,
    pub(super) old: VolumeId,
    pub(super) head: Volume,
    pub(super) edges: Vec<Edge>,
    /// The configuration that names the new head.
    pub(super) config: Vec<u8>,
}

/// A head that takes another's place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Replace {
    pub(super) verb: String,
    pub(super) container: ContainerKey,
    pub(super) old: Volume,
    pub(super) afterwards: Afterwards,
    /// Layers and ghosts that only the old head needed, children before parents.
    pub(super) unneeded: Vec<Volume>,
    pub(super) placed: PlacedRole,
    /// The new head where it will be.
    pub(super) new: Volume,
    /// The new head where it is built; afterwards, with an exchange, where the old one is.
    pub(super) built: VolumeSource,
    pub(super) staging: PathBuf,
    pub(super) commit: Commit,
    pub(super) edges: Vec<Edge>,
    /// The containers whose data the old head needed, and those that the new one needs.
    pub(super) ancestors_before: Vec<ContainerKey>,
    pub(super) ancestors_after: Vec<ContainerKey>,
    /// The old head goes aside when it becomes a ghost, before the new one takes its place.
    #[serde(default)]
    pub(super) moves: Moves,
    pub(super) created: u64,
}

/// What becomes of a head that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Afterwards {
    /// It goes.
    Reclaimed,
    /// Others need its data, and their store keeps it for them.
    Ghost,
}

/// What commits a replacement.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Commit {
    /// The two volumes exchange their places.
    Exchange,
    /// The configuration names the new head.
    Config(Vec<u8>),
}

/// Homes that go, and what is to be reclaimed then.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Destroy {
    pub(super) homes: Vec<Leaving>,
    /// Volumes to destroy, children before parents, where they will be once the homes are in the trash.
    pub(super) volumes: Vec<Volume>,
    /// Volumes that become ghosts.
    pub(super) ghosts: Vec<VolumeId>,
    /// Containers whose rows go, with those whose data each needed.
    pub(super) containers: Vec<(ContainerKey, Vec<ContainerKey>)>,
    /// The marks of their homes: a name is free once its home is in the trash, and may be another's before the rows go.
    pub(super) marks: Vec<(ContainerKey, VolumeId)>,
    /// Ghosts that go aside, before any home goes.
    #[serde(default)]
    pub(super) moves: Moves,
}

/// A home on its way out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub(super) home: PathBuf,
    pub(super) trash: PathBuf,
}

/// A home that gets another name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rename {
    pub(super) old: ContainerKey,
    pub(super) new: ContainerKey,
    pub(super) home_id: VolumeId,
    /// Files to replace below the home once it is renamed: path relative to it, content.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// Volumes with their new places.
    pub(super) volumes: Vec<(VolumeId, VolumeSource)>,
    pub(super) ancestors: Vec<ContainerKey>,
    /// The containers that need its data, each with those whose data it needs, by their new names.
    pub(super) descendants: Vec<(ContainerKey, Vec<ContainerKey>)>,
    /// Objects with names of their own that get other names.
    #[serde(default)]
    pub(super) moves: Moves,
}

/// The volumes, containers and directories that intents name.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) ids: HashSet<VolumeId>,
    pub(super) keys: HashSet<ContainerKey>,
    pub(super) paths: BTreeSet<PathBuf>,
}

impl Touched {
    /// Returns what one intent names.
    pub(super) fn by(intent: &Intent) -> Self {
        let mut touched = Self::default();
        touched.note(intent);
        touched
    }

    /// Adds what an intent names.
    pub(super) fn note(&mut self, intent: &Intent) {
        match intent {
            Intent::Make(make) => {
                for made in &make.made {
                    self.ids.insert(made.volume.id);
                    self.keys.insert(made.container.clone());
                    self.paths.extend([made.staging.clone(), made.home.clone()]);
                }
                if let Some(freeze) = &make.freeze {
                    self.ids.extend([freeze.old, freeze.head.id]);
                    self.keys.insert(freeze.container.clone());
                }
            }
            Intent::Replace(replace) => {
                self.ids.extend([replace.old.id, replace.new.id]);
                self.ids.extend(replace.unneeded.iter().map(|volume| volume.id));
                self.ids.extend(replace.moves.sources.iter().map(|(id, _)| *id));
                self.keys.insert(replace.container.clone());
                self.paths.insert(replace.staging.clone());
            }
            Intent::Destroy(destroy) => {
                self.ids.extend(destroy.volumes.iter().map(|volume| volume.id));
                self.ids.extend(&destroy.ghosts);
                self.ids.extend(destroy.moves.sources.iter().map(|(id, _)| *id));
                self.keys.extend(destroy.containers.iter().map(|(key, _)| key.clone()));
                for leaving in &destroy.homes {
                    self.paths.extend([leaving.home.clone(), leaving.trash.clone()]);
                }
            }
            Intent::Rename(rename) => {
                self.ids.extend(rename.volumes.iter().chain(&rename.moves.sources).map(|(id, _)| *id));
                self.keys.extend([rename.old.clone(), rename.new.clone()]);
            }
            Intent::Promote(promotion) => {
                self.ids.insert(promotion.head);
                self.keys.insert(promotion.key.clone());
            }
            Intent::Resize(resizing) => {
                self.ids.insert(resizing.volume.id);
                self.keys.insert(resizing.key.clone());
            }
        }
    }
}
