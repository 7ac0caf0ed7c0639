//! Containers and volumes as rows.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::explain;
use crate::engine::ContainerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Node, NodeRole};
use crate::name::{ContainerName, SnapshotName};
use crate::volume::{Properties, Volume, VolumeId, VolumeRole, VolumeSource};

/// A container, as the catalogue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct ContainerRow {
    pub(in crate::engine) key: ContainerKey,
    /// The mark on its home.
    pub(in crate::engine) home_id: VolumeId,
    pub(in crate::engine) created: Option<u64>,
}

/// In which role a volume's place was chosen; that never changes, while a head may become a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum PlacedRole {
    Head,
    Snapshot,
    Successor,
}

impl PlacedRole {
    fn word(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Snapshot => "snapshot",
            Self::Successor => "successor",
        }
    }

    /// Returns the role that a placement of this kind has.
    pub(in crate::engine) fn of(role: &VolumeRole) -> Self {
        match role {
            VolumeRole::Head => Self::Head,
            VolumeRole::Snapshot(_) => Self::Snapshot,
            VolumeRole::Successor => Self::Successor,
        }
    }
}

/// A volume, as the catalogue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct VolumeRow {
    pub(in crate::engine) volume: Volume,
    pub(in crate::engine) container: ContainerKey,
    pub(in crate::engine) role: NodeRole,
    pub(in crate::engine) placed: PlacedRole,
    pub(in crate::engine) created: Option<u64>,
}

impl VolumeRow {
    /// Returns the node of the lineage graph.
    pub(in crate::engine) fn node(&self) -> Node {
        Node {
            id: self.volume.id,
            container: self.container.clone(),
            role: self.role.clone(),
            store: self.volume.kind().clone(),
        }
    }
}

const VOLUME: &str =
    "SELECT id, lxcpath, name, role, snapshot, placed, source, properties, created FROM volumes";

/// Puts a path into the form of rows.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, format!("`{}` is not UTF-8", path.display())))
}

/// Puts a container's key into the form of rows.
pub(super) fn key_text(key: &ContainerKey) -> Result<(&str, &str)> {
    Ok((text(&key.lxcpath)?, key.name.as_str()))
}

fn bad<E: std::error::Error + Send + Sync + 'static>(column: usize) -> impl FnOnce(E) -> rusqlite::Error {
    move |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn key_of(row: &Row<'_>, lxcpath: usize, name: usize) -> rusqlite::Result<ContainerKey> {
    Ok(ContainerKey {
        lxcpath: PathBuf::from(row.get::<_, String>(lxcpath)?),
        name: ContainerName::existing(row.get_ref(name)?.as_str()?).map_err(bad(name))?,
    })
}

fn seconds(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|seconds| u64::try_from(seconds).ok()))
}

fn volume_row(row: &Row<'_>) -> rusqlite::Result<VolumeRow> {
    let role = match row.get_ref(3)?.as_str()? {
        "head" => NodeRole::Head,
        "layer" => NodeRole::Layer,
        "ghost" => NodeRole::Ghost,
        _ => NodeRole::Snapshot(SnapshotName::existing(row.get_ref(4)?.as_str()?).map_err(bad(4))?),
    };
    let placed = match row.get_ref(5)?.as_str()? {
        "head" => PlacedRole::Head,
        "snapshot" => PlacedRole::Snapshot,
        _ => PlacedRole::Successor,
    };
    let properties: Properties = match row.get_ref(7)?.as_str()? {
        "{}" => Properties::new(),
        text => serde_json::from_str(text).map_err(bad(7))?,
    };
    Ok(VolumeRow {
        volume: Volume {
            id: row.get_ref(0)?.as_str()?.parse::<VolumeId>().map_err(bad(0))?,
            source: row.get_ref(6)?.as_str()?.parse::<VolumeSource>().map_err(bad(6))?,
            properties,
        },
        container: key_of(row, 1, 2)?,
        role,
        placed,
        created: seconds(row, 8)?,
    })
}

fn container_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        key: key_of(row, 0, 1)?,
        home_id: row.get_ref(2)?.as_str()?.parse().map_err(bad(2))?,
        created: seconds(row, 3)?,
    })
}

impl super::Catalogue {
    /// Returns a container.
    pub(in crate::engine) fn container(&self, key: &ContainerKey) -> Result<Option<ContainerRow>> {
        let (lxcpath, name) = key_text(key)?;
        self.read(|db| {
            db.prepare_cached(
                "SELECT lxcpath, name, home_id, created FROM containers WHERE lxcpath = ?1 AND name = ?2",
            )?
            .query_row([lxcpath, name], container_row)
            .optional()
        })
    }

    /// Returns the volumes of a container: head, snapshots, layers and ghosts.
    pub(in crate::engine) fn volumes_of(&self, key: &ContainerKey) -> Result<Vec<VolumeRow>> {
        self.read(|db| volumes_of(db, key))
    }

    /// Returns those containers that are not in the catalogue. Ten thousand are asked for at once.
    pub(in crate::engine) fn unknown<'a>(&self, keys: &'a [ContainerKey]) -> Result<Vec<&'a ContainerKey>> {
        let mut known: HashMap<&Path, HashSet<String>> = HashMap::new();
        for key in keys {
            if known.contains_key(key.lxcpath.as_path()) {
                continue;
            }
            let lxcpath = text(&key.lxcpath)?;
            let names = self.read(|db| {
                db.prepare_cached("SELECT name FROM containers WHERE lxcpath = ?1")?
                    .query_map([lxcpath], |row| row.get(0))?
                    .collect()
            })?;
            known.insert(&key.lxcpath, names);
        }
        let is_unknown = |key: &&ContainerKey| {
            known.get(key.lxcpath.as_path()).is_none_or(|names| !names.contains(key.name.as_str()))
        };
        Ok(keys.iter().filter(is_unknown).collect())
    }

    /// Returns one volume.
    pub(in crate::engine) fn volume(&self, id: VolumeId) -> Result<Option<VolumeRow>> {
        self.read(|db| volume(db, id))
    }

    /// Returns who is making a container, if somebody is: the intent's id, operation and owner.
    pub(in crate::engine) fn reservation(
        &self,
        key: &ContainerKey,
    ) -> Result<Option<(String, String, String)>> {
        let (lxcpath, name) = key_text(key)?;
        self.read(|db| {
            db.prepare_cached(
                "SELECT i.id, i.operation, i.owner FROM reservations r JOIN intents i ON i.id = r.intent
                 WHERE r.lxcpath = ?1 AND r.name = ?2",
            )?
            .query_row([lxcpath, name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()
        })
    }
}

/// Returns the containers of an lxcpath, sorted by name.
pub(super) fn containers_of(db: &Connection, lxcpath: &str) -> rusqlite::Result<Vec<ContainerRow>> {
    db.prepare_cached(
        "SELECT lxcpath, name, home_id, created FROM containers WHERE lxcpath = ?1 ORDER BY name",
    )?
    .query_map([lxcpath], container_row)?
    .collect()
}

/// Returns every volume.
pub(super) fn all_volumes(db: &Connection) -> rusqlite::Result<Vec<VolumeRow>> {
    db.prepare_cached(VOLUME)?.query_map([], volume_row)?.collect()
}

/// Returns the volumes of a container.
pub(super) fn volumes_of(db: &Connection, key: &ContainerKey) -> rusqlite::Result<Vec<VolumeRow>> {
    let lxcpath = key.lxcpath.to_string_lossy();
    db.prepare_cached(&format!("{VOLUME} WHERE lxcpath = ?1 AND name = ?2"))?
        .query_map([lxcpath.as_ref(), key.name.as_str()], volume_row)?
        .collect()
}

pub(super) fn volume(db: &Connection, id: VolumeId) -> rusqlite::Result<Option<VolumeRow>> {
    db.prepare_cached(&format!("{VOLUME} WHERE id = ?1"))?.query_row([id.to_string()], volume_row).optional()
}

/// Writes a container's row; replaces one that is there, so that recovery may repeat it.
pub(in crate::engine) fn put_container(db: &Connection, row: &ContainerRow) -> Result<()> {
    let (lxcpath, name) = key_text(&row.key)?;
    let created = row.created.and_then(|seconds| i64::try_from(seconds).ok());
    db.prepare_cached(
        "INSERT OR REPLACE INTO containers (lxcpath, name, home_id, created) VALUES (?1, ?2, ?3, ?4)",
    )
    .and_then(|mut statement| statement.execute(params![lxcpath, name, row.home_id.to_string(), created]))
    .map(drop)
    .map_err(|e| explain(e, "change"))
}

/// Writes a volume's row; replaces one that is there.
pub(in crate::engine) fn put_volume(db: &Connection, row: &VolumeRow) -> Result<()> {
    let (lxcpath, name) = key_text(&row.container)?;
    let (role, snapshot) = match &row.role {
        NodeRole::Head => ("head", None),
        NodeRole::Layer => ("layer", None),
        NodeRole::Ghost => ("ghost", None),
        NodeRole::Snapshot(name) => ("snapshot", Some(name.as_str())),
    };
    let properties = serde_json::to_string(&row.volume.properties)
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot write a volume's properties").with_source(e))?;
    let created = row.created.and_then(|seconds| i64::try_from(seconds).ok());
    let values = params![
        row.volume.id.to_string(),
        lxcpath,
        name,
        role,
        snapshot,
        row.placed.word(),
        row.volume.source.to_string(),
        properties,
        created
    ];
    db.prepare_cached(
        "INSERT OR REPLACE INTO volumes (id, lxcpath, name, role, snapshot, placed, source, properties, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .and_then(|mut statement| statement.execute(values))
    .map(drop)
    .map_err(|e| explain(e, "change"))
}

/// Makes a head a layer of its container; nothing when it is one already.
pub(in crate::engine) fn freeze_head(db: &Connection, id: VolumeId) -> Result<()> {
    set_role(db, id, "layer")
}

/// Makes a volume a ghost.
pub(in crate::engine) fn make_ghost(db: &Connection, id: VolumeId) -> Result<()> {
    set_role(db, id, "ghost")
}

/// Writes a volume's new place; nothing when it is not recorded.
pub(in crate::engine) fn move_volume(db: &Connection, id: VolumeId, source: &VolumeSource) -> Result<()> {
    db.prepare_cached("UPDATE volumes SET source = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute([id.to_string(), source.to_string()]))
        .map(drop)
        .map_err(|e| explain(e, "change"))
}

fn set_role(db: &Connection, id: VolumeId, role: &str) -> Result<()> {
    db.prepare_cached("UPDATE volumes SET role = ?2, snapshot = NULL WHERE id = ?1")
        .and_then(|mut statement| statement.execute([&id.to_string(), role]))
        .map(drop)
        .map_err(|e| explain(e, "change"))
}

/// Removes a container's row if it is still the one whose home carries this mark.
pub(in crate::engine) fn drop_container_of(
    db: &Connection,
    key: &ContainerKey,
    home_id: VolumeId,
) -> Result<()> {
    let (lxcpath, name) = key_text(key)?;
    db.prepare_cached("DELETE FROM containers WHERE lxcpath = ?1 AND name = ?2 AND home_id = ?3")
        .and_then(|mut statement| statement.execute([lxcpath, name, &home_id.to_string()]))
        .map(drop)
        .map_err(|e| explain(e, "change"))
}

/// Removes a volume's row with every edge that touches it; nothing when it is not there.
pub(in crate::engine) fn drop_volume(db: &Connection, id: VolumeId) -> Result<()> {
    let id = id.to_string();
    for statement in
        ["DELETE FROM edges WHERE child = ?1 OR parent = ?1", "DELETE FROM volumes WHERE id = ?1"]
    {
        db.prepare_cached(statement)
            .and_then(|mut statement| statement.execute([&id]))
            .map_err(|e| explain(e, "change"))?;
    }
    Ok(())
}
