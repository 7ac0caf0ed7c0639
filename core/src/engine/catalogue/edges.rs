//! Edges as rows, and the part of the graph that a question needs.
//!
//! A catalogue may hold 10,000 clones of one parent. Cloning once more must not read them all, so a question loads a
//! [`Neighbourhood`]: the volumes it starts from, what they need, and, where it matters, who needs them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::rows::{ContainerRow, VolumeRow, all_volumes, containers_of, text, volume, volumes_of};
use super::{Catalogue, explain};
use crate::engine::ContainerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Dependency, Edge, EdgeKind, Lineage};
use crate::volume::VolumeId;

/// The catalogue at one moment.
#[derive(Debug)]
pub(in crate::engine) struct Everything {
    /// The containers of one lxcpath, sorted by name.
    pub(in crate::engine) containers: Vec<ContainerRow>,
    /// Every volume.
    pub(in crate::engine) rows: Vec<VolumeRow>,
    /// Every edge.
    pub(in crate::engine) edges: Vec<Edge>,
}

impl Everything {
    /// Returns the graph as it is recorded.
    pub(in crate::engine) fn lineage(&self, lxcpath: &Path) -> Result<Lineage> {
        Lineage::build(lxcpath, self.rows.iter().map(VolumeRow::node), self.edges.iter().copied())
    }
}

/// Which part of the graph a question needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Neighbourhood {
    /// The container's volumes and everything they need.
    Upwards,
    /// That, and everything that needs any of them, with all of the containers met on the way.
    Whole,
}

fn edge_row(row: &Row<'_>) -> rusqlite::Result<Edge> {
    let bad =
        |column, error: Error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    let child = row.get_ref(0)?.as_str()?.parse().map_err(|e| bad(0, e))?;
    let parent = row.get_ref(1)?.as_str()?.parse().map_err(|e| bad(1, e))?;
    let kind = match row.get_ref(2)?.as_str_or_null()? {
        None => EdgeKind::Provenance,
        Some(text) => {
            let terms: Dependency = serde_json::from_str(text)
                .map_err(|e| bad(2, Error::new(ErrorKind::Corrupt, "a dependency's terms").with_source(e)))?;
            EdgeKind::Dependency(terms)
        }
    };
    Ok(Edge { child, parent, kind })
}

fn edges_by(db: &Connection, column: &str, id: VolumeId) -> rusqlite::Result<Vec<Edge>> {
    db.prepare_cached(&format!("SELECT child, parent, terms FROM edges WHERE {column} = ?1"))?
        .query_map([id.to_string()], edge_row)?
        .collect()
}

/// Writes an edge; replaces one of the same child and kind.
pub(in crate::engine) fn put_edge(db: &Connection, edge: &Edge) -> Result<()> {
    let (kind, terms) = match &edge.kind {
        EdgeKind::Provenance => ("provenance", None),
        EdgeKind::Dependency(dependency) => {
            let text = serde_json::to_string(dependency)
                .map_err(|e| Error::new(ErrorKind::Internal, "cannot write a dependency").with_source(e))?;
            ("dependency", Some(text))
        }
    };
    db.prepare_cached("INSERT OR REPLACE INTO edges (child, parent, terms, kind) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut statement| {
            statement.execute(params![edge.child.to_string(), edge.parent.to_string(), terms, kind])
        })
        .map(drop)
        .map_err(|e| explain(e, "change"))
}

/// Removes what a child depends on; nothing when it depends on nobody.
pub(in crate::engine) fn drop_dependency(db: &Connection, child: VolumeId) -> Result<()> {
    drop_edge(db, child, "dependency")
}

/// Removes where a child came from.
pub(in crate::engine) fn drop_provenance(db: &Connection, child: VolumeId) -> Result<()> {
    drop_edge(db, child, "provenance")
}

fn drop_edge(db: &Connection, child: VolumeId, kind: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM edges WHERE child = ?1 AND kind = ?2")
        .and_then(|mut statement| statement.execute([child.to_string().as_str(), kind]))
        .map(drop)
        .map_err(|e| explain(e, "change"))
}

/// Lets everything that was copied from `old` have come from `new`, which took its place.
pub(in crate::engine) fn move_provenance(db: &Connection, old: VolumeId, new: VolumeId) -> Result<()> {
    db.prepare_cached(
        "UPDATE edges SET parent = ?2 WHERE parent = ?1 AND kind = 'provenance' AND child <> ?2",
    )
    .and_then(|mut statement| statement.execute([old.to_string(), new.to_string()]))
    .map(drop)
    .map_err(|e| explain(e, "change"))
}

impl Catalogue {
    /// Returns everything there is, of one moment, with the containers of `lxcpath`.
    pub(in crate::engine) fn everything(&self, lxcpath: &Path) -> Result<Everything> {
        let lxcpath = text(lxcpath)?;
        self.read(|db| {
            Ok(Everything {
                containers: containers_of(db, lxcpath)?,
                rows: all_volumes(db)?,
                edges: db
                    .prepare_cached("SELECT child, parent, terms FROM edges")?
                    .query_map([], edge_row)?
                    .collect::<rusqlite::Result<_>>()?,
            })
        })
    }

    /// Returns whether more than `limit` volumes need a volume of the container directly.
    pub(in crate::engine) fn has_large_family(&self, key: &ContainerKey, limit: u32) -> Result<bool> {
        let lxcpath = text(&key.lxcpath)?;
        let count: u32 = self.read(|db| {
            db.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM volumes v JOIN edges e ON e.parent = v.id
                 WHERE v.lxcpath = ?1 AND v.name = ?2 AND e.terms IS NOT NULL LIMIT ?3)",
            )?
            .query_row(rusqlite::params![lxcpath, key.name.as_str(), limit + 1], |row| row.get(0))
        })?;
        Ok(count > limit)
    }

    /// Returns the part of the graph around some containers, with its rows by id.
    pub(in crate::engine) fn around(
        &self,
        lxcpath: &Path,
        keys: &[ContainerKey],
        reach: Neighbourhood,
    ) -> Result<(BTreeMap<VolumeId, VolumeRow>, Vec<Edge>)> {
        let mut walk = Walk { reach, ..Walk::default() };
        self.read(|db| {
            for key in keys {
                walk.enter(db, key)?;
            }
            walk.finish(db)
        })
        .map_err(|error| error.while_doing(format!("cannot read the lineage below `{}`", lxcpath.display())))
    }
}

struct Walk {
    reach: Neighbourhood,
    rows: BTreeMap<VolumeId, VolumeRow>,
    edges: HashSet<Edge>,
    containers: HashSet<ContainerKey>,
    followed: HashSet<VolumeId>,
    pending: Vec<VolumeId>,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            reach: Neighbourhood::Upwards,
            rows: BTreeMap::new(),
            edges: HashSet::new(),
            containers: HashSet::new(),
            followed: HashSet::new(),
            pending: Vec::new(),
        }
    }
}

impl Walk {
    fn enter(&mut self, db: &Connection, key: &ContainerKey) -> rusqlite::Result<()> {
        if self.containers.insert(key.clone()) {
            for row in volumes_of(db, key)? {
                self.meet(row);
            }
        }
        Ok(())
    }

    fn meet(&mut self, row: VolumeRow) {
        let id = row.volume.id;
        self.rows.insert(id, row);
        // One that was only climbed over before is followed downwards now.
        if self.followed.insert(id) {
            self.pending.push(id);
        }
    }

    fn finish(mut self, db: &Connection) -> rusqlite::Result<(BTreeMap<VolumeId, VolumeRow>, Vec<Edge>)> {
        while let Some(id) = self.pending.pop() {
            for edge in edges_by(db, "child", id)? {
                if let Some(row) = volume(db, edge.parent)? {
                    // Whether a layer or ghost above is still needed depends on everybody below it.
                    self.climb(db, row)?;
                }
                self.edges.insert(edge);
            }
            if self.reach == Neighbourhood::Whole {
                // Copies need nothing and forbid nothing; there may be thousands.
                for edge in edges_by(db, "terms IS NOT NULL AND parent", id)? {
                    if let Some(row) = volume(db, edge.child)? {
                        let key = row.container.clone();
                        self.meet(row);
                        self.enter(db, &key)?;
                    }
                }
            }
        }
        let rows = self.rows;
        let edges = self.edges.into_iter().filter(|edge| rows.contains_key(&edge.parent)).collect();
        Ok((rows, edges))
    }

    /// Takes in a parent. Those with a name are not followed downwards from here: their other children do not matter.
    fn climb(&mut self, db: &Connection, row: VolumeRow) -> rusqlite::Result<()> {
        if !row.role.is_named() || self.reach == Neighbourhood::Upwards {
            self.meet(row);
            return Ok(());
        }
        let mut next = Some(row);
        while let Some(row) = next {
            let id = row.volume.id;
            if self.rows.contains_key(&id) {
                return Ok(());
            }
            if !row.role.is_named() {
                self.meet(row);
                return Ok(());
            }
            self.rows.insert(id, row);
            let mut above = None;
            for edge in edges_by(db, "child", id)? {
                let parent = volume(db, edge.parent)?;
                if matches!(edge.kind, EdgeKind::Dependency(_)) {
                    above = parent;
                }
                self.edges.insert(edge);
            }
            next = above;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{put_edge, put_volume};
    use super::super::{Catalogue, PlacedRole};
    use super::*;
    use crate::lineage::NodeRole;
    use crate::name::{ContainerName, SnapshotName};
    use crate::reference::ReferenceOptions;
    use crate::volume::{Volume, VolumeId};

    fn key(name: &str) -> ContainerKey {
        ContainerKey { lxcpath: "/p".into(), name: ContainerName::parse(name).unwrap() }
    }

    fn row(name: &str, role: NodeRole) -> VolumeRow {
        let id = VolumeId::generate();
        VolumeRow {
            volume: Volume::new(id, format!("reference:{name}-{}", id.short()).parse().unwrap()),
            container: key(name),
            role,
            placed: PlacedRole::Head,
            created: None,
        }
    }

    #[test]
    fn a_volume_that_was_climbed_over_first_is_followed_downwards_all_the_same() {
        let state = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(state.path()).unwrap();
        let [a, b, p, q, x] = ["a", "b", "p", "q", "x"].map(|name| row(name, NodeRole::Head));
        let s = row("x", NodeRole::Snapshot(SnapshotName::parse("s").unwrap()));
        let capabilities = ReferenceOptions::refusing().capabilities;
        let edge = |child: &VolumeRow, parent: &VolumeRow| {
            Edge::of_clone(child.volume.id, parent.volume.id, &capabilities)
        };
        // `x` is met through its snapshot, and its head climbs over `p` and `b` before they are reached from `a`.
        let edges = [edge(&b, &a), edge(&p, &b), edge(&q, &p), edge(&x, &p), edge(&s, &a)];
        let rows = [a, b, p, q, x, s];
        catalogue
            .write(|db| {
                rows.iter().try_for_each(|row| put_volume(db, row))?;
                edges.iter().try_for_each(|edge| put_edge(db, edge))
            })
            .unwrap();
        let around = |name| catalogue.around(Path::new("/p"), &[key(name)], Neighbourhood::Whole).unwrap();
        let (found, met) = around("a");
        assert_eq!((found.len(), met.len()), (rows.len(), edges.len()));
        let (found, _) = around("q");
        assert_eq!(found.len(), 4, "`q` and whom it needs, and none of their other children");
    }
}
