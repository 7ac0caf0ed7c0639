//! What a destroy would do, whole, before anything is done.
//!
//! A plan is either *permitted*: steps in order, children before parents; or *refused*: blockers, and no steps at all.
//! What is destroyed was asked for, by name or by scope, with one exception: a layer or ghost that nobody needs any
//! more goes with the last volume that needed it, and so on upwards. A user's snapshot is never such a side effect.

use std::collections::HashSet;

use serde::Serialize;

use super::{Lineage, NodeId, NodeRole, Refusal};
use crate::capability::ParentDelete;
use crate::engine::{ContainerKey, DestroyScope};
use crate::error::{Error, ErrorKind, Result};
use crate::name::SnapshotName;

/// What a user asks to have destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A container; the scope says how far it reaches.
    Container(ContainerKey),
    /// One snapshot of a container; with [`DestroyScope::WithDependents`], everything that depends on it too.
    Snapshot(ContainerKey, SnapshotName),
}

/// What happens to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its data goes.
    Destroy,
    /// Its name goes; the data stays as a ghost until the last volume that needs it goes.
    Defer,
}

/// Why a volume is in a plan, or in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The user named it.
    Named,
    /// It is a snapshot of a container that goes.
    Snapshot,
    /// It depends on what goes.
    Dependent,
    /// It has no name, and nobody will need it any more.
    Unneeded,
}

/// One volume's part in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestroyStep {
    /// Which volume.
    pub volume: NodeId,
    /// Its container.
    pub container: ContainerKey,
    /// What it is.
    pub role: NodeRole,
    /// How the user names it; layers and ghosts go by their container's name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub cause: Cause,
}

impl DestroyStep {
    /// Returns the step as a line for a person: ``destroy snapshot `web@before` ``.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { role, name, action, cause, .. } = self;
        let word = role.word();
        match (role, action) {
            (NodeRole::Head | NodeRole::Snapshot(_), Action::Defer) => {
                format!("destroy {word} `{name}`, keeping its data while others need it")
            }
            (NodeRole::Head | NodeRole::Snapshot(_), Action::Destroy) => match cause {
                Cause::Dependent => format!("destroy {word} `{name}`, which depends on it"),
                Cause::Named | Cause::Snapshot | Cause::Unneeded => format!("destroy {word} `{name}`"),
            },
            (NodeRole::Layer | NodeRole::Ghost, Action::Defer) => {
                format!("keep a {word} of `{name}` while others need its data")
            }
            (NodeRole::Layer | NodeRole::Ghost, Action::Destroy) => {
                format!("reclaim a {word} of `{name}` that nobody needs any more")
            }
        }
    }
}

/// A volume that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// Which volume.
    pub volume: NodeId,
    /// Its container.
    pub container: ContainerKey,
    /// What it is: a head or a snapshot.
    pub role: NodeRole,
    /// How the user names it.
    pub name: String,
    /// Why it is in the way: [`Cause::Snapshot`] or [`Cause::Dependent`].
    pub cause: Cause,
}

impl Blocker {
    pub(super) fn new(lineage: &Lineage, position: usize, cause: Cause) -> Self {
        let node = &lineage.nodes[position];
        let name = node.display(&lineage.lxcpath);
        Self { volume: node.id, container: node.container.clone(), role: node.role.clone(), name, cause }
    }
}

/// Everything that a destroy would do, or everything that is in its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestroyPlan {
    /// What was asked for, as the user names it.
    pub subjects: Vec<String>,
    /// In order, children before parents; empty when there are blockers.
    pub steps: Vec<DestroyStep>,
    /// Who is in the way; empty when the plan may be carried out.
    pub blockers: Vec<Blocker>,
    /// Commands that would help against the blockers.
    pub remedies: Vec<String>,
}

impl DestroyPlan {
    /// Returns the plan, or the refusal that names every blocker.
    ///
    /// # Errors
    /// [`ErrorKind::HasDependents`].
    pub fn permitted(self) -> Result<Self> {
        if self.blockers.is_empty() {
            return Ok(self);
        }
        let subject = self.subjects.join("`, `");
        Err(Refusal { verb: "destroy", subject, blockers: self.blockers, remedies: self.remedies }.into())
    }

    /// Returns the containers that go, in the order of their heads.
    #[must_use]
    pub fn containers(&self) -> Vec<&ContainerKey> {
        self.steps.iter().filter(|step| step.role == NodeRole::Head).map(|step| &step.container).collect()
    }

    /// Returns the steps that only free a name.
    pub fn deferred(&self) -> impl Iterator<Item = &DestroyStep> {
        self.steps.iter().filter(|step| step.action == Action::Defer)
    }

    /// Returns the steps that reclaim layers and ghosts which nobody needs any more.
    pub fn reclaimed(&self) -> impl Iterator<Item = &DestroyStep> {
        self.steps.iter().filter(|step| step.cause == Cause::Unneeded && step.action == Action::Destroy)
    }
}

impl Lineage {
    /// Plans the destruction of `targets`.
    ///
    /// # Behavior
    /// A container that goes takes its snapshots (when the scope says so) and its layers, which lie in its home. A
    /// volume that others need is deferred where their stores allow it, else they are blockers. Blockers include
    /// what a wider scope would run into next, so that nobody has to find out by trying.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a target that is not in the graph. Being in somebody's way is not an error here:
    /// see [`DestroyPlan::permitted`].
    pub fn plan_destroy(&self, targets: &[Target], scope: DestroyScope) -> Result<DestroyPlan> {
        let mut planner = Planner::new(self);
        for target in targets {
            planner.select_target(target)?;
        }
        if scope == DestroyScope::WithDependents {
            planner.select_dependents();
        }
        planner.decide();
        let blockers = planner.blockers(scope);
        let steps = if blockers.is_empty() { planner.steps() } else { Vec::new() };
        let subjects: Vec<String> = targets.iter().map(|target| self.display_target(target)).collect();
        let remedies = self.destroy_remedies(targets, &blockers, scope);
        Ok(DestroyPlan { subjects, steps, blockers, remedies })
    }

    fn display_target(&self, target: &Target) -> String {
        let node = match target {
            Target::Container(key) => self.head(key),
            Target::Snapshot(key, name) => self.snapshot(key, name),
        };
        node.map(|node| node.display(&self.lxcpath)).unwrap_or_default()
    }

    fn destroy_remedies(&self, targets: &[Target], blockers: &[Blocker], scope: DestroyScope) -> Vec<String> {
        let mut remedies = self.flatten_remedies(blockers);
        if blockers.is_empty() || scope == DestroyScope::WithDependents {
            return remedies;
        }
        let (option, what) = match blockers.iter().all(|blocker| blocker.cause == Cause::Snapshot) {
            true => ("--with-snapshots", "its snapshots too"),
            false => ("--with-dependents", "all of them"),
        };
        remedies.extend(targets.iter().filter_map(|target| match target {
            Target::Container(key) => {
                let command = self.command(key, &format!("destroy {option} {}", key.name));
                Some(format!("`{command}` destroys {what}"))
            }
            Target::Snapshot(..) => None,
        }));
        remedies
    }
}

/// What becomes of a volume, as far as it has been decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Ghosted,
    Blocked,
}

struct Planner<'a> {
    lineage: &'a Lineage,
    /// Why a volume was selected, by position.
    cause: Vec<Option<Cause>>,
    /// Selected, in the order of selection.
    selected: Vec<usize>,
    containers: HashSet<&'a ContainerKey>,
    fate: Vec<Fate>,
    in_the_way: Vec<usize>,
}

impl<'a> Planner<'a> {
    fn new(lineage: &'a Lineage) -> Self {
        let count = lineage.nodes.len();
        Self {
            lineage,
            cause: vec![None; count],
            selected: Vec::new(),
            containers: HashSet::new(),
            fate: vec![Fate::Stays; count],
            in_the_way: Vec::new(),
        }
    }

    fn select_target(&mut self, target: &Target) -> Result<()> {
        let (what, position) = match target {
            Target::Container(key) => {
                let head =
                    self.lineage.members.get_key_value(key).filter(|(_, members)| members.head.is_some());
                if let Some((key, _)) = head {
                    self.select_container(key, Cause::Named);
                    return Ok(());
                }
                (format!("container `{}`", key.name), None)
            }
            Target::Snapshot(key, name) => {
                let node = self.lineage.snapshot(key, name);
                let position = node.and_then(|node| self.lineage.index.get(&node.id).copied());
                (format!("snapshot `{}@{name}`", key.name), position)
            }
        };
        let position =
            position.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {what}")))?;
        self.select(position, Cause::Named);
        Ok(())
    }

    /// Selects everything that lies in the container's home. Whether its snapshots were meant is asked later: they are
    /// selected even when not, so that what stands behind them is found.
    fn select_container(&mut self, key: &'a ContainerKey, cause: Cause) {
        let Some(members) = self.lineage.members.get(key) else { return };
        if !self.containers.insert(key) {
            return;
        }
        members.head.iter().for_each(|head| self.select(*head, cause));
        members.snapshots.iter().for_each(|snapshot| self.select(*snapshot, Cause::Snapshot));
        members.layers.iter().for_each(|layer| self.select(*layer, Cause::Unneeded));
    }

    fn select(&mut self, position: usize, cause: Cause) {
        match self.cause[position] {
            None => {
                self.cause[position] = Some(cause);
                self.selected.push(position);
            }
            // The user's own word weighs more than a consequence of another.
            Some(_) if cause == Cause::Named => self.cause[position] = Some(cause),
            Some(_) => {}
        }
    }

    fn select_dependents(&mut self) {
        let lineage = self.lineage;
        let mut next = 0;
        while let Some(position) = self.selected.get(next).copied() {
            next += 1;
            for (child, _) in lineage.holders(position) {
                let node = &lineage.nodes[child];
                match node.role {
                    NodeRole::Head => self.select_container(&node.container, Cause::Dependent),
                    NodeRole::Snapshot(_) => self.select(child, Cause::Dependent),
                    NodeRole::Layer | NodeRole::Ghost => self.select(child, Cause::Unneeded),
                }
            }
        }
    }

    /// Decides every volume's fate: once upwards, once downwards.
    ///
    /// Upwards, an unnamed volume goes when everybody who needs it goes. Downwards, the garbage that has nothing to do
    /// with what was selected is put back: it is the business of whoever collects it.
    fn decide(&mut self) {
        let lineage = self.lineage;
        let mut touched = vec![false; self.cause.len()];
        for position in lineage.upwards.iter().copied() {
            let is_selected = self.cause[position].is_some();
            self.fate[position] = match is_selected {
                true => self.fate_of_selected(position),
                false => self.fate_of_other(position),
            };
            let mut going = lineage.holders(position).filter(|(child, _)| self.fate[*child] == Fate::Goes);
            touched[position] = is_selected || going.any(|(child, _)| touched[child]);
        }
        for position in lineage.upwards.iter().rev().copied() {
            let parent = lineage.parent[position].filter(|(_, terms)| terms.holds());
            touched[position] |= parent.is_some_and(|(parent, _)| {
                touched[parent] && (self.cause[parent].is_some() || self.fate[parent] == Fate::Goes)
            });
            if !touched[position] {
                self.fate[position] = Fate::Stays;
            }
        }
    }

    fn fate_of_other(&self, position: usize) -> Fate {
        let mut holders = self.lineage.holders(position);
        let is_needed = self.lineage.nodes[position].role.is_named()
            || holders.any(|(child, _)| self.fate[child] != Fate::Goes);
        if is_needed { Fate::Stays } else { Fate::Goes }
    }

    fn fate_of_selected(&mut self, position: usize) -> Fate {
        let mut fate = Fate::Goes;
        for (child, terms) in self.lineage.holders(position) {
            let stays = self.fate[child] != Fate::Goes;
            match terms.delete {
                ParentDelete::Refused if stays => {
                    fate = Fate::Blocked;
                    self.in_the_way.push(child);
                }
                ParentDelete::Deferred if stays && fate == Fate::Goes => fate = Fate::Ghosted,
                _ => {}
            }
        }
        fate
    }

    fn blockers(&self, scope: DestroyScope) -> Vec<Blocker> {
        let dependents = self.holding_back().into_iter();
        let dependents = dependents.map(|position| Blocker::new(self.lineage, position, Cause::Dependent));
        let is_unasked =
            |position: &usize| scope == DestroyScope::Only && self.cause[*position] == Some(Cause::Snapshot);
        let mut snapshots: Vec<usize> = self.selected.iter().copied().filter(is_unasked).collect();
        snapshots.sort_unstable();
        let snapshots =
            snapshots.into_iter().map(|position| Blocker::new(self.lineage, position, Cause::Snapshot));
        snapshots.chain(dependents).collect()
    }

    /// The named volumes that nobody selected and that hold what is in the way: behind a layer, a ghost, or a selected
    /// volume that would have to stay as a ghost, stand those who need it.
    fn holding_back(&self) -> Vec<usize> {
        let mut named = Vec::new();
        let mut seen = vec![false; self.cause.len()];
        let mut pending = self.in_the_way.clone();
        while let Some(position) = pending.pop() {
            if std::mem::replace(&mut seen[position], true) {
                continue;
            }
            if self.cause[position].is_none() && self.lineage.nodes[position].role.is_named() {
                named.push(position);
                continue;
            }
            let holders = self.lineage.holders(position).map(|(child, _)| child);
            pending.extend(holders.filter(|child| self.fate[*child] != Fate::Goes));
        }
        named.sort_unstable();
        named
    }

    fn steps(&self) -> Vec<DestroyStep> {
        self.lineage.upwards.iter().filter_map(|position| self.step(*position)).collect()
    }

    fn step(&self, position: usize) -> Option<DestroyStep> {
        let action = match self.fate[position] {
            Fate::Goes => Action::Destroy,
            Fate::Ghosted => Action::Defer,
            Fate::Stays | Fate::Blocked => return None,
        };
        let node = &self.lineage.nodes[position];
        Some(DestroyStep {
            volume: node.id,
            container: node.container.clone(),
            role: node.role.clone(),
            name: node.display(&self.lineage.lxcpath),
            action,
            cause: self.cause[position].unwrap_or(Cause::Unneeded),
        })
    }
}
