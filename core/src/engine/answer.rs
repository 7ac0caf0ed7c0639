//! Answers: what there is, who depends on whom, how to mount it. Nothing here writes, runs a tool or mounts; the catalogue and one
//! listing of the lxcpath say it all.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::catalogue::{ContainerRow, Everything, Neighbourhood, VolumeRow};
use super::discover::{Discovered, no_container};
use super::locks::{Held, Hold};
use super::request::{ContainerKey, ContainerRecord, SnapshotRecord};
use super::settle::Known;
use super::{Engine, home, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::lxc_files::LxcSnapshots;
use crate::lineage::{Edge, Lineage, Node, NodeRole};
use crate::mount_plan::{AttachMode, MountPlan};
use crate::name::{ContainerName, SnapshotName};
use crate::store::Usage;
use crate::volume::{Volume, VolumeId};

/// The permission to start a container; nobody else changes it until this is dropped.
#[derive(Debug)]
pub struct StartPermit {
    _held: Held,
}

impl Engine {
    /// Returns the containers of an lxcpath, sorted by name, with those of LXC that are not adopted yet.
    ///
    /// # Errors
    /// When the catalogue or the lxcpath cannot be read, or a config of LXC is not one.
    pub fn containers(&self, lxcpath: &Path) -> Result<Vec<ContainerRecord>> {
        let everything = self.catalogue.everything(lxcpath)?;
        let lineage = self.graph_of(lxcpath, &everything)?;
        let known: HashMap<&str, &ContainerRow> =
            everything.containers.iter().map(|row| (row.key.name.as_str(), row)).collect();
        let volumes = by_container(&everything.rows);
        let mut records = Vec::with_capacity(known.len());
        for name in self.names_below(lxcpath)? {
            let key = ContainerKey { lxcpath: lxcpath.to_owned(), name };
            match known.get(key.name.as_str()) {
                Some(row) => {
                    records.push(record(row, volumes.get(&key).map_or(&[][..], Vec::as_slice), &lineage));
                }
                None => records.extend(self.record_of_unknown(&key)?),
            }
        }
        Ok(records)
    }

    /// Returns a container that was not in the catalogue a moment ago: made since, of LXC, or none.
    fn record_of_unknown(&self, key: &ContainerKey) -> Result<Option<ContainerRecord>> {
        if self.is_being_made(key)? {
            return Ok(None);
        }
        if self.catalogue.container(key)?.is_some() {
            return match self.container(key) {
                Ok(record) => Ok(Some(record)),
                // Made and destroyed again between the looks: a list does not fail for that.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        self.discover(key)?.map(|found| self.record_of(&found)).transpose()
    }

    /// Returns one container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn container(&self, key: &ContainerKey) -> Result<ContainerRecord> {
        match self.settled(&Context::default(), key)? {
            Known::Ours(row) if home::exists(&key.home())? => {
                let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
                let own: Vec<&VolumeRow> =
                    ancestry.rows.values().filter(|row| row.container == *key).collect();
                Ok(record(&row, &own, &ancestry.lineage))
            }
            Known::Lxc(found) => self.record_of(&found),
            Known::Ours(_) | Known::Nothing => Err(no_container(key)),
        }
    }

    fn record_of(&self, found: &Discovered) -> Result<ContainerRecord> {
        let key = &found.key;
        let dependents = match relations::read_snapshots(key)? {
            LxcSnapshots::Pairs(keys) => keys.iter().map(|child| child.display(&key.lxcpath)).collect(),
            LxcSnapshots::Count(count) => vec![format!("({count} of an old LXC)")],
        };
        Ok(ContainerRecord {
            key: key.clone(),
            store: found.source.as_ref().map(|source| source.kind().clone()),
            volume: found.source.clone().map(|source| Volume::new(VolumeId::generate(), source)),
            origin: found.parent.as_ref().map(|parent| parent.display(&key.lxcpath)),
            dependents,
            snapshots: self.discover_snapshots(key)?.into_iter().map(|snapshot| snapshot.name).collect(),
            created: None,
            adopted: false,
        })
    }

    /// Returns the snapshots of a container, in the order in which they were taken.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn snapshots(&self, key: &ContainerKey) -> Result<Vec<SnapshotRecord>> {
        if !home::exists(&key.home())? {
            return Err(no_container(key));
        }
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let mut records = Vec::new();
        for row in ancestry.rows.values().filter(|row| row.container == *key) {
            if let NodeRole::Snapshot(name) = &row.role {
                let needs = ancestry.lineage.named_dependents(row.volume.id);
                records.push(SnapshotRecord {
                    name: name.clone(),
                    created: row.created,
                    comment: comment(key, name)?,
                    volume: row.volume.clone(),
                    dependents: needs.iter().map(|node| node.display(&key.lxcpath)).collect(),
                });
            }
        }
        for found in self.discover_snapshots(key)? {
            let (Some(source), false) =
                (found.source, records.iter().any(|record| record.name == found.name))
            else {
                continue;
            };
            records.push(SnapshotRecord {
                comment: comment(key, &found.name)?,
                name: found.name,
                created: found.created,
                volume: Volume::new(VolumeId::generate(), source),
                dependents: Vec::new(),
            });
        }
        records.sort_by(|a, b| (a.created, a.volume.id, &a.name).cmp(&(b.created, b.volume.id, &b.name)));
        Ok(records)
    }

    /// Returns the whole family graph, named as seen from `lxcpath`.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn lineage(&self, lxcpath: &Path) -> Result<Lineage> {
        self.graph_of(lxcpath, &self.catalogue.everything(lxcpath)?)
    }

    /// Builds the graph of what is really there: without what other hands removed, with what LXC made.
    fn graph_of(&self, lxcpath: &Path, everything: &Everything) -> Result<Lineage> {
        let mut nodes: Vec<Node> = Vec::with_capacity(everything.rows.len());
        let mut edges = everything.edges.clone();
        let here: HashSet<ContainerName> = self.names_below(lxcpath)?.into_iter().collect();
        for row in &everything.rows {
            let is_here = row.container.lxcpath == lxcpath && here.contains(&row.container.name);
            if is_here || row.role == NodeRole::Ghost || self.is_still_there(row)? {
                nodes.push(row.node());
            }
        }
        let known: HashSet<&ContainerName> = everything.containers.iter().map(|row| &row.key.name).collect();
        for name in here.iter().filter(|name| !known.contains(name)) {
            let key = ContainerKey { lxcpath: lxcpath.to_owned(), name: name.clone() };
            self.add_unknown(&key, &mut nodes, &mut edges)?;
        }
        let ids: HashSet<VolumeId> = nodes.iter().map(|node| node.id).collect();
        edges.retain(|edge| ids.contains(&edge.child) && ids.contains(&edge.parent));
        Lineage::build(lxcpath, nodes, edges)
    }

    /// Returns whether a volume of another lxcpath, or of a name without a home, is there all the same.
    fn is_still_there(&self, row: &VolumeRow) -> Result<bool> {
        Ok(home::exists(&row.container.home())? || !self.lives_in_home(&row.volume, &row.container)?)
    }

    fn add_unknown(&self, key: &ContainerKey, nodes: &mut Vec<Node>, edges: &mut Vec<Edge>) -> Result<()> {
        if self.is_being_made(key)? {
            return Ok(());
        }
        let Some(found) = self.discover(key)? else { return Ok(()) };
        let Some(source) = found.source else { return Ok(()) };
        let volume = Volume::new(VolumeId::generate(), source);
        let is_parent =
            |node: &&Node| node.role == NodeRole::Head && Some(&node.container) == found.parent.as_ref();
        if let Some(parent) = nodes.iter().find(is_parent) {
            let capabilities =
                self.capabilities(self.store_of(&volume)?.as_ref(), &key.lxcpath, Some(&volume))?;
            edges.push(Edge::of_clone(volume.id, parent.id, &capabilities));
        }
        nodes.push(Node {
            id: volume.id,
            container: key.clone(),
            role: NodeRole::Head,
            store: volume.kind().clone(),
        });
        Ok(())
    }

    /// Measures containers, in order; one bulk question a store.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what the store says.
    pub fn usage(&self, context: &Context, keys: &[ContainerKey]) -> Result<Vec<Usage>> {
        let mut by_kind: HashMap<_, (Vec<usize>, Vec<Volume>)> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            let volume = self.head_volume(key)?;
            let (indices, volumes) = by_kind.entry(volume.kind().clone()).or_default();
            indices.push(index);
            volumes.push(volume);
        }
        let mut usages = vec![Usage::default(); keys.len()];
        for (kind, (indices, volumes)) in by_kind {
            let measured = self.wait(self.store(&kind)?.usage(context, &volumes))?;
            indices.into_iter().zip(measured).for_each(|(index, usage)| usages[index] = usage);
        }
        Ok(usages)
    }

    /// Decides whether a container may be started, and keeps others from changing it until the permit is dropped.
    ///
    /// # Behavior
    /// Writes nothing, with one exception: a container of LXC is adopted before its first start, because stores mount
    /// only what carries their mark.
    ///
    /// # Errors
    /// [`ErrorKind::HasDependents`] while others would see its writes; [`ErrorKind::NotFound`]; [`ErrorKind::Busy`].
    pub fn permit_start(&self, key: &ContainerKey) -> Result<StartPermit> {
        let context = Context::default();
        if self.catalogue.obstacle().is_none() {
            self.recover()?;
            self.adopt_to_start(&context, key)?;
        }
        let held = self.locks.take(&context, &[(key, Hold::Exclusive)], "start")?;
        if !home::exists(&key.home())? {
            return Err(no_container(key));
        }
        match self.settled(&context, key)? {
            Known::Nothing => return Err(no_container(key)),
            Known::Lxc(_) => {}
            Known::Ours(_) => {
                let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
                if let Some(head) = ancestry.lineage.head(key) {
                    ancestry.lineage.may_start(head.id)?;
                }
            }
        }
        self.refuse_unknown_dependents(key)?;
        relations::refuse_counted(key, "start")?;
        Ok(StartPermit { _held: held })
    }

    /// Takes a container of LXC over, unless it may not be started anyway.
    fn adopt_to_start(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        match self.settled(context, key)? {
            Known::Lxc(found) if found.source.is_some() => {
                self.refuse_unknown_dependents(key)?;
                self.know(context, std::slice::from_ref(key))
            }
            Known::Lxc(_) | Known::Ours(_) | Known::Nothing => Ok(()),
        }
    }

    /// Refuses while a clone that LXC made, and that nobody adopted yet, stacks upon the container.
    fn refuse_unknown_dependents(&self, key: &ContainerKey) -> Result<()> {
        let LxcSnapshots::Pairs(children) = relations::read_snapshots(key)? else { return Ok(()) };
        let mut names = Vec::new();
        for child in self.catalogue.unknown(&children)? {
            if self.discover(child)?.is_some_and(|found| found.parent.as_ref() == Some(key)) {
                names.push(child.display(&key.lxcpath));
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let all = names.join(", ");
        let name = &key.name;
        Err(Error::new(
            ErrorKind::HasDependents,
            format!("cannot start `{name}`: its data is needed by {all}"),
        )
        .with_context("dependents", all)
        .with_hint(format!("`keiki clone {name} NAME` makes another container to work in")))
    }

    /// Returns how to mount a container's head.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what the store says.
    pub fn attach(&self, context: &Context, key: &ContainerKey, mode: AttachMode) -> Result<MountPlan> {
        let volume = self.head_volume(key)?;
        self.wait(self.store_of(&volume)?.attach(context, &volume, mode))
    }

    /// Undoes what [`Self::attach`] activated.
    ///
    /// # Errors
    /// What the store says.
    pub fn detach(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        let volume = self.head_volume(key)?;
        self.wait(self.store_of(&volume)?.detach(context, &volume))
    }

    pub(super) fn head_volume(&self, key: &ContainerKey) -> Result<Volume> {
        let rows = self.catalogue.volumes_of(key)?;
        if let Some(row) = rows.into_iter().find(|row| row.role == NodeRole::Head) {
            return Ok(row.volume);
        }
        let found = match self.settled(&Context::default(), key)? {
            Known::Lxc(found) => found,
            Known::Nothing => return Err(no_container(key)),
            // Recorded since we looked.
            Known::Ours(_) => return self.head_volume(key),
        };
        let source = found.source.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the rootfs of container `{}` belongs to no store here", key.name),
            )
            .with_hint(format!("look at lxc.rootfs.path in `{}`", key.home().join("config").display()))
        })?;
        Ok(Volume::new(VolumeId::generate(), source))
    }

    /// Returns a container's configuration as it is on disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn read_config(&self, key: &ContainerKey) -> Result<Vec<u8>> {
        self.read_config_of(key, None)
    }

    pub(super) fn read_config_of(
        &self,
        key: &ContainerKey,
        snapshot: Option<&SnapshotName>,
    ) -> Result<Vec<u8>> {
        let home = snapshot.map_or_else(|| key.home(), |name| key.snapshot_home(name));
        home::read_file(&home.join("config"))?.ok_or_else(|| no_container(key))
    }
}

fn by_container(rows: &[VolumeRow]) -> HashMap<ContainerKey, Vec<&VolumeRow>> {
    let mut map: HashMap<ContainerKey, Vec<&VolumeRow>> = HashMap::new();
    for row in rows {
        map.entry(row.container.clone()).or_default().push(row);
    }
    map
}

fn record(row: &ContainerRow, own: &[&VolumeRow], lineage: &Lineage) -> ContainerRecord {
    let key = &row.key;
    let head = own.iter().find(|row| row.role == NodeRole::Head);
    let mut snapshots: Vec<(Option<u64>, VolumeId, SnapshotName)> = own
        .iter()
        .filter_map(|row| match &row.role {
            NodeRole::Snapshot(name) => Some((row.created, row.volume.id, name.clone())),
            _ => None,
        })
        .collect();
    snapshots.sort();
    let mut dependents: Vec<String> =
        lineage.dependents_of(key).iter().map(|node| node.display(&key.lxcpath)).collect();
    dependents.sort();
    ContainerRecord {
        key: key.clone(),
        store: head.map(|row| row.volume.kind().clone()),
        volume: head.map(|row| row.volume.clone()),
        origin: lineage.origin_of(key).map(|node| node.display(&key.lxcpath)),
        dependents,
        snapshots: snapshots.into_iter().map(|(_, _, name)| name).collect(),
        created: row.created,
        adopted: true,
    }
}

fn comment(key: &ContainerKey, name: &SnapshotName) -> Result<Option<String>> {
    let content = home::read_file(&key.snapshot_home(name).join("comment"))?;
    Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}
