//! Compares what was seen, thing by thing. Reads homes and asks stores; changes nothing.

use std::collections::HashSet;
use std::path::Path;

use super::cure::Cure;
use super::kinship::diagnose_marks;
use super::survey::Survey;
use super::{Finding, FindingState, Problem};
use crate::engine::catalogue::{ContainerRow, PlacedRole, VolumeRow};
use crate::engine::request::ContainerKey;
use crate::engine::{Engine, home};
use crate::error::{ErrorKind, Result};
use crate::lineage::NodeRole;
use crate::store::Presence;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// One finding with what would cure it.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub(super) finding: Finding,
    pub(super) cure: Cure,
}

impl Diagnosis {
    pub(super) fn new(problem: Problem, subject: String, detail: String, remedy: &str, cure: Cure) -> Self {
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
                    volume: self.found_at(id, source)?,
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
                        volume: self.found_at(id, source)?,
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
}

pub(super) fn member<'a>(survey: &'a Survey, key: &ContainerKey, role: &NodeRole) -> Option<&'a VolumeRow> {
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

fn unfinished(survey: &Survey, all: &mut Vec<Diagnosis>) {
    for stored in &survey.unfinished {
        let detail = format!("{} left it unfinished, and it could not be resolved so far", stored.owner);
        let remedy = "`keiki check --repair` tries again and says why it cannot";
        let cure = Cure::Resolve(stored.id);
        let subject = stored.operation.clone();
        all.push(Diagnosis::new(Problem::UnfinishedOperation, subject, detail, remedy, cure));
    }
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
