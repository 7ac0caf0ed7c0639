//! Looks at everything once: rows, intents, homes, and what the stores find.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::capability::{Availability, Residence};
use crate::engine::catalogue::{ContainerRow, StoredIntent, VolumeRow};
use crate::engine::intent::Touched;
use crate::engine::{Engine, home};
use crate::error::Result;
use crate::lineage::{Edge, Lineage};
use crate::store::{BackingStore, Found, Pool};
use crate::volume::{Properties, VolumeId};

/// What was seen.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) lxcpath: PathBuf,
    /// The containers of the lxcpath.
    pub(super) containers: Vec<ContainerRow>,
    /// Every volume of the catalogue.
    pub(super) rows: BTreeMap<VolumeId, VolumeRow>,
    pub(super) edges: Vec<Edge>,
    pub(super) lineage: Lineage,
    /// Our marks, as the stores find them in the lxcpath.
    pub(super) found: Vec<Found>,
    /// Directories on the way in or out.
    pub(super) aside: Vec<PathBuf>,
    /// Operations whose owner is dead.
    pub(super) unfinished: Vec<StoredIntent>,
    /// What operations name that are not finished.
    pub(super) busy: Touched,
}

impl Engine {
    pub(super) fn survey(&self, lxcpath: &Path) -> Result<Survey> {
        // Directories and marks before intents: one that belongs to nobody then was made by nobody who lives.
        let aside = directories_aside(lxcpath)?;
        let everything = self.catalogue.everything(lxcpath)?;
        let lineage = everything.lineage(lxcpath)?;
        let found = self.marks(lxcpath, &everything.rows)?;
        let mut busy = Touched::default();
        let mut unfinished = Vec::new();
        for id in self.catalogue.intent_ids()? {
            let Some(stored) = self.catalogue.intent(id)? else { continue };
            busy.note(&stored.intent);
            // Taken and let go again: free means that its owner is dead.
            if self.locks.try_intent(id).is_ok_and(|held| held.is_some()) {
                unfinished.push(stored);
            }
        }
        Ok(Survey {
            lxcpath: lxcpath.to_owned(),
            containers: everything.containers,
            rows: everything.rows.into_iter().map(|row| (row.volume.id, row)).collect(),
            edges: everything.edges,
            lineage,
            found,
            aside,
            unfinished,
            busy,
        })
    }

    /// Asks every store that can be asked here. One that the host lacks matters only when it has volumes here.
    fn marks(&self, lxcpath: &Path, volumes: &[VolumeRow]) -> Result<Vec<Found>> {
        if !home::exists(lxcpath)? {
            return Ok(Vec::new());
        }
        let mut found: Vec<Found> = Vec::new();
        for store in self.registry.stores() {
            let kind = store.kind();
            let is_here = |row: &&VolumeRow| *row.volume.kind() == kind && row.container.lxcpath == lxcpath;
            let default = self.registry.default_pool(&kind, lxcpath);
            for (pool, use_of) in pools_of(store.as_ref(), default, volumes.iter().filter(is_here))? {
                let is_missing =
                    || matches!(self.wait(store.availability(&pool)), Availability::Unavailable { .. });
                if use_of == Use::Possible && is_missing() {
                    continue;
                }
                let listed = self.wait(store.list(&pool)).map_err(|error| {
                    error.while_doing(format!("cannot list the volumes of the {kind} store"))
                })?;
                let new: Vec<Found> = listed.into_iter().filter(|one| !found.contains(one)).collect();
                found.extend(new);
            }
        }
        Ok(found)
    }
}

/// Whether a pool has volumes of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Known,
    /// It is where volumes go without options.
    Possible,
}

/// Returns the pools that a store is asked about: its default one, and for stores with a name space of their own those that the
/// volumes were made in.
fn pools_of<'a>(
    store: &dyn BackingStore,
    default: Pool,
    volumes: impl Iterator<Item = &'a VolumeRow>,
) -> Result<Vec<(Pool, Use)>> {
    let pool = |options: Properties| Pool { path: default.path.clone(), options };
    let is_named = store.capabilities(&default)?.residence == Residence::Named;
    let options: BTreeSet<&Properties> = volumes.map(|row| &row.volume.properties).collect();
    if !is_named {
        let use_of = if options.is_empty() { Use::Possible } else { Use::Known };
        return Ok(vec![(default, use_of)]);
    }
    let known = options.iter().map(|options| (pool((*options).clone()), Use::Known));
    let may_be = (!options.contains(&default.options)).then(|| (default.clone(), Use::Possible));
    Ok(known.chain(may_be).collect())
}

fn directories_aside(lxcpath: &Path) -> Result<Vec<PathBuf>> {
    let ours = lxcpath.join(home::OURS);
    let mut found = Vec::new();
    for name in ["staging", "trash"] {
        let directory = ours.join(name);
        found.extend(home::entries(&directory)?.into_iter().map(|entry| directory.join(entry)));
    }
    found.sort();
    Ok(found)
}
