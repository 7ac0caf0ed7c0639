//! May it be done? Rules about one volume or one container, from edges alone.
//!
//! Each rule is a method of [`Lineage`] that returns `Ok` or says who is in the way. Destroying has a file of its own,
//! because its answer is a plan. A rule never looks at a store's name, a path or a disk.

use super::{Binding, Dependency, Lineage, Node, NodeId, NodeRole};
use crate::capability::{ParentDelete, ParentWrite};
use crate::engine::ContainerKey;
use crate::error::{Error, ErrorKind, Result};

impl Lineage {
    /// Decides whether a container may be started from this volume.
    ///
    /// # Errors
    /// [`ErrorKind::HasDependents`] while a child would see the writes; [`ErrorKind::InvalidArgument`] for what is not
    /// a head; [`ErrorKind::NotFound`].
    pub fn may_start(&self, id: NodeId) -> Result<()> {
        self.may_change(id, "start", writes_show)
    }

    /// Decides whether the volume's content may be changed.
    ///
    /// # Errors
    /// As [`Self::may_start`].
    pub fn may_write(&self, id: NodeId) -> Result<()> {
        self.may_change(id, "write to", writes_show)
    }

    /// Decides whether the container may get another head in place of this one, which is destroyed then.
    ///
    /// # Behavior
    /// A child that would see the new content forbids it, and so does one that finds the old head by its path, in a home
    /// where it could not stay. Otherwise the old head stays as a ghost for those who need it.
    ///
    /// # Errors
    /// As [`Self::may_start`].
    pub fn may_restore_in_place(&self, id: NodeId) -> Result<()> {
        self.may_change(id, "restore", cannot_stay)
    }

    /// Decides whether the head may be replaced by a copy that depends on nobody; as for a restore.
    ///
    /// # Errors
    /// As [`Self::may_restore_in_place`].
    pub fn may_flatten(&self, id: NodeId) -> Result<()> {
        self.may_change(id, "flatten", cannot_stay)
    }

    /// Decides whether a container may get another name, with its snapshots and layers.
    ///
    /// # Behavior
    /// Others that find any of its volumes by a path forbid it, and so do those that would see a write. Its own volumes
    /// do not: see [`Self::bound_within`]. A container without a volume here may be renamed.
    ///
    /// # Errors
    /// [`ErrorKind::HasDependents`].
    pub fn may_rename(&self, key: &ContainerKey) -> Result<()> {
        let blockers = self.outsiders(key, |terms| {
            terms.holds() && (terms.binding == Binding::Path || terms.write == ParentWrite::Forbidden)
        });
        if blockers.is_empty() {
            return Ok(());
        }
        Err(self.refusal("rename", key, &blockers).into())
    }

    /// Returns the container's volumes that find another of its volumes by a path, parents before children: their
    /// places must be written anew when it is renamed.
    #[must_use]
    pub fn bound_within(&self, key: &ContainerKey) -> Vec<&Node> {
        let bound = |position: &usize| {
            let parent = self.parent[*position].filter(|(_, terms)| terms.binding == Binding::Path);
            self.is_of(*position, key) && parent.is_some_and(|(parent, _)| self.is_of(parent, key))
        };
        self.at(self.upwards.iter().rev().copied().filter(bound).collect())
    }

    /// Decides whether a chain of dependencies may become longer by one child of `parent`.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] naming the limit and what shortens the chain.
    pub fn may_deepen(&self, parent: NodeId, max_depth: Option<u32>) -> Result<()> {
        let depth = self.depth(parent) + 1;
        match max_depth {
            Some(limit) if depth > limit => {
                let name = self.display(parent);
                let why = format!("the chain would be {depth} deep and its store allows {limit}");
                Err(Error::new(ErrorKind::LimitExceeded, format!("cannot build upon `{name}`: {why}"))
                    .with_hint(format!(
                        "`keiki flatten {name}` shortens the chain, `keiki clone` without `--snapshot` copies"
                    )))
            }
            _ => Ok(()),
        }
    }

    fn may_change(&self, id: NodeId, verb: &'static str, forbids: impl Fn(Dependency) -> bool) -> Result<()> {
        let position = self.index.get(&id).copied();
        let position = position
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("volume `{id}` is not recorded")))?;
        let node = &self.nodes[position];
        if node.role != NodeRole::Head {
            return Err(self.immutable(verb, node));
        }
        let children = self.children[position].iter().filter(|(_, terms)| forbids(*terms));
        let blockers = self.nearest_named(children.map(|(child, _)| *child).collect());
        if blockers.is_empty() {
            return Ok(());
        }
        Err(self.refusal(verb, &node.container, &blockers).into())
    }

    fn immutable(&self, verb: &str, node: &Node) -> Error {
        let (subject, word) = (node.display(&self.lxcpath), node.role.word());
        let message = format!("cannot {verb} `{subject}`: a {word} never changes");
        let error = Error::new(ErrorKind::InvalidArgument, message);
        match &node.role {
            NodeRole::Snapshot(name) => {
                let key = &node.container;
                let command = self.command(key, &format!("clone {}@{name} NEW", key.name));
                error.with_hint(format!("`{command}` makes a container from it"))
            }
            NodeRole::Head | NodeRole::Layer | NodeRole::Ghost => error,
        }
    }
}

fn writes_show(terms: Dependency) -> bool {
    terms.write == ParentWrite::Forbidden
}

/// A former head has no place of its own in a home, and one that is named by itself is moved aside.
fn cannot_stay(terms: Dependency) -> bool {
    writes_show(terms) || (terms.delete == ParentDelete::Refused && terms.binding == Binding::Path)
}
