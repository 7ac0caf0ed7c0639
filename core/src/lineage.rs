//! Who depends on whom: a pure graph of volumes, and the rules that follow from it.
//!
//! Two kinds of edge. A *dependency* says that the child's data needs the parent's; it carries what the child's store
//! promised when the child was made (what a write to the parent does, what destroying the parent means, whether the
//! child finds its parent by a path). *Provenance* only says where a child came from and forbids nothing. Every rule
//! is derived from edges, never from the name of a store:
//!
//! - [`rules`]: may a volume be started, written, renamed, replaced;
//! - [`destroy`]: a whole [`DestroyPlan`], before anything is done;
//! - [`tree`]: what `keiki tree` shows;
//! - [`lxc_files`]: the same facts as LXC's own tools read them.
//!
//! A named volume is a container's *head* or a *snapshot*. A *layer* is a head that a snapshot froze where it is; it
//! belongs to its container and has no name. A *ghost* was destroyed by its user while others needed its data. Layers
//! and ghosts go with the last volume that needed them; named volumes go only when somebody asks.
//!
//! No I/O, no locks, no recursion: a chain of 10,000 clones costs time, not stack. The graph may be a part of the
//! catalogue (a head and its children, to decide about a start) as long as both ends of every dependency are in it.

pub mod destroy;
pub mod lxc_files;
pub mod rules;
pub mod tree;

mod edge;
mod node;
mod refusal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::engine::ContainerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::name::SnapshotName;
use crate::volume::VolumeId;

pub use destroy::{Action, Blocker, Cause, DestroyPlan, DestroyStep, Target};
pub use edge::{Binding, Dependency, Edge, EdgeKind};
pub use node::{Node, NodeRole};
pub use refusal::Refusal;
pub use tree::{Relation, Tree, TreeRow};

/// A node is a volume, and a volume has one identity.
pub type NodeId = VolumeId;

/// The volumes of one container, as positions.
#[derive(Debug, Clone, Default)]
struct Members {
    head: Option<usize>,
    snapshots: Vec<usize>,
    layers: Vec<usize>,
}

impl Members {
    fn all(&self) -> impl Iterator<Item = usize> + '_ {
        self.head.iter().chain(&self.snapshots).chain(&self.layers).copied()
    }
}

/// The graph: checked once when it is built, never changed.
#[derive(Debug, Clone)]
pub struct Lineage {
    lxcpath: PathBuf,
    nodes: Vec<Node>,
    index: HashMap<NodeId, usize>,
    members: HashMap<ContainerKey, Members>,
    parent: Vec<Option<(usize, Dependency)>>,
    origin: Vec<Option<usize>>,
    children: Vec<Vec<(usize, Dependency)>>,
    copies: Vec<Vec<usize>>,
    /// Every position, children before parents over both kinds of edge.
    upwards: Vec<usize>,
}

impl Lineage {
    /// Builds the graph as a user seated in `lxcpath` sees it.
    ///
    /// # Behavior
    /// Provenance whose parent is not among the nodes is dropped: where something came from may be long gone. The order
    /// of the input does not matter to any answer.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for an identity, a head or a snapshot name that occurs twice, a dependency with an end
    /// that is not there, a second dependency of one child, and a cycle.
    pub fn build(
        lxcpath: &Path,
        nodes: impl IntoIterator<Item = Node>,
        edges: impl IntoIterator<Item = Edge>,
    ) -> Result<Self> {
        let mut nodes: Vec<Node> = nodes.into_iter().collect();
        nodes.sort_by(|a, b| (&a.container, &a.role, a.id).cmp(&(&b.container, &b.role, b.id)));
        let count = nodes.len();
        let mut lineage = Self {
            lxcpath: lxcpath.to_owned(),
            nodes,
            index: HashMap::with_capacity(count),
            members: HashMap::new(),
            parent: vec![None; count],
            origin: vec![None; count],
            children: vec![Vec::new(); count],
            copies: vec![Vec::new(); count],
            upwards: Vec::with_capacity(count),
        };
        lineage.register_nodes()?;
        for edge in edges {
            lineage.register_edge(&edge)?;
        }
        lineage.children.iter_mut().for_each(|children| children.sort_unstable_by_key(|(child, _)| *child));
        lineage.copies.iter_mut().for_each(|copies| copies.sort_unstable());
        lineage.upwards = lineage.order_upwards()?;
        Ok(lineage)
    }

    fn register_nodes(&mut self) -> Result<()> {
        for (position, node) in self.nodes.iter().enumerate() {
            if self.index.insert(node.id, position).is_some() {
                return Err(damaged(format!("volume `{}` is recorded twice", node.id)));
            }
            let members = self.members.entry(node.container.clone()).or_default();
            match &node.role {
                NodeRole::Head => {
                    if members.head.replace(position).is_some() {
                        return Err(damaged(format!("container `{}` has two heads", node.container.name)));
                    }
                }
                NodeRole::Snapshot(name) => {
                    let twin =
                        members.snapshots.last().is_some_and(|last| self.nodes[*last].role == node.role);
                    if twin {
                        let container = &node.container.name;
                        return Err(damaged(format!("snapshot `{container}@{name}` is recorded twice")));
                    }
                    members.snapshots.push(position);
                }
                NodeRole::Layer => members.layers.push(position),
                // A ghost keeps the name it had only to be shown; a new container may carry that name by now.
                NodeRole::Ghost => {}
            }
        }
        Ok(())
    }

    fn register_edge(&mut self, edge: &Edge) -> Result<()> {
        let missing =
            |id: NodeId| damaged(format!("volume `{id}` is named as a relative but is not recorded"));
        let child = *self.index.get(&edge.child).ok_or_else(|| missing(edge.child))?;
        let parent = self.index.get(&edge.parent).copied();
        match edge.kind {
            EdgeKind::Dependency(terms) => {
                let parent = parent.ok_or_else(|| missing(edge.parent))?;
                if self.parent[child].replace((parent, terms)).is_some() {
                    return Err(damaged(format!("volume `{}` depends on two parents", edge.child)));
                }
                self.children[parent].push((child, terms));
            }
            EdgeKind::Provenance => {
                let Some(parent) = parent else { return Ok(()) };
                if self.origin[child].replace(parent).is_some() {
                    return Err(damaged(format!("volume `{}` was copied from two origins", edge.child)));
                }
                self.copies[parent].push(child);
            }
        }
        Ok(())
    }

    fn order_upwards(&self) -> Result<Vec<usize>> {
        let mut waiting: Vec<usize> = self
            .children
            .iter()
            .zip(&self.copies)
            .map(|(children, copies)| children.len() + copies.len())
            .collect();
        let mut order: Vec<usize> =
            (0..self.nodes.len()).filter(|position| waiting[*position] == 0).collect();
        let mut next = 0;
        while let Some(position) = order.get(next).copied() {
            next += 1;
            let parent = self.parent[position].map(|(parent, _)| parent);
            for above in parent.into_iter().chain(self.origin[position]) {
                waiting[above] -= 1;
                if waiting[above] == 0 {
                    order.push(above);
                }
            }
        }
        match (0..self.nodes.len()).find(|position| waiting[*position] > 0) {
            None => Ok(order),
            Some(stuck) => Err(damaged(format!("volume `{}` descends from itself", self.nodes[stuck].id))),
        }
    }

    /// Returns the lxcpath from which names are seen.
    #[must_use]
    pub fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    /// Returns every volume, sorted by container, then head, snapshots by name, layers, ghosts.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the volume `id`.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.index.get(&id).map(|position| &self.nodes[*position])
    }

    /// Returns the head of a container.
    #[must_use]
    pub fn head(&self, key: &ContainerKey) -> Option<&Node> {
        self.members.get(key)?.head.map(|position| &self.nodes[position])
    }

    /// Returns a snapshot of a container.
    #[must_use]
    pub fn snapshot(&self, key: &ContainerKey, name: &SnapshotName) -> Option<&Node> {
        let snapshots = &self.members.get(key)?.snapshots;
        snapshots.iter().map(|position| &self.nodes[*position]).find(|node| is_snapshot(node, name))
    }

    /// Returns how a user names the volume; its identity when it is not in the graph.
    #[must_use]
    pub fn display(&self, id: NodeId) -> String {
        self.node(id).map_or_else(|| id.to_string(), |node| node.display(&self.lxcpath))
    }

    /// Returns the volume that `id` needs, and on which terms.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<(&Node, Dependency)> {
        let (parent, terms) = self.parent[*self.index.get(&id)?]?;
        Some((&self.nodes[parent], terms))
    }

    /// Returns the volumes that need `id` directly, whatever they are.
    pub fn dependents(&self, id: NodeId) -> impl Iterator<Item = &Node> {
        let position = self.index.get(&id).copied();
        position.into_iter().flat_map(|p| self.holders(p)).map(|(child, _)| &self.nodes[child])
    }

    /// Returns every volume that needs `id`, directly or not, parents before children.
    #[must_use]
    pub fn all_dependents(&self, id: NodeId) -> Vec<&Node> {
        let Some(start) = self.index.get(&id).copied() else { return Vec::new() };
        let mut found = vec![start];
        let mut next = 0;
        while let Some(position) = found.get(next).copied() {
            next += 1;
            found.extend(self.holders(position).map(|(child, _)| child));
        }
        found.into_iter().skip(1).map(|position| &self.nodes[position]).collect()
    }

    /// Returns the nearest volumes with a name that need `id`: through layers and ghosts, not through each other.
    /// Sorted as [`Self::nodes`].
    #[must_use]
    pub fn named_dependents(&self, id: NodeId) -> Vec<&Node> {
        let Some(position) = self.index.get(&id).copied() else { return Vec::new() };
        let children = self.holders(position).map(|(child, _)| child).collect();
        self.at(self.nearest_named(children))
    }

    /// Returns the nearest volumes with a name, of other containers, that need any volume of `key`.
    #[must_use]
    pub fn dependents_of(&self, key: &ContainerKey) -> Vec<&Node> {
        self.at(self.outsiders(key, |_| true))
    }

    /// Returns the nearest volume of another container from which the head of `key` came: the one that its user named,
    /// which may be a snapshot while the data that is shared lies in a layer below it.
    #[must_use]
    pub fn origin_of(&self, key: &ContainerKey) -> Option<&Node> {
        let mut position = self.members.get(key)?.head?;
        loop {
            position = self.origin[position].or(self.parent[position].map(|(parent, _)| parent))?;
            let node = &self.nodes[position];
            if node.container != *key {
                return Some(node);
            }
        }
    }

    /// Returns how many dependencies lie between `id` and a volume that needs nobody.
    #[must_use]
    pub fn depth(&self, id: NodeId) -> u32 {
        let mut depth = 0;
        let mut position = self.index.get(&id).copied();
        while let Some((parent, terms)) = position.and_then(|p| self.parent[p]) {
            if !terms.holds() {
                break;
            }
            depth += 1;
            position = Some(parent);
        }
        depth
    }

    /// Returns the layers and ghosts that no named volume needs, children before parents: what `gc` may reclaim.
    #[must_use]
    pub fn garbage(&self) -> Vec<&Node> {
        let mut needed = vec![false; self.nodes.len()];
        for position in self.upwards.iter().copied() {
            let mut holders = self.holders(position);
            needed[position] =
                self.nodes[position].role.is_named() || holders.any(|(child, _)| needed[child]);
        }
        self.upwards
            .iter()
            .filter(|position| !needed[**position])
            .map(|position| &self.nodes[*position])
            .collect()
    }

    /// The children that need the volume at `position`.
    fn holders(&self, position: usize) -> impl Iterator<Item = (usize, Dependency)> + '_ {
        self.children[position].iter().copied().filter(|(_, terms)| terms.holds())
    }

    /// Replaces layers and ghosts by the named volumes that need them; sorted, without repetition.
    fn nearest_named(&self, mut pending: Vec<usize>) -> Vec<usize> {
        let mut named = Vec::new();
        while let Some(position) = pending.pop() {
            if self.nodes[position].role.is_named() {
                named.push(position);
            } else {
                pending.extend(self.holders(position).map(|(child, _)| child));
            }
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The nearest named volumes outside of `key` below those of its volumes' edges that `concerns` picks.
    fn outsiders(&self, key: &ContainerKey, concerns: impl Fn(Dependency) -> bool) -> Vec<usize> {
        let Some(members) = self.members.get(key) else { return Vec::new() };
        let children = members.all().flat_map(|position| self.children[position].iter().copied());
        let outside = children.filter(|(child, terms)| concerns(*terms) && !self.is_of(*child, key));
        let mut named = self.nearest_named(outside.map(|(child, _)| child).collect());
        // Behind a ghost there may be one of its own again, which goes and comes with the container.
        named.retain(|position| !self.is_of(*position, key));
        named
    }

    /// Whether the volume belongs to the container of today; a ghost belongs to nobody.
    fn is_of(&self, position: usize, key: &ContainerKey) -> bool {
        let node = &self.nodes[position];
        node.role != NodeRole::Ghost && node.container == *key
    }

    fn at(&self, positions: Vec<usize>) -> Vec<&Node> {
        positions.into_iter().map(|position| &self.nodes[position]).collect()
    }
}

fn is_snapshot(node: &Node, name: &SnapshotName) -> bool {
    matches!(&node.role, NodeRole::Snapshot(snapshot) if snapshot == name)
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .with_hint("run `keiki check` to see what the catalogue and the disk disagree on")
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
