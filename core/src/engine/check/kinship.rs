//! Compares marks that no row names, edges, and LXC's relation files with what places tell.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::cure::Cure;
use super::diagnosis::{Diagnosis, member};
use super::survey::Survey;
use super::{FindingState, Problem};
use crate::capability::Residence;
use crate::engine::catalogue::{PlacedRole, VolumeRow};
use crate::engine::kin::{Owners, own_path};
use crate::engine::request::ContainerKey;
use crate::engine::{Engine, home, relations};
use crate::error::Result;
use crate::lineage::lxc_files::LxcSnapshots;
use crate::lineage::{Dependency, Edge, EdgeKind, NodeRole};
use crate::name::{ContainerName, SnapshotName};
use crate::store::Found;
use crate::volume::{Volume, VolumeId, VolumeSource};

impl Engine {
    /// Dependencies that places and LXC's files tell of against edges.
    pub(super) fn diagnose_edges(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
        let depends: HashSet<VolumeId> = survey
            .edges
            .iter()
            .filter(|edge| matches!(edge.kind, EdgeKind::Dependency(_)))
            .map(|edge| edge.child)
            .collect();
        let owners = Owners::of(survey.rows.values());
        for (id, row) in survey.rows.iter().filter(|(id, row)| {
            !depends.contains(id) && row.container.lxcpath == survey.lxcpath && !survey.busy.ids.contains(id)
        }) {
            let store = self.store_of(&row.volume)?;
            let capabilities = self.capabilities(store.as_ref(), &survey.lxcpath, Some(&row.volume))?;
            let Some(terms) = Dependency::of(&capabilities) else { continue };
            let edge = match capabilities.residence {
                Residence::Home => owners.dependency(&row.volume, terms),
                Residence::Named => {
                    parent_by_name(survey, row).map(|parent| Edge::of_clone(*id, parent, &capabilities))
                }
            };
            let Some(edge) = edge else { continue };
            let parent = edge.parent;
            let subject = survey.lineage.display(*id);
            let detail = format!(
                "it needs the data of `{}`, and the catalogue does not say so",
                survey.lineage.display(parent)
            );
            let cure = Cure::Edge(edge);
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
    pub(super) fn diagnose_relations(&self, survey: &Survey, all: &mut Vec<Diagnosis>) -> Result<()> {
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

/// Marks that no row names: layers where something stands upon them, else nobody's.
pub(super) fn diagnose_marks(survey: &Survey, all: &mut Vec<Diagnosis>) {
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
        let problem = Problem::UnrecordedVolume;
        let mut diagnosis = Diagnosis::new(problem, source.to_string(), detail, remedy, cure);
        // An lxcpath belongs to one catalogue; a volume group or zpool may be shared.
        if own_path(source).is_none_or(|path| !path.starts_with(&survey.lxcpath)) {
            diagnosis.finding.state = FindingState::Noted;
        }
        all.push(diagnosis);
    }
}

/// The container in whose home a path is.
fn owner_of(survey: &Survey, path: &Path) -> Option<ContainerKey> {
    let name = path.strip_prefix(&survey.lxcpath).ok()?.iter().next()?.to_str()?;
    let name = ContainerName::existing(name).ok()?;
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

/// The containers whose data a head needs, eldest first. A ghost goes by the name of a container that is gone.
fn containers_above(survey: &Survey, head: &VolumeRow) -> Vec<ContainerKey> {
    let mut found: Vec<ContainerKey> = Vec::new();
    let mut next = survey.lineage.parent(head.volume.id);
    while let Some((node, _)) = next {
        let is_named = node.role != NodeRole::Ghost && node.container != head.container;
        if is_named && !found.contains(&node.container) {
            found.push(node.container.clone());
        }
        next = survey.lineage.parent(node.id);
    }
    found.reverse();
    found
}

/// The parent of a volume whose store tells no places: by LXC's file, or the head that a snapshot lies beside.
fn parent_by_name(survey: &Survey, row: &VolumeRow) -> Option<VolumeId> {
    let head = |key: &ContainerKey| survey.lineage.head(key).map(|node| node.id);
    match &row.role {
        NodeRole::Head => {
            let ancestors = relations::read_rdepends(&row.container).unwrap_or_default();
            ancestors.last().and_then(head)
        }
        NodeRole::Snapshot(_) => head(&row.container),
        NodeRole::Layer | NodeRole::Ghost => None,
    }
}
