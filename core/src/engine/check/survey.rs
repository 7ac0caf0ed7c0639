//! Looks at everything once: rows, intents, homes, and what the stores find.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::capability::Availability;
use crate::engine::catalogue::{ContainerRow, StoredIntent, VolumeRow};
use crate::engine::intent::Touched;
use crate::engine::{Engine, home};
use crate::error::Result;
use crate::lineage::{Edge, Lineage};
use crate::store::{Found, Pool};
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
        let pool = Pool { path: lxcpath.to_owned(), options: Properties::new() };
        let mut found = Vec::new();
        for store in self.registry.stores() {
            let kind = store.kind();
            let is_missing = matches!(self.wait(store.availability(&pool)), Availability::Unavailable { .. });
            let is_used =
                || volumes.iter().any(|row| *row.volume.kind() == kind && row.container.lxcpath == lxcpath);
            if !is_missing || is_used() {
                let listed = self.wait(store.list(&pool));
                found.extend(listed.map_err(|error| {
                    error.while_doing(format!("cannot list the volumes of the {kind} store"))
                })?);
            }
        }
        Ok(found)
    }
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
