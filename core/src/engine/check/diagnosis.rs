//! Compares what was seen, thing by thing. Reads homes and asks stores; changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::cure::Cure;
use super::survey::Survey;
use super::{Finding, FindingState, Problem};
use crate::engine::catalogue::{ContainerRow, PlacedRole, VolumeRow};
use crate::engine::kin::{Owners, own_path};
use crate::engine::request::ContainerKey;
use crate::engine::{Engine, home, relations};
use crate::error::{ErrorKind, Result};
use crate::lineage::lxc_files::LxcSnapshots;
use crate::lineage::{Edge, EdgeKind, NodeRole};
use crate::name::SnapshotName;
use crate::store::{Found, Presence};
use crate::volume::{Volume, VolumeId, VolumeSource};

/// One finding with what would cure it.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub(super) finding: Finding,
    pub(super) cure: Cure,
}

impl Diagnosis {
    fn new(problem: Problem, subject: String, detail: String, remedy: &str, cure: Cure) -> Self {
        let state = if cure == Cure::None { FindingState::NeedsDecision } else { FindingState::Repairable };
        Self { finding: Finding { problem, subject, detail, remedy: remedy.to_owned(), state }, cure }
    }
}

impl Engine {
    pub(super) fn diagnoses(&self, survey: &Survey) -> Result<Vec<Diagnosis>> {
        let mut all = Vec::new();
        unfinished(survey, &mut all);
        self.diagnose_homes(survey, &mut all)?;
        self.diagnose_volumes(survey, &mut all)?;
        self.diagnose_names(survey, &mut all)?;
        diagnose_marks(survey, &mut all);
        self.diagnose_edges(survey, &mut all)?;
        self.diagnose_relations(survey, &mut all)?;
        strays(survey, &mut all);
        unneeded(survey, &mut all);
        Ok(all)
    }

    /// Rows of containers against their directories and configurations.
    fn diagnose_homes(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        for row in survey.containers.iter().filter(|row| !survey.busy.keys.contains(&row.key)) {
            let path = row.key.home();
            let subject = row.key.name.to_string();
            if !home::exists(&path)? {
                all.push(self.missing_home(survey, row, subject)?);
                continue;
            }
            let mark = home::read_mark(&path)?;
            if mark != Some(row.home_id) {
                all.push(self.foreign_home(survey, row, mark, subject)?);
                continue;
            }
            if let Some(head) = member(survey, &row.key, &NodeRole::Head) {
                all.extend(self.config_against(head, &path, subject)?);
            }
        }
        Ok(())
    }

    fn missing_home(&self, survey: &Survey, row: &ContainerRow, subject: String) -> Result<Diagnosis> {
        let own: Vec<&VolumeRow> =
            survey.rows.values().filter(|volume| volume.container == row.key).collect();
        let mut elsewhere = None;
        for volume in own.iter().filter(|volume| volume.role != NodeRole::Ghost) {
            if !self.lives_in_home(&volume.volume, &row.key)? {
                elsewhere = Some(*volume);
            }
        }
        let is_needed = !survey.lineage.dependents_of(&row.key).is_empty();
        let is_mounted = home::exists(&survey.lxcpath.join(home::OURS))?;
        let detail = format!("its directory `{}` is gone", row.key.home().display());
        let (remedy, cure) = match elsewhere {
            Some(volume) if volume.role == NodeRole::Head => (
                "its volume is still there: the directory is made anew, with a plain configuration",
                Cure::MakeHome {
                    key: row.key.clone(),
                    id: row.home_id,
                    source: volume.volume.source.clone(),
                },
            ),
            _ if is_needed => ("others need its data: restore the directory from a backup", Cure::None),
            _ if !is_mounted => ("mount the file system of the lxcpath, or restore a backup", Cure::None),
            _ => ("it is forgotten, as its data is gone with the directory", Cure::Forget(row.key.clone())),
        };
        Ok(Diagnosis::new(Problem::MissingHome, subject, detail, remedy, cure))
    }

    /// A home that came back from a backup has no mark; it is ours when its configuration names our volume.
    fn foreign_home(
        &self,
        survey: &Survey,
        row: &ContainerRow,
        mark: Option<VolumeId>,
        subject: String,
    ) -> Result<Diagnosis> {
        let path = row.key.home();
        let detail = format!("`{}` does not carry its mark", path.display());
        let head = member(survey, &row.key, &NodeRole::Head);
        let named = self.source_named(&path)?;
        if let (Some(head), None) = (head, mark)
            && named.as_ref() == Some(&head.volume.source)
        {
            let own: Vec<Volume> = survey
                .rows
                .values()
                .filter(|volume| volume.container == row.key && volume.role != NodeRole::Ghost)
                .map(|volume| volume.volume.clone())
                .collect();
            let cure = Cure::Mark { key: row.key.clone(), id: row.home_id, volumes: own };
            let remedy = "its configuration names its volume: the directory is marked again";
            return Ok(Diagnosis::new(Problem::ForeignHome, subject, detail, remedy, cure));
        }
        let remedy = "move the directory away and bring the container's own back";
        Ok(Diagnosis::new(Problem::ForeignHome, subject, detail, remedy, Cure::None))
    }

    fn config_against(&self, row: &VolumeRow, home: &Path, subject: String) -> Result<Option<Diagnosis>> {
        let named = self.source_named(home)?;
        if named.as_ref() == Some(&row.volume.source) {
            return Ok(None);
        }
        let shown = named.as_ref().map_or_else(|| "nothing".to_owned(), |source| format!("`{source}`"));
        let detail = format!("its configuration names {shown}, its volume is `{}`", row.volume.source);
        let is_there = match &named {
            Some(source) => self.presence(source)? != Presence::Absent,
            None => home::exists(&home.join("config"))?,
        };
        let own = self.wait(self.store_of(&row.volume)?.probe(&row.volume))?;
        let (remedy, cure) = if !is_there && own == Presence::Complete(row.volume.id) {
            (
                "nothing is there: the configuration names the volume again",
                Cure::Config(row.volume.clone(), home.to_owned()),
            )
        } else {
            ("set lxc.rootfs.path back, or restore a backup", Cure::None)
        };
        Ok(Some(Diagnosis::new(Problem::ConfigDisagrees, subject, detail, remedy, cure)))
    }

    fn source_named(&self, home: &Path) -> Result<Option<VolumeSource>> {
        let path = home.join("config");
        match home::read_file(&path)? {
            Some(config) => self.source_in(&config, &path),
            None => Ok(None),
        }
    }

    /// Rows of volumes against their objects.
    fn diagnose_volumes(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        for (id, row) in &survey.rows {
            let here = row.container.lxcpath == survey.lxcpath;
            let busy = survey.busy.ids.contains(id) || survey.busy.keys.contains(&row.container);
            if !here || busy || is_home_in_question(survey, row)? {
                continue;
            }
            let (problem, what) = match self.wait(self.store_of(&row.volume)?.probe(&row.volume))? {
                Presence::Complete(mark) if mark == *id => continue,
                Presence::Absent => (Problem::MissingVolume, "is not there"),
                Presence::Partial => (Problem::PartialVolume, "is not whole"),
                Presence::Complete(_) | Presence::Foreign => (Problem::ForeignVolume, "is not ours"),
            };
            let subject = survey.lineage.display(*id);
            let detail = format!("what should be at `{}` {what}", row.volume.source);
            let remedy = "restore it from a backup, or destroy it by its name";
            all.push(Diagnosis::new(problem, subject, detail, remedy, Cure::None));
        }
        Ok(())
    }

    /// Homes on disk that carry our mark against rows.
    fn diagnose_names(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        let known: HashSet<&ContainerKey> = survey.containers.iter().map(|row| &row.key).collect();
        for name in self.names_below(&survey.lxcpath)? {
            let key = ContainerKey { lxcpath: survey.lxcpath.clone(), name };
            if survey.busy.keys.contains(&key) {
                continue;
            }
            if known.contains(&key) {
                self.diagnose_snapshots(survey, &key, all)?;
            } else if let Some(home_id) = home::read_mark(&key.home())?
                && let Some(source) = self.source_named(&key.home())?
            {
                all.push(self.unrecorded_container(survey, key, home_id, source)?);
            }
        }
        Ok(())
    }

    fn unrecorded_container(
        &self,
        survey: &Survey,
        key: ContainerKey,
        home_id: VolumeId,
        source: VolumeSource,
    ) -> Result<Diagnosis> {
        let subject = key.name.to_string();
        let detail =
            format!("`{}` carries our mark, and the catalogue does not know it", key.home().display());
        let (remedy, cure) = match self.identity_of(survey, &source)? {
            Some(id) => {
                let placed = if home_id == id { PlacedRole::Head } else { PlacedRole::Successor };
                let row = VolumeRow {
                    volume: Volume::new(id, source),
                    container: key.clone(),
                    role: NodeRole::Head,
                    placed,
                    created: None,
                };
                let container = ContainerRow { key, home_id, created: modified(&row.container.home()) };
                ("it is written down", Cure::Container(container, Box::new(row)))
            }
            None => {
                ("its volume is not there or not ours: look at lxc.rootfs.path in its config", Cure::None)
            }
        };
        Ok(Diagnosis::new(Problem::UnrecordedContainer, subject, detail, remedy, cure))
    }

    fn diagnose_snapshots(
        &self,
        survey: &Survey,
        key: &ContainerKey,
        all: &mut Vec<Diagnosis>,
    ) -> Result<()> {
        for found in self.discover_snapshots(key)? {
            let role = NodeRole::Snapshot(found.name.clone());
            let path = key.snapshot_home(&found.name);
            let subject = format!("{}@{}", key.name, found.name);
            if let Some(row) = member(survey, key, &role) {
                all.extend(self.config_against(row, &path, subject)?);
                continue;
            }
            let (Some(_), Some(source)) = (home::read_mark(&path)?, found.source) else { continue };
            let detail = format!("`{}` carries our mark, and the catalogue does not know it", path.display());
            let (remedy, cure) = match self.identity_of(survey, &source)? {
                Some(id) => {
                    let row = VolumeRow {
                        volume: Volume::new(id, source),
                        container: key.clone(),
                        role,
                        placed: PlacedRole::Snapshot,
                        created: found.created,
                    };
                    ("it is written down", Cure::Volume(Box::new(row)))
                }
                None => ("its volume is not there or not ours: look at its config", Cure::None),
            };
            all.push(Diagnosis::new(Problem::UnrecordedSnapshot, subject, detail, remedy, cure));
        }
        Ok(())
    }

    /// The mark of the object at a place, unless the catalogue knows that identity elsewhere.
    fn identity_of(&self, survey: &Survey, source: &VolumeSource) -> Result<Option<VolumeId>> {
        match self.presence(source)? {
            Presence::Complete(id) if !survey.rows.contains_key(&id) => Ok(Some(id)),
            _ => Ok(None),
        }
    }

    /// What is at a place that a configuration names; nothing can be at one that its store does not understand.
    fn presence(&self, source: &VolumeSource) -> Result<Presence> {
        let candidate = Volume::new(VolumeId::generate(), source.clone());
        match self.wait(self.store_of(&candidate)?.probe(&candidate)) {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Ok(Presence::Absent),
            other => other,
        }
    }

    /// Dependencies that places and LXC's files tell of against edges.
    fn diagnose_edges(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        let depends: HashSet<VolumeId> = survey
            .edges
            .iter()
            .filter(|edge| matches!(edge.kind, EdgeKind::Dependency(_)))
            .map(|edge| edge.child)
            .collect();
        let owners = Owners::of(survey.rows.values().map(|row| (row.volume.id, &row.volume.source)));
        for (id, row) in survey.rows.iter().filter(|(id, row)| {
            !depends.contains(id) && row.container.lxcpath == survey.lxcpath && !survey.busy.ids.contains(id)
        }) {
            let store = self.store_of(&row.volume)?;
            let capabilities = self.capabilities(store.as_ref(), &survey.lxcpath, Some(&row.volume))?;
            if !capabilities.clones_depend() {
                continue;
            }
            let parent = match own_path(&row.volume.source) {
                Some(_) => owners.below(*id, &row.volume.source),
                None => parent_by_name(survey, row)?,
            };
            let Some(parent) = parent else { continue };
            let subject = survey.lineage.display(*id);
            let detail = format!(
                "it needs the data of `{}`, and the catalogue does not say so",
                survey.lineage.display(parent)
            );
            let cure = Cure::Edge(Edge::of_clone(*id, parent, &capabilities));
            all.push(Diagnosis::new(
                Problem::UnrecordedDependency,
                subject,
                detail,
                "it is written down",
                cure,
            ));
        }
        Ok(())
    }

    /// LXC's relation files against the graph.
    fn diagnose_relations(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        let mut wanted: BTreeMap<ContainerKey, Vec<ContainerKey>> = BTreeMap::new();
        for row in &survey.containers {
            if survey.busy.keys.contains(&row.key) || !home::exists(&row.key.home())? {
                continue;
            }
            let Some(head) = member(survey, &row.key, &NodeRole::Head) else { continue };
            let ancestors = containers_above(survey, head);
            if !ancestors.is_empty() && !self.are_linked(&row.key, &ancestors)? {
                wanted.insert(row.key.clone(), ancestors);
            }
        }
        for (child, ancestors) in wanted {
            let names: Vec<String> = ancestors.iter().map(|key| key.display(&survey.lxcpath)).collect();
            let detail = format!("LXC's files do not say that it needs {}", names.join(", "));
            let subject = child.name.to_string();
            let cure = Cure::Relations(child, ancestors);
            all.push(Diagnosis::new(
                Problem::RelationsDisagree,
                subject,
                detail,
                "they are written anew",
                cure,
            ));
        }
        Ok(())
    }

    fn are_linked(&self, child: &ContainerKey, ancestors: &[ContainerKey]) -> Result<bool> {
        let Ok(named) = relations::read_rdepends(child) else { return Ok(false) };
        if named != ancestors {
            return Ok(false);
        }
        for ancestor in ancestors {
            let knows = match relations::read_snapshots(ancestor) {
                Ok(LxcSnapshots::Pairs(keys)) => keys.contains(child),
                Ok(LxcSnapshots::Count(_)) => true,
                Err(_) => false,
            };
            if !knows && home::exists(&ancestor.home())? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn member<'a>(survey: &'a Survey, key: &ContainerKey, role: &NodeRole) -> Option<&'a VolumeRow> {
    let node = match role {
        NodeRole::Snapshot(name) => survey.lineage.snapshot(key, name),
        _ => survey.lineage.head(key),
    };
    survey.rows.get(&node?.id)
}

/// Whether the finding about a volume's home says all there is to say about the volume.
fn is_home_in_question(survey: &Survey, row: &VolumeRow) -> Result<bool> {
    if row.role == NodeRole::Ghost {
        return Ok(false);
    }
    let path = row.container.home();
    let container = survey.containers.iter().find(|container| container.key == row.container);
    Ok(match container {
        Some(container) => home::read_mark(&path)? != Some(container.home_id),
        None => false,
    })
}

/// The containers whose data a head needs, eldest first.
fn containers_above(survey: &Survey, head: &VolumeRow) -> Vec<ContainerKey> {
    let mut found: Vec<ContainerKey> = Vec::new();
    let mut next = survey.lineage.parent(head.volume.id);
    while let Some((node, _)) = next {
        if node.container != head.container && !found.contains(&node.container) {
            found.push(node.container.clone());
        }
        next = survey.lineage.parent(node.id);
    }
    found.reverse();
    found
}

/// The parent of a volume whose store tells no places: by LXC's file, or the head that a snapshot lies beside.
fn parent_by_name(survey: &Survey, row: &VolumeRow) -> Result<Option<VolumeId>> {
    let head = |key: &ContainerKey| survey.lineage.head(key).map(|node| node.id);
    match &row.role {
        NodeRole::Head => {
            let ancestors = relations::read_rdepends(&row.container).unwrap_or_default();
            Ok(ancestors.last().and_then(head))
        }
        NodeRole::Snapshot(_) => Ok(head(&row.container)),
        NodeRole::Layer | NodeRole::Ghost => Ok(None),
    }
}

fn unfinished(survey: &Survey, all: &mut Vec<Diagnosis>) {
    for stored in &survey.unfinished {
        let detail = format!("{} left it unfinished, and it could not be resolved so far", stored.owner);
        let remedy = "`keiki check --repair` tries again and says why it cannot";
        let cure = Cure::Resolve(stored.id);
        let subject = stored.operation.clone();
        all.push(Diagnosis::new(Problem::UnfinishedOperation, subject, detail, remedy, cure));
    }
}

/// Marks that no row names: layers where something stands upon them, else nobody's.
fn diagnose_marks(survey: &Survey, all: &mut Vec<Diagnosis>) {
    let rows = survey.rows.values().map(|row| &row.volume.source);
    let lowers: HashSet<&Path> = rows
        .chain(survey.found.iter().map(|found| &found.source))
        .flat_map(|source| {
            let own = own_path(source);
            source.paths().filter(move |path| Some(*path) != own)
        })
        .collect();
    let mut seen = HashSet::new();
    for Found { id, source } in &survey.found {
        if survey.rows.contains_key(id) || survey.busy.ids.contains(id) || !seen.insert(*id) {
            continue;
        }
        let owner = own_path(source).and_then(|path| owner_of(survey, path));
        if owner.as_ref().is_some_and(|key| is_unrecorded(survey, key) || survey.busy.keys.contains(key)) {
            // The finding about its container comes first; with that repaired, this one is looked at again.
            continue;
        }
        let detail = format!("`{source}` carries our mark `{id}`, and the catalogue does not know it");
        let (remedy, cure) = match owner {
            Some(container) if own_path(source).is_some_and(|path| lowers.contains(path)) => {
                let row = VolumeRow {
                    volume: Volume::new(*id, source.clone()),
                    container,
                    role: NodeRole::Layer,
                    placed: PlacedRole::Successor,
                    created: None,
                };
                ("others stand upon it: it is written down as a layer", Cure::Volume(Box::new(row)))
            }
            Some(container) if is_snapshot_home(survey, &container, source) => continue,
            _ => ("when no other installation of keiki uses it, remove it by hand", Cure::None),
        };
        all.push(Diagnosis::new(Problem::UnrecordedVolume, source.to_string(), detail, remedy, cure));
    }
}

/// The container in whose home a path is.
fn owner_of(survey: &Survey, path: &Path) -> Option<ContainerKey> {
    let name = path.strip_prefix(&survey.lxcpath).ok()?.iter().next()?.to_str()?;
    let name = crate::name::ContainerName::existing(name).ok()?;
    Some(ContainerKey { lxcpath: survey.lxcpath.clone(), name })
}

fn is_unrecorded(survey: &Survey, key: &ContainerKey) -> bool {
    !survey.containers.iter().any(|row| row.key == *key)
}

/// Whether it lies in a snapshot's directory that is a finding of its own.
fn is_snapshot_home(survey: &Survey, key: &ContainerKey, source: &VolumeSource) -> bool {
    let Some(path) = own_path(source) else { return false };
    let Ok(rest) = path.strip_prefix(key.home().join("snaps")) else { return false };
    let name = rest.iter().next().and_then(|name| name.to_str());
    let name = name.and_then(|name| SnapshotName::existing(name).ok());
    name.is_some_and(|name| survey.lineage.snapshot(key, &name).is_none())
}

fn strays(survey: &Survey, all: &mut Vec<Diagnosis>) {
    for path in survey.aside.iter().filter(|path| !survey.busy.paths.contains(*path)) {
        let subject = path.display().to_string();
        let detail =
            "it was made on the way to a container, or out of it, and belongs to no operation".to_owned();
        let cure = Cure::Stray(path.clone());
        all.push(Diagnosis::new(Problem::StrayDirectory, subject, detail, "it is removed", cure));
    }
}

fn unneeded(survey: &Survey, all: &mut Vec<Diagnosis>) {
    for node in survey.lineage.garbage() {
        let here = node.container.lxcpath == survey.lxcpath;
        if here && !survey.busy.ids.contains(&node.id) {
            let detail = format!("a {} that nobody needs any more", node.role.word());
            let cure = Cure::Reclaim(node.container.clone());
            let subject = node.display(&survey.lxcpath);
            all.push(Diagnosis::new(Problem::UnneededVolume, subject, detail, "it is reclaimed", cure));
        }
    }
}

fn modified(path: &Path) -> Option<u64> {
    let at = std::fs::metadata(path).ok()?.modified().ok()?;
    at.duration_since(std::time::UNIX_EPOCH).ok().map(|elapsed| elapsed.as_secs())
}
