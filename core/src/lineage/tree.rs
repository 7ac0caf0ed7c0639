//! What `keiki tree` shows, as data: rows in the order in which they are printed, each with its depth. Drawing lines is
//! the business of whoever has a terminal.
//!
//! The rows are flat, so that a chain of 10,000 clones is 10,000 rows and not 10,000 nested objects.

use std::cmp::Ordering;

use serde::Serialize;

use super::{Lineage, NodeId, NodeRole};
use crate::engine::ContainerKey;
use crate::volume::StoreKind;

/// How a row hangs on the row above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Its data needs the parent's.
    Dependency,
    /// It was copied from the parent and needs it no more.
    Provenance,
}

/// One volume in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeRow {
    /// Which volume.
    pub volume: NodeId,
    /// The row that it hangs on.
    pub parent: Option<NodeId>,
    /// How; `None` for a root.
    pub relation: Option<Relation>,
    /// What it was made from, as the user names it, where that is another volume than the row that it hangs on: a clone
    /// of a snapshot may need only the layer below the snapshot.
    pub origin: Option<String>,
    /// How far from its root.
    pub depth: usize,
    /// Whether no sibling follows.
    pub is_last: bool,
    /// How the user names it; layers and ghosts go by their container's name.
    pub name: String,
    /// Its container.
    pub container: ContainerKey,
    /// What it is.
    pub role: NodeRole,
    /// The store that keeps it.
    pub store: StoreKind,
}

/// Every volume once: roots by name, each followed by what came from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tree {
    /// The rows in order.
    pub rows: Vec<TreeRow>,
}

impl Lineage {
    /// Returns the whole forest.
    ///
    /// # Behavior
    /// A volume hangs on what it needs, else on what it was copied from. Roots and siblings are sorted as people count:
    /// `snap2` before `snap10`; a container's layers stand before it, its snapshots behind.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let roots = (0..self.nodes.len()).filter(|position| self.above(*position).is_none()).collect();
        self.rows(roots)
    }

    /// Returns what came from one container: its volumes that hang on no other of its own, with everything below.
    #[must_use]
    pub fn tree_of(&self, key: &ContainerKey) -> Tree {
        let Some(members) = self.members.get(key) else { return Tree::default() };
        let is_top =
            |position: &usize| self.above(*position).is_none_or(|(parent, _)| !self.is_of(parent, key));
        self.rows(members.all().filter(is_top).collect())
    }

    fn rows(&self, mut roots: Vec<usize>) -> Tree {
        let mut rows = Vec::with_capacity(self.nodes.len());
        roots.sort_by(|a, b| self.by_name(*a, *b));
        let mut pending: Vec<(usize, usize, bool)> = Vec::new();
        push_siblings(&mut pending, &roots, 0);
        while let Some((position, depth, is_last)) = pending.pop() {
            rows.push(self.row(position, depth, is_last));
            push_siblings(&mut pending, &self.below(position), depth + 1);
        }
        Tree { rows }
    }

    fn row(&self, position: usize, depth: usize, is_last: bool) -> TreeRow {
        let node = &self.nodes[position];
        let above = if depth == 0 { None } else { self.above(position) };
        let origin = self.origin[position].filter(|origin| above.is_none_or(|(parent, _)| parent != *origin));
        TreeRow {
            volume: node.id,
            parent: above.map(|(parent, _)| self.nodes[parent].id),
            relation: above.map(|(_, relation)| relation),
            origin: origin.map(|origin| self.nodes[origin].display(&self.lxcpath)),
            depth,
            is_last,
            name: node.display(&self.lxcpath),
            container: node.container.clone(),
            role: node.role.clone(),
            store: node.store.clone(),
        }
    }

    fn above(&self, position: usize) -> Option<(usize, Relation)> {
        let needed = self.parent[position].map(|(parent, _)| (parent, Relation::Dependency));
        needed.or_else(|| self.origin[position].map(|parent| (parent, Relation::Provenance)))
    }

    fn below(&self, position: usize) -> Vec<usize> {
        let copies = self.copies[position].iter().copied().filter(|copy| self.parent[*copy].is_none());
        let mut below: Vec<usize> =
            self.children[position].iter().map(|(child, _)| *child).chain(copies).collect();
        below.sort_by(|a, b| self.by_name(*a, *b));
        below
    }

    fn by_name(&self, a: usize, b: usize) -> Ordering {
        let key = |position: usize| {
            let node = &self.nodes[position];
            let (rank, snapshot) = match &node.role {
                NodeRole::Ghost => (0, ""),
                NodeRole::Layer => (1, ""),
                NodeRole::Head => (2, ""),
                NodeRole::Snapshot(name) => (3, name.as_str()),
            };
            (node, rank, snapshot)
        };
        let ((a, a_rank, a_snapshot), (b, b_rank, b_snapshot)) = (key(a), key(b));
        let names = compare_counting(a.container.name.as_str(), b.container.name.as_str());
        a.container
            .lxcpath
            .cmp(&b.container.lxcpath)
            .then(names)
            .then(a_rank.cmp(&b_rank))
            .then_with(|| compare_counting(a_snapshot, b_snapshot).then(a.id.cmp(&b.id)))
    }
}

fn push_siblings(pending: &mut Vec<(usize, usize, bool)>, siblings: &[usize], depth: usize) {
    let last = siblings.len().saturating_sub(1);
    pending
        .extend(siblings.iter().enumerate().rev().map(|(rank, position)| (*position, depth, rank == last)));
}

/// Compares texts so that runs of digits count by their value; texts that differ in leading zeros only are told apart
/// by their bytes, so that the order is total.
fn compare_counting(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let ((left_run, left_rest), (right_run, right_rest)) = (split_run(left), split_run(right));
        let order = match (left_run.is_empty(), right_run.is_empty()) {
            (true, true) => return a.cmp(b),
            (false, false) => compare_runs(left_run, right_run),
            _ => left_run.cmp(right_run),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

/// Splits off the longest run of digits, or of anything else.
fn split_run(text: &str) -> (&str, &str) {
    let is_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(text.len());
    text.split_at(end)
}

fn compare_runs(a: &str, b: &str) -> Ordering {
    let is_number = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
    if !(is_number(a) && is_number(b)) {
        return a.cmp(b);
    }
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
