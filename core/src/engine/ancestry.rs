//! The part of the lineage graph that an operation looks at, with the rows behind it.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Neighbourhood, VolumeRow};
use super::discover::no_container;
use super::request::ContainerKey;
use super::{Engine, home};
use crate::capability::Capabilities;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Edge, Lineage, NodeRole};
use crate::name::SnapshotName;
use crate::volume::VolumeId;

/// From so many dependents on, reading the whole catalogue at once is quicker than walking it.
const LARGE_FAMILY: u32 = 256;

/// Rows by identity, their edges, and the graph of both.
#[derive(Debug)]
pub(super) struct Ancestry {
    pub(super) rows: BTreeMap<VolumeId, VolumeRow>,
    pub(super) edges: Vec<Edge>,
    pub(super) lineage: Lineage,
}

impl Ancestry {
    /// Returns the containers whose data a child of `origin` needs, eldest first, without the child itself.
    pub(super) fn containers_above(&self, origin: &VolumeRow, child: &ContainerKey) -> Vec<ContainerKey> {
        let mut found = Vec::new();
        let mut next = Some(origin.volume.id);
        while let Some(id) = next {
            // A ghost goes by the name of a container that is gone; another may carry that name by now.
            if let Some(row) = self.rows.get(&id).filter(|row| row.role != NodeRole::Ghost)
                && row.container != *child
                && !found.contains(&row.container)
            {
                found.push(row.container.clone());
            }
            next = self.lineage.parent(id).map(|(parent, _)| parent.id);
        }
        found.reverse();
        found
    }

    /// Returns the row whose volume holds what `row` shows: the layer below a snapshot that adds nothing to it.
    pub(super) fn content_of<'a>(&'a self, row: &'a VolumeRow) -> &'a VolumeRow {
        let is_snapshot = matches!(row.role, NodeRole::Snapshot(_));
        let parent = self.lineage.parent(row.volume.id).map(|(parent, _)| parent);
        match parent {
            Some(parent) if is_snapshot && parent.role == NodeRole::Layer => {
                self.rows.get(&parent.id).unwrap_or(row)
            }
            _ => row,
        }
    }

    /// Decides whether a volume may be made that needs the data of `origin`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a snapshot where the store has no snapshots of snapshots;
    /// [`ErrorKind::LimitExceeded`] where the chain would be longer than the store allows.
    pub(super) fn may_build_upon(&self, origin: &VolumeRow, capabilities: &Capabilities) -> Result<()> {
        if !capabilities.clones_depend() {
            return Ok(());
        }
        if !capabilities.snapshot_of_snapshot && matches!(origin.role, NodeRole::Snapshot(_)) {
            let name = self.lineage.display(origin.volume.id);
            let text = format!(
                "`{name}` is a snapshot, and the {} store has no snapshots of snapshots here",
                origin.volume.kind()
            );
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(format!(
                "copy instead: `keiki clone --copy {name} NEW`; `keiki stores` shows what each store can do"
            )));
        }
        self.lineage.may_deepen(origin.volume.id, capabilities.max_depth)
    }

    /// Returns the row of a container's head or snapshot.
    pub(super) fn find(&self, key: &ContainerKey, snapshot: Option<&SnapshotName>) -> Result<VolumeRow> {
        let node = match snapshot {
            None => self.lineage.head(key),
            Some(name) => self.lineage.snapshot(key, name),
        };
        let row = node.and_then(|node| self.rows.get(&node.id)).cloned();
        row.ok_or_else(|| match snapshot {
            None => no_container(key),
            Some(name) => no_snapshot(key, name),
        })
    }
}

/// Returns the error for a snapshot that is not there.
pub(super) fn no_snapshot(key: &ContainerKey, name: &SnapshotName) -> Error {
    Error::new(ErrorKind::NotFound, format!("container `{}` has no snapshot `{name}`", key.name))
        .with_hint(format!("`keiki snapshot list {}` shows what there is", key.name))
}

impl Engine {
    /// Loads the part of the graph around a container.
    pub(super) fn ancestry(&self, key: &ContainerKey, reach: Neighbourhood) -> Result<Ancestry> {
        self.graph(key, self.family(key, reach)?)
    }

    /// Loads the part of the graph around several containers, with everybody who needs one of them; `seat` says whose lxcpath
    /// names are shown from.
    pub(super) fn ancestry_around(&self, seat: &ContainerKey, keys: &[ContainerKey]) -> Result<Ancestry> {
        self.graph(seat, self.catalogue.around(&seat.lxcpath, keys, Neighbourhood::Whole)?)
    }

    fn graph(
        &self,
        key: &ContainerKey,
        (mut rows, mut edges): (BTreeMap<VolumeId, VolumeRow>, Vec<Edge>),
    ) -> Result<Ancestry> {
        let gone = self.vanished(&rows)?;
        rows.retain(|_, row| row.role == NodeRole::Ghost || !gone.contains(&row.container));
        edges.retain(|edge| rows.contains_key(&edge.child) && rows.contains_key(&edge.parent));
        let lineage =
            Lineage::build(&key.lxcpath, rows.values().map(VolumeRow::node), edges.iter().copied())?;
        Ok(Ancestry { rows, edges, lineage })
    }

    fn family(
        &self,
        key: &ContainerKey,
        reach: Neighbourhood,
    ) -> Result<(BTreeMap<VolumeId, VolumeRow>, Vec<Edge>)> {
        if reach == Neighbourhood::Whole && self.catalogue.has_large_family(key, LARGE_FAMILY)? {
            let everything = self.catalogue.everything(&key.lxcpath)?;
            let rows = everything.rows.into_iter().map(|row| (row.volume.id, row)).collect();
            return Ok((rows, everything.edges));
        }
        self.catalogue.around(&key.lxcpath, std::slice::from_ref(key), reach)
    }

    /// Returns the containers whose home, and with it every volume in it, was removed by other hands: they forbid nothing.
    fn vanished(&self, rows: &BTreeMap<VolumeId, VolumeRow>) -> Result<BTreeSet<ContainerKey>> {
        let mut looked_at = BTreeMap::new();
        for row in rows.values().filter(|row| row.role != NodeRole::Ghost) {
            if looked_at.contains_key(&row.container) {
                continue;
            }
            let gone =
                !home::exists(&row.container.home())? && self.lives_in_home(&row.volume, &row.container)?;
            looked_at.insert(row.container.clone(), gone);
        }
        Ok(looked_at.into_iter().filter(|(_, gone)| *gone).map(|(key, _)| key).collect())
    }
}
