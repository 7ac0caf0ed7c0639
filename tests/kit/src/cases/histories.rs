//! Random histories against a model: after every operation, every container and snapshot holds what the model says.
//!
//! The model knows names and content. Content is taken from the store only where it is new (a creation, a write); everywhere
//! else the model says what must be seen: a clone shows its source, a snapshot its container, a restore the snapshot, and
//! nobody else changes. A refusal must be one that the names or the told dependents explain, and changes nothing. A
//! failing history is told by its seed.

use std::collections::BTreeMap;

use keiki_core::context::Context;
use keiki_core::{Error, ErrorKind};

use crate::bench::Bench;
use crate::case::Case;
use crate::random::Random;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Op, Seen, View, Yard};
use crate::{cases, claim};

pub(super) fn cases() -> Vec<Case> {
    cases![Histories: a_first_history_agrees_with_the_model, a_second_history_agrees_with_the_model, a_history_across_reopened_engines_agrees]
}

/// Few names, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn length() -> usize {
    super::Scale::of_run().pick(16, 40, 400)
}

fn a_first_history_agrees_with_the_model(bench: &Bench<'_>) -> Verdict {
    history(bench, 11, usize::MAX)
}

fn a_second_history_agrees_with_the_model(bench: &Bench<'_>) -> Verdict {
    history(bench, 2025, usize::MAX)
}

/// Every tenth operation is done by an engine that was opened for it.
fn a_history_across_reopened_engines_agrees(bench: &Bench<'_>) -> Verdict {
    history(bench, 777, 10)
}

fn history(bench: &Bench<'_>, seed: u64, reopen_every: usize) -> Verdict {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut yard = Yard::open(bench)?;
    let mut done = 0;
    for number in 0..length() {
        if number % reopen_every == reopen_every - 1 {
            drop(yard);
            yard = Yard::open(bench)?;
        }
        let op = random.op(&NAMES, 3);
        let told = |e: Failure| e.during(&format!("seed {seed}, operation {number}, {op:?}"));
        let before = yard.view().map_err(told)?;
        let result = yard.apply(&Context::default(), &op);
        let after = yard.view().map_err(told)?;
        match result {
            Ok(()) => {
                done += 1;
                model.follow(&op, &before, &after).map_err(told)?;
            }
            Err(error) => explained(&op, &error, &before, &after).map_err(told)?,
        }
        model.agrees(&after).map_err(told)?;
    }
    claim!(done > length() / 8, "only {done} operations were carried out");
    Ok(Proof::Works)
}

/// Fails unless a refusal changed nothing and has a reason that can be seen.
fn explained(op: &Op, error: &Error, before: &View, after: &View) -> Verdict<()> {
    claim!(before == after, "refused by {error:?}, but changed {}", before.differences(after));
    let has = |name: &String| before.containers.contains_key(name);
    let seen = match (error.kind(), op) {
        (ErrorKind::Unsupported | ErrorKind::LimitExceeded, _) => true,
        (ErrorKind::NotFound, Op::Clone { source, snapshot, .. }) => {
            !has_snapshot(before, source, snapshot.as_ref())
        }
        (
            ErrorKind::NotFound,
            Op::Restore { name, snapshot, .. } | Op::DestroySnapshot { name, snapshot },
        ) => !has_snapshot(before, name, Some(snapshot)),
        (
            ErrorKind::NotFound,
            Op::Write { name, .. }
            | Op::Snapshot { name }
            | Op::Destroy { name, .. }
            | Op::Rename { name, .. }
            | Op::Flatten { name },
        ) => !has(name),
        (ErrorKind::AlreadyExists, Op::Create { name }) => has(name),
        (ErrorKind::AlreadyExists, Op::Clone { targets, .. }) => targets.iter().any(has),
        (ErrorKind::AlreadyExists, Op::Restore { to: Some(name), .. } | Op::Rename { to: name, .. }) => {
            has(name)
        }
        (ErrorKind::HasDependents, Op::Destroy { name, .. }) => {
            has_dependents(before, name)
                || before.containers.get(name).is_some_and(|c| !c.snapshots.is_empty())
        }
        (
            ErrorKind::HasDependents,
            Op::Write { name, .. }
            | Op::Rename { name, .. }
            | Op::Flatten { name }
            | Op::Restore { name, .. }
            | Op::DestroySnapshot { name, .. },
        ) => has_dependents(before, name),
        _ => false,
    };
    claim!(seen, "nothing that can be seen explains {error:?}");
    Ok(())
}

fn has_snapshot(view: &View, name: &str, snapshot: Option<&String>) -> bool {
    let Some(container) = view.containers.get(name) else { return false };
    snapshot.is_none_or(|snapshot| container.snapshots.contains_key(snapshot))
}

fn has_dependents(view: &View, name: &str) -> bool {
    let Some(container) = view.containers.get(name) else { return false };
    !container.dependents.is_empty() || container.snapshots.values().any(|s| !s.dependents.is_empty())
}

/// What every name must hold.
#[derive(Debug, Default)]
struct Model {
    containers: BTreeMap<String, Contents>,
}

#[derive(Debug, Clone)]
struct Contents {
    head: Seen,
    snapshots: BTreeMap<String, Seen>,
}

impl Model {
    fn follow(&mut self, op: &Op, before: &View, after: &View) -> Verdict<()> {
        match op {
            Op::Create { name } => {
                self.put(name, seen(after, name)?);
            }
            Op::Write { name, .. } => {
                let now = seen(after, name)?;
                self.of(name)?.head = now;
            }
            Op::Clone { source, snapshot, targets, .. } => {
                let content = self.content(source, snapshot.as_deref())?;
                targets.iter().for_each(|target| self.put(target, content.clone()));
            }
            Op::Snapshot { name } => {
                let content = self.of(name)?;
                let new = (0..).map(|n| format!("snap{n}")).find(|n| !content.snapshots.contains_key(n));
                let head = content.head.clone();
                content.snapshots.extend(new.map(|new| (new, head)));
            }
            Op::Restore { name, snapshot, to } => {
                let content = self.content(name, Some(snapshot))?;
                match to {
                    Some(to) => self.put(to, content),
                    None => self.of(name)?.head = content,
                }
            }
            Op::DestroySnapshot { name, snapshot } => {
                self.of(name)?.snapshots.remove(snapshot);
            }
            Op::Destroy { .. } => self.keep_only(op, before, after)?,
            Op::Rename { name, to } => {
                let content = self.containers.remove(name).ok_or_else(|| Failure::new("renamed nobody"))?;
                self.containers.insert(to.clone(), content);
            }
            Op::Flatten { .. }
            | Op::Comment { .. }
            | Op::Plant { .. }
            | Op::Promote { .. }
            | Op::Resize { .. }
            | Op::Quota { .. }
            | Op::Receive { .. } => {}
        }
        Ok(())
    }

    /// Who goes with a destroyed container is told by the dependents that were seen before.
    fn keep_only(&mut self, op: &Op, before: &View, after: &View) -> Verdict<()> {
        let Op::Destroy { name, .. } = op else { return Ok(()) };
        let mut doomed = vec![name.clone()];
        let mut next = 0;
        while let Some(container) = doomed.get(next).and_then(|name| before.containers.get(name)) {
            let all = container.snapshots.values().flat_map(|s| &s.dependents).chain(&container.dependents);
            let more: Vec<_> = all.filter_map(|d| d.split('@').next()).map(str::to_owned).collect();
            doomed.extend(more.into_iter().filter(|d| !doomed.contains(d)).collect::<Vec<_>>());
            next += 1;
        }
        claim!(!after.containers.contains_key(name), "`{name}` was destroyed, but is there");
        self.containers.retain(|known, _| after.containers.contains_key(known) || !doomed.contains(known));
        Ok(())
    }

    fn put(&mut self, name: &str, head: Seen) {
        self.containers.insert(name.to_owned(), Contents { head, snapshots: BTreeMap::new() });
    }

    fn of(&mut self, name: &str) -> Verdict<&mut Contents> {
        self.containers
            .get_mut(name)
            .ok_or_else(|| Failure::new(format!("done to `{name}`, which is not there")))
    }

    fn content(&mut self, name: &str, snapshot: Option<&str>) -> Verdict<Seen> {
        let of = self.of(name)?;
        let Some(snapshot) = snapshot else { return Ok(of.head.clone()) };
        of.snapshots
            .get(snapshot)
            .cloned()
            .ok_or_else(|| Failure::new(format!("`{name}@{snapshot}` is not there")))
    }

    fn agrees(&self, view: &View) -> Verdict<()> {
        let (expected, found): (Vec<_>, Vec<_>) =
            (self.containers.keys().collect(), view.containers.keys().collect());
        claim!(expected == found, "the containers are {found:?}, not {expected:?}");
        for (name, contents) in &self.containers {
            let Some(container) = view.containers.get(name) else { continue };
            let differences = contents.head.0.differences(&container.content.0);
            claim!(differences.is_empty(), "`{name}` shows {differences}");
            let (expected, found): (Vec<_>, Vec<_>) =
                (contents.snapshots.keys().collect(), container.snapshots.keys().collect());
            claim!(expected == found, "the snapshots of `{name}` are {found:?}, not {expected:?}");
            for (snapshot, content) in &contents.snapshots {
                let Some(seen) = container.snapshots.get(snapshot) else { continue };
                let differences = content.0.differences(&seen.content.0);
                claim!(differences.is_empty(), "`{name}@{snapshot}` shows {differences}");
            }
        }
        Ok(())
    }
}

fn seen(view: &View, name: &str) -> Verdict<Seen> {
    let container =
        view.containers.get(name).ok_or_else(|| Failure::new(format!("`{name}` is not there")))?;
    Ok(container.content.clone())
}
