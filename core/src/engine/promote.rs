//! `keiki promote`: a container that needs others gets the data, and they need it from then on.
//!
//! ```text
//! promote.effect                     ← the store's own, atomic
//! [promote.files]   [promote.relations]   promote.record   promote.reclaim (once a ghost that nobody needs any more)
//! ```
//!
//! Nobody but the store knows what an effect like this moves, so the truth is asked for afterwards: where every volume of the
//! family is, and who needs whom. Recovery asks the same question and writes down what it hears, be the effect done or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::ancestry::Ancestry;
use super::catalogue::journal as rows;
use super::catalogue::{Neighbourhood, VolumeRow};
use super::intent::{Intent, Promotion};
use super::journal::{Begun, unfinished};
use super::moves::configuration;
use super::request::ContainerKey;
use super::{Engine, home, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Dependency, Edge, EdgeKind, Lineage, NodeRole};
use crate::store::Promoted;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// What the catalogue has to learn.
#[derive(Debug, Default)]
struct Lesson {
    sources: Vec<(VolumeId, VolumeSource)>,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Dependencies that are no more, and those that are new.
    lost: Vec<VolumeId>,
    gained: Vec<Edge>,
    /// Children whose origin would now stand below them.
    forgotten: Vec<VolumeId>,
    /// Layers and ghosts that nobody needs then, children before parents.
    unneeded: Vec<Volume>,
    before: Vec<(ContainerKey, Vec<ContainerKey>)>,
    after: Vec<(ContainerKey, Vec<ContainerKey>)>,
}

impl Lesson {
    fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.lost.is_empty() && self.gained.is_empty()
    }
}

impl Engine {
    /// Turns the dependency of a container round, and returns who needs it directly now. One that needs nobody stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the store cannot; [`ErrorKind::NotFound`]; [`ErrorKind::NoSpace`]. Nothing was changed then.
    pub fn promote(&self, context: &Context, key: &ContainerKey) -> Result<Vec<String>> {
        let shown = || format!("cannot promote `{}`", key.name);
        self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
        let relatives = || Ok(relatives(&self.whole_family(key)?, key));
        let held = self.take_with_relatives(context, key, "promote", relatives);
        let _held = held.map_err(|error| error.while_doing(shown()))?;
        self.promote_locked(context, key).map_err(|error| error.while_doing(shown()))?;
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let head = ancestry.find(key, None)?;
        let needs = ancestry.lineage.named_dependents(head.volume.id);
        Ok(needs.iter().map(|node| node.display(&key.lxcpath)).collect())
    }

    fn promote_locked(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        relations::refuse_counted(key, "promote")?;
        let ancestry = self.whole_family(key)?;
        let head = ancestry.find(key, None)?;
        if ancestry.lineage.parent(head.volume.id).is_none() {
            return Ok(());
        }
        let store = self.store_of(&head.volume)?.clone();
        let group = store.promotion().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("the {} store cannot promote", store.kind()))
                .with_hint(format!("`keiki flatten {}` makes it independent by a copy", key.name))
        })?;
        let promotion = Promotion { key: key.clone(), head: head.volume.id };
        let begun = self.begin("promote", Intent::Promote(promotion), &[])?;
        let family = family_of(&ancestry, &head);
        let done = context
            .step("promote.effect")
            .and_then(|()| self.wait(group.promote(context, &head.volume, &family)))
            .and_then(|stand| self.sync_volumes(context, std::slice::from_ref(&head.volume)).map(|()| stand));
        match done {
            Ok(stand) => {
                let lesson = self.lesson(&ancestry, &head, &stand)?;
                self.learn(&context.without_deadline(), begun, &lesson).map_err(unfinished)
            }
            // A call may fail and have had its effect: what counts is what is there.
            Err(error) => {
                let quiet = Context::default();
                let stand = self.wait(group.standing(&quiet, &family));
                let lesson = stand.and_then(|stand| self.lesson(&ancestry, &head, &stand));
                match lesson {
                    Ok(lesson) if lesson.is_empty() => Err(self.take_back(begun, error, || Ok(()))),
                    Ok(lesson) => self.learn(&quiet, begun, &lesson).map_err(unfinished),
                    Err(unknown) => Err(unfinished(error.with_context("state", unknown.full_message()))),
                }
            }
        }
    }

    /// Loads the container's family, with everybody who needs one of those that it needs.
    fn whole_family(&self, key: &ContainerKey) -> Result<Ancestry> {
        let near = self.ancestry(key, Neighbourhood::Whole)?;
        let mut keys = BTreeSet::from([key.clone()]);
        let mut next = near.lineage.head(key).map(|node| node.id);
        while let Some(id) = next {
            keys.extend(near.rows.get(&id).map(|row| row.container.clone()));
            next = near.lineage.parent(id).map(|(parent, _)| parent.id);
        }
        if keys.len() == 1 {
            Ok(near)
        } else {
            self.ancestry_around(key, &keys.into_iter().collect::<Vec<_>>())
        }
    }

    /// Compares what the store says with what is recorded.
    fn lesson(&self, ancestry: &Ancestry, head: &VolumeRow, stand: &Promoted) -> Result<Lesson> {
        let store = self.store_of(&head.volume)?;
        let capabilities = self.capabilities(store.as_ref(), &head.container.lxcpath, Some(&head.volume))?;
        let mut lesson = Lesson::default();
        for (id, source) in &stand.sources {
            let Some(row) = ancestry.rows.get(id).filter(|row| row.volume.source != *source) else {
                continue;
            };
            if let Some(path) = configuration(row)
                && let Some(config) = home::read_file(&path)?
            {
                lesson.files.push((path, self.editor.with_rootfs(&config, &source.to_string())?));
            }
            lesson.sources.push((*id, source.clone()));
        }
        for (child, parent) in stand.parents.iter().filter(|(child, _)| ancestry.rows.contains_key(child)) {
            let before = ancestry.lineage.parent(*child).map(|(node, _)| node.id);
            if before == *parent {
                continue;
            }
            match (parent, Dependency::of(&capabilities)) {
                (Some(parent), Some(terms)) if ancestry.rows.contains_key(parent) => {
                    let kind = EdgeKind::Dependency(terms);
                    lesson.gained.push(Edge { child: *child, parent: *parent, kind });
                }
                _ => lesson.lost.push(*child),
            }
        }
        if lesson.is_empty() {
            lesson.unneeded = unneeded(ancestry, &ancestry.lineage, &[]);
        } else {
            compare_graphs(ancestry, &mut lesson)?;
        }
        Ok(lesson)
    }

    fn learn(&self, context: &Context, begun: Begun, lesson: &Lesson) -> Result<()> {
        if !lesson.files.is_empty() {
            context.step("promote.files")?;
            for (path, content) in &lesson.files {
                home::replace_file(path, content)?;
            }
        }
        if !(lesson.before.is_empty() && lesson.after.is_empty()) {
            context.step("promote.relations")?;
            self.unlink(context, &lesson.before)?;
            self.link(context, &lesson.after)?;
        }
        context.step("promote.record")?;
        self.catalogue.write(|db| {
            lesson.sources.iter().try_for_each(|(id, source)| rows::move_volume(db, *id, source))?;
            lesson.lost.iter().try_for_each(|child| rows::drop_dependency(db, *child))?;
            lesson.forgotten.iter().try_for_each(|child| rows::drop_provenance(db, *child))?;
            lesson.gained.iter().try_for_each(|edge| rows::put_edge(db, edge))
        })?;
        // Their rows stay until they are gone: that is how recovery finds them.
        for volume in &lesson.unneeded {
            context.step("promote.reclaim")?;
            self.destroy_volume(context, volume)?;
        }
        self.finish(begun, |db| {
            lesson.unneeded.iter().try_for_each(|volume| rows::drop_volume(db, volume.id))
        })
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_promote(
        &self,
        context: &Context,
        begun: Begun,
        promotion: &Promotion,
    ) -> Result<()> {
        let ancestry = self.whole_family(&promotion.key)?;
        // Destroyed since: then there is nothing to learn.
        let Some(head) = ancestry.rows.get(&promotion.head) else { return self.finish(begun, |_| Ok(())) };
        let store = self.store_of(&head.volume)?.clone();
        let group = store.promotion().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the {} store cannot promote any more", store.kind()))
        })?;
        let stand = self.wait(group.standing(context, &family_of(&ancestry, head)))?;
        let lesson = self.lesson(&ancestry, head, &stand)?;
        self.learn(context, begun, &lesson)
    }
}

/// The volumes of the head's store.
fn family_of(ancestry: &Ancestry, head: &VolumeRow) -> Vec<Volume> {
    let rows = ancestry.rows.values().filter(|row| row.volume.kind() == head.volume.kind());
    rows.map(|row| row.volume.clone()).collect()
}

/// The containers whose rows a promotion may change: those above, and whoever needs one of them directly.
fn relatives(ancestry: &Ancestry, key: &ContainerKey) -> BTreeSet<ContainerKey> {
    let mut above = BTreeSet::new();
    let mut next = ancestry.lineage.head(key).and_then(|node| ancestry.lineage.parent(node.id));
    while let Some((node, _)) = next {
        above.insert(node.id);
        next = ancestry.lineage.parent(node.id);
    }
    let concerned = ancestry.rows.values().filter(|row| {
        let parent = ancestry.lineage.parent(row.volume.id);
        above.contains(&row.volume.id) || parent.is_some_and(|(parent, _)| above.contains(&parent.id))
    });
    concerned.filter(|row| row.role != NodeRole::Ghost).map(|row| row.container.clone()).collect()
}

/// Fills in what follows from the new edges: origins that would close a circle, and the relations as LXC's tools read them.
fn compare_graphs(ancestry: &Ancestry, lesson: &mut Lesson) -> Result<()> {
    let changed: BTreeSet<VolumeId> =
        lesson.lost.iter().copied().chain(lesson.gained.iter().map(|edge| edge.child)).collect();
    let mut edges: Vec<Edge> = ancestry.edges.clone();
    edges.retain(|edge| edge.kind == EdgeKind::Provenance || !changed.contains(&edge.child));
    edges.extend(&lesson.gained);
    lesson.forgotten = circular_origins(&edges);
    edges.retain(|edge| edge.kind != EdgeKind::Provenance || !lesson.forgotten.contains(&edge.child));
    let lxcpath = ancestry.lineage.lxcpath().to_owned();
    let lineage =
        Lineage::build(&lxcpath, ancestry.rows.values().map(VolumeRow::node), edges.iter().copied())?;
    lesson.unneeded = unneeded(ancestry, &lineage, &lesson.sources);
    let after = Ancestry { rows: ancestry.rows.clone(), edges, lineage };
    for row in ancestry.rows.values().filter(|row| row.role == NodeRole::Head) {
        let was = ancestry.containers_above(row, &row.container);
        let is = after.containers_above(row, &row.container);
        if was != is {
            lesson.before.push((row.container.clone(), was));
            lesson.after.push((row.container.clone(), is));
        }
    }
    Ok(())
}

/// Returns what no named volume needs, where it is after the effect.
fn unneeded(ancestry: &Ancestry, lineage: &Lineage, moved: &[(VolumeId, VolumeSource)]) -> Vec<Volume> {
    let rows = lineage.garbage().into_iter().filter_map(|node| ancestry.rows.get(&node.id));
    rows.map(|row| {
        let place = moved.iter().find(|(id, _)| *id == row.volume.id);
        let source = place.map_or(&row.volume.source, |(_, source)| source).clone();
        Volume { source, ..row.volume.clone() }
    })
    .collect()
}

/// Returns the children whose provenance leads, over what its parent needs, back to themselves.
fn circular_origins(edges: &[Edge]) -> Vec<VolumeId> {
    let mut up: BTreeMap<VolumeId, Vec<VolumeId>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.kind != EdgeKind::Provenance) {
        up.entry(edge.child).or_default().push(edge.parent);
    }
    let mut circular = Vec::new();
    for edge in edges.iter().filter(|edge| edge.kind == EdgeKind::Provenance) {
        if reaches(&up, edge.parent, edge.child) {
            circular.push(edge.child);
        } else {
            up.entry(edge.child).or_default().push(edge.parent);
        }
    }
    circular
}

fn reaches(up: &BTreeMap<VolumeId, Vec<VolumeId>>, from: VolumeId, to: VolumeId) -> bool {
    let (mut pending, mut seen) = (vec![from], BTreeSet::new());
    while let Some(id) = pending.pop() {
        if id == to {
            return true;
        }
        if seen.insert(id) {
            pending.extend(up.get(&id).into_iter().flatten());
        }
    }
    false
}
