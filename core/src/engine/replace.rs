//! What restore and flatten share: another head takes the place of the present one, and only then the old one goes.
//!
//! ```text
//! verb.volume   verb.sync   [verb.aside: an old head with a name of its own that others need]
//! verb.commit                      ← the commit point: two volumes exchange their places, or the config names the new one
//! verb.record   [verb.relations]   verb.reclaim
//! ```
//!
//! An old head that others need stays for them as a ghost. A store that can exchange keeps the head's place (`rootfs` stays `rootfs`); one that cannot gets a new place.

use super::ancestry::Ancestry;
use super::catalogue::journal as rows;
use super::catalogue::{Neighbourhood, PlacedRole, VolumeRow};
use super::intent::{Afterwards, Commit, Intent, Replace};
use super::journal::{Begun, unfinished};
use super::locks::Held;
use super::moves::{Moves, Shifting};
use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::{Edge, EdgeKind, Lineage, Node, NodeRole};
use crate::store::{BackingStore, Presence};
use crate::volume::{Placement, Volume, VolumeId, VolumeRole};

use super::snapshot::successor;

/// What takes the head's place.
#[derive(Debug)]
pub(super) struct NewHead<'a> {
    pub(super) verb: &'static str,
    pub(super) key: &'a ContainerKey,
    pub(super) head: &'a VolumeRow,
    /// What its place depends on; `None` for one that depends on nobody.
    pub(super) origin: Option<&'a VolumeRow>,
    /// The dependency that the new head will have.
    pub(super) edge: Option<Edge>,
}

impl Engine {
    /// Plans a replacement.
    pub(super) fn plan_replace(
        &self,
        new: &NewHead<'_>,
        ancestry: &Ancestry,
        config: &[u8],
    ) -> Result<Replace> {
        let store = self.store_of(&new.head.volume)?;
        let id = VolumeId::generate();
        let staging = home::staging(&new.key.lxcpath, id);
        let origin = new.origin.map(|row| &row.volume);
        let (volume, built, commit, placed) = if store.exchange().is_some() {
            let built = place_in(store.as_ref(), new, id, &staging, origin)?;
            let volume = Volume { id, ..new.head.volume.clone() };
            (volume, built, Commit::Exchange, new.head.placed)
        } else {
            let volume = successor(store.as_ref(), new.key, id, &new.head.volume.properties, origin)?;
            let config = self.editor.with_rootfs(config, &volume.source.to_string())?;
            let built = volume.source.clone();
            (volume, built, Commit::Config(config), PlacedRole::Successor)
        };
        let above = |row: &VolumeRow| ancestry.containers_above(row, new.key);
        let ancestors_before = above(new.head);
        let ancestors_after =
            if new.edge.is_some() { new.origin.map(above).unwrap_or_default() } else { Vec::new() };
        let moves = self.replacing_moves(ancestry, new.head)?;
        self.require_free_places(&moves)?;
        let is_needed = ancestry.lineage.dependents(new.head.volume.id).next().is_some();
        let edges = inherited_edges(new, ancestry, id);
        Ok(Replace {
            unneeded: unneeded(new, ancestry, &volume, &edges)?
                .iter()
                .map(|volume| moves.applied(volume))
                .collect(),
            moves,
            verb: new.verb.to_owned(),
            container: new.key.clone(),
            old: new.head.volume.clone(),
            afterwards: if is_needed { Afterwards::Ghost } else { Afterwards::Reclaimed },
            placed,
            new: volume,
            built,
            staging,
            commit,
            edges,
            ancestors_before,
            ancestors_after,
            created: super::now(),
        })
    }

    /// Plans where an old head goes that others need. One that exchanges its place with the new head is out of the way so.
    pub(super) fn replacing_moves(&self, ancestry: &Ancestry, head: &VolumeRow) -> Result<Moves> {
        let mut shifting = Shifting::new(self, ancestry);
        let exchanges = self.store_of(&head.volume)?.exchange().is_some();
        if !exchanges && ancestry.lineage.dependents(head.volume.id).next().is_some() {
            shifting.put_aside(head)?;
        }
        shifting.finish(|row| row.volume.id == head.volume.id)
    }

    /// Takes the locks of a replacement: the container's, and those of whoever has a volume that moves with the old head.
    pub(super) fn take_to_replace(&self, context: &Context, key: &ContainerKey, verb: &str) -> Result<Held> {
        self.take_with_relatives(context, key, verb, || {
            let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
            let moves = self.replacing_moves(&ancestry, &ancestry.find(key, None)?)?;
            Ok(self.moved_containers(&moves, &ancestry))
        })
    }

    /// Carries a replacement out; `build` makes the new head where it is built.
    pub(super) fn replace(
        &self,
        context: &Context,
        replace: Replace,
        build: impl FnOnce(&Volume) -> Result<()>,
    ) -> Result<Volume> {
        let begun = self.begin(&replace.verb, Intent::Replace(Box::new(replace.clone())), &[])?;
        let built = Volume { source: replace.built.clone(), ..replace.new.clone() };
        let ready =
            self.build(context, &replace, &built, build).and_then(|()| self.commit(context, &replace));
        let Err(error) = ready else {
            self.complete_replace(&context.without_deadline(), begun, &replace).map_err(unfinished)?;
            return Ok(replace.new);
        };
        // A call may fail and have had its effect: what counts is what is there.
        match self.is_replaced(&replace) {
            Ok(false) => Err(self.take_back(begun, error, || self.abandon(&replace))),
            Ok(true) => {
                self.complete_replace(&context.without_deadline(), begun, &replace).map_err(unfinished)?;
                Ok(replace.new)
            }
            Err(unknown) => Err(unfinished(error.with_context("state", unknown.full_message()))),
        }
    }

    fn build(
        &self,
        context: &Context,
        replace: &Replace,
        built: &Volume,
        build: impl FnOnce(&Volume) -> Result<()>,
    ) -> Result<()> {
        context.step(&format!("{}.volume", replace.verb))?;
        if matches!(replace.commit, Commit::Exchange) {
            home::make_staging(&replace.staging, replace.new.id)?;
        }
        build(built)?;
        self.keep_limit(context, &replace.old, built)?;
        context.step(&format!("{}.sync", replace.verb))?;
        self.sync_volumes(context, std::slice::from_ref(built))?;
        self.carry_out_moves(context, &format!("{}.aside", replace.verb), &replace.moves)
    }

    /// Gives the new head the limit of the old one, where their store keeps limits.
    pub(super) fn keep_limit(&self, context: &Context, old: &Volume, new: &Volume) -> Result<()> {
        let store = self.store_of(new)?;
        let Some(group) = store.quota().filter(|_| old.kind() == new.kind()) else { return Ok(()) };
        match self.wait(group.limit_of(context, old))? {
            Some(limit) => self.wait(group.set_quota(context, new, Some(limit))),
            None => Ok(()),
        }
    }

    fn commit(&self, context: &Context, replace: &Replace) -> Result<()> {
        context.step(&format!("{}.commit", replace.verb))?;
        match &replace.commit {
            Commit::Config(config) => home::replace_file(&replace.container.home().join("config"), config),
            Commit::Exchange => {
                let store = self.store_of(&replace.new)?;
                let group = store.exchange().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Internal,
                        format!("the {} store cannot exchange any more", store.kind()),
                    )
                })?;
                let new = Volume { source: replace.built.clone(), ..replace.new.clone() };
                self.wait(group.exchange(context, &replace.old, &new))
            }
        }
    }

    /// Does what follows the commit point: rows, relations, and then the old head goes.
    fn complete_replace(&self, context: &Context, begun: Begun, replace: &Replace) -> Result<()> {
        // The old head goes only when nothing can bring its name back.
        match &replace.commit {
            Commit::Exchange => self.sync_volumes(context, std::slice::from_ref(&replace.new))?,
            Commit::Config(_) => home::sync_directory(&replace.container.home())?,
        }
        replace.moves.write_files()?;
        context.step(&format!("{}.record", replace.verb))?;
        self.catalogue.write(|db| record(db, replace))?;
        if replace.ancestors_before != replace.ancestors_after {
            context.step(&format!("{}.relations", replace.verb))?;
            let link = |ancestors: &Vec<ContainerKey>| [(replace.container.clone(), ancestors.clone())];
            self.unlink(context, &link(&replace.ancestors_before))?;
            self.link(context, &link(&replace.ancestors_after))?;
        }
        context.step(&format!("{}.reclaim", replace.verb))?;
        if replace.afterwards == Afterwards::Reclaimed {
            self.destroy_volume(context, &left_over(replace))?;
        }
        replace.unneeded.iter().try_for_each(|volume| self.destroy_volume(context, volume))?;
        home::remove(&replace.staging)?;
        self.finish(begun, |_| Ok(()))
    }

    /// Removes a new head that will not be one.
    fn abandon(&self, replace: &Replace) -> Result<()> {
        self.undo_moves(&replace.moves)?;
        let built = Volume { source: replace.built.clone(), ..replace.new.clone() };
        self.destroy_volume(&Context::default(), &built)?;
        home::remove(&replace.staging)
    }

    /// Destroys a volume of any store.
    pub(super) fn destroy_volume(&self, context: &Context, volume: &Volume) -> Result<()> {
        self.wait(self.store_of(volume)?.destroy(context, volume)).map(drop)
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_replace(&self, context: &Context, begun: Begun, replace: &Replace) -> Result<()> {
        if self.is_replaced(replace)? {
            self.complete_replace(context, begun, replace)
        } else {
            self.abandon(replace)?;
            self.finish(begun, |_| Ok(()))
        }
    }

    fn is_replaced(&self, replace: &Replace) -> Result<bool> {
        match &replace.commit {
            Commit::Config(config) => Ok(home::read_file(&replace.container.home().join("config"))?
                .as_deref()
                == Some(config.as_slice())),
            Commit::Exchange => {
                let found = self.wait(self.store_of(&replace.new)?.probe(&replace.new))?;
                Ok(found == Presence::Complete(replace.new.id))
            }
        }
    }
}

fn place_in(
    store: &dyn BackingStore,
    new: &NewHead<'_>,
    id: VolumeId,
    staging: &std::path::Path,
    origin: Option<&Volume>,
) -> Result<crate::volume::VolumeSource> {
    let placement = Placement {
        id,
        container: new.key.name.clone(),
        role: VolumeRole::Successor,
        home: staging.to_owned(),
        options: new.head.volume.properties.clone(),
    };
    store.place(&placement, origin)
}

/// The old head where it is after the commit point.
fn left_over(replace: &Replace) -> Volume {
    match replace.commit {
        Commit::Exchange => Volume { source: replace.built.clone(), ..replace.old.clone() },
        Commit::Config(_) => replace.moves.applied(&replace.old),
    }
}

/// The new head came from where the old one came from, and depends on what it was built upon.
fn inherited_edges(new: &NewHead<'_>, ancestry: &Ancestry, id: VolumeId) -> Vec<Edge> {
    let old = new.head.volume.id;
    let came_from = ancestry.edges.iter().find(|edge| edge.child == old && edge.kind == EdgeKind::Provenance);
    let mut edges: Vec<Edge> = new.edge.map(|edge| Edge { child: id, ..edge }).into_iter().collect();
    // A flattened head keeps its origin as provenance when it had it as a dependency alone.
    let former = ancestry.lineage.parent(old).map(|(parent, _)| parent.id);
    if let Some(parent) = came_from.map(|edge| edge.parent).or(former.filter(|_| edges.is_empty())) {
        edges.push(Edge::provenance(id, parent));
    }
    edges
}

/// Returns the layers and ghosts that nobody will need once the new head is there, children before parents.
fn unneeded(
    new: &NewHead<'_>,
    ancestry: &Ancestry,
    volume: &Volume,
    new_edges: &[Edge],
) -> Result<Vec<Volume>> {
    let old = new.head.volume.id;
    // One that others need stays as a ghost, and with it what it needs.
    let stays = ancestry.lineage.dependents(old).next().is_some();
    let mut nodes: Vec<Node> = ancestry.rows.values().map(VolumeRow::node).collect();
    let mut edges = ancestry.edges.clone();
    if stays {
        let ghost = nodes.iter_mut().filter(|node| node.id == old);
        ghost.for_each(|node| node.role = NodeRole::Ghost);
    } else {
        nodes.retain(|node| node.id != old);
        edges.retain(|edge| edge.child != old && edge.parent != old);
    }
    nodes.push(Node {
        id: volume.id,
        container: new.key.clone(),
        role: NodeRole::Head,
        store: volume.kind().clone(),
    });
    edges.extend(new_edges);
    let lineage = Lineage::build(&new.key.lxcpath, nodes, edges)?;
    let rows = lineage.garbage().into_iter().filter_map(|node| ancestry.rows.get(&node.id));
    Ok(rows.filter(|row| row.volume.id != old).map(|row| row.volume.clone()).collect())
}

fn record(db: &rusqlite::Connection, replace: &Replace) -> Result<()> {
    replace.moves.record(db)?;
    rows::move_provenance(db, replace.old.id, replace.new.id)?;
    match replace.afterwards {
        Afterwards::Reclaimed => rows::drop_volume(db, replace.old.id)?,
        Afterwards::Ghost => rows::put_volume(
            db,
            &VolumeRow {
                volume: left_over(replace),
                container: replace.container.clone(),
                role: NodeRole::Ghost,
                placed: PlacedRole::Successor,
                created: Some(replace.created),
            },
        )?,
    }
    rows::put_volume(
        db,
        &VolumeRow {
            volume: replace.new.clone(),
            container: replace.container.clone(),
            role: NodeRole::Head,
            placed: replace.placed,
            created: Some(replace.created),
        },
    )?;
    replace.edges.iter().try_for_each(|edge| rows::put_edge(db, edge))?;
    replace.unneeded.iter().try_for_each(|volume| rows::drop_volume(db, volume.id))
}
