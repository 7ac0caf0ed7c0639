//! `lxc_snapshots` and `lxc_rdepends`, kept so that LXC's own tools refuse and allow what we do.
//!
//! They follow the catalogue, never lead it, with one exception: what LXC's tools wrote into them is read when a container is
//! adopted. Every change is one replacement of a file under the relations lock of its container, and repeating it
//! changes nothing; recovery does so.

use std::collections::BTreeMap;
use std::path::Path;

use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::lxc_files::{
    LxcSnapshots, RDEPENDS_FILE, SNAPSHOTS_FILE, parse_rdepends, render_rdepends,
};

/// What happens to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Insert,
    Remove,
}

impl Engine {
    /// Writes down that each child needs its ancestors (eldest first).
    pub(super) fn link(
        &self,
        context: &Context,
        children: &[(ContainerKey, Vec<ContainerKey>)],
    ) -> Result<()> {
        for (child, ancestors) in children {
            if !ancestors.is_empty() && home::exists(&child.home())? {
                home::replace_file(&child.home().join(RDEPENDS_FILE), &render_rdepends(ancestors))?;
            }
        }
        self.change_parents(context, children, Change::Insert)
    }

    /// Takes back that each child needs its ancestors.
    pub(super) fn unlink(
        &self,
        context: &Context,
        children: &[(ContainerKey, Vec<ContainerKey>)],
    ) -> Result<()> {
        for (child, _) in children {
            home::remove_file(&child.home().join(RDEPENDS_FILE))?;
        }
        self.change_parents(context, children, Change::Remove)
    }

    fn change_parents(
        &self,
        context: &Context,
        children: &[(ContainerKey, Vec<ContainerKey>)],
        change: Change,
    ) -> Result<()> {
        let mut by_parent: BTreeMap<&ContainerKey, Vec<&ContainerKey>> = BTreeMap::new();
        for (child, ancestors) in children {
            for ancestor in ancestors {
                by_parent.entry(ancestor).or_default().push(child);
            }
        }
        for (parent, children) in by_parent {
            // A parent that was destroyed by other hands has no file to keep.
            if home::exists(&parent.home())? {
                let _held = self.locks.relations(context, parent)?;
                change_file(&parent.home().join(SNAPSHOTS_FILE), &children, change)?;
            }
        }
        Ok(())
    }
}

fn change_file(path: &Path, children: &[&ContainerKey], change: Change) -> Result<()> {
    let before = home::read_file(path)?;
    let mut file = LxcSnapshots::parse(before.as_deref().unwrap_or_default())?;
    let old = file.clone();
    for child in children {
        match change {
            Change::Insert => file.insert(child),
            Change::Remove => file.remove(child),
        }
    }
    if file.is_empty() {
        return home::remove_file(path);
    }
    if file == old { Ok(()) } else { home::replace_file(path, &file.render()) }
}

/// Returns who depends on a container as LXC wrote it down.
pub(super) fn read_snapshots(key: &ContainerKey) -> Result<LxcSnapshots> {
    let content = home::read_file(&key.home().join(SNAPSHOTS_FILE))?;
    LxcSnapshots::parse(content.as_deref().unwrap_or_default())
}

/// Returns whom a container depends on as LXC wrote it down, eldest first.
pub(super) fn read_rdepends(key: &ContainerKey) -> Result<Vec<ContainerKey>> {
    let content = home::read_file(&key.home().join(RDEPENDS_FILE))?;
    parse_rdepends(content.as_deref().unwrap_or_default())
}

/// Refuses while an old LXC counted dependents without naming them: nobody can tell who they are.
pub(super) fn refuse_counted(key: &ContainerKey, verb: &str) -> Result<()> {
    match read_snapshots(key)? {
        LxcSnapshots::Count(count) if count > 0 => {
            let (name, path) = (&key.name, key.home().join(SNAPSHOTS_FILE));
            let message =
                format!("cannot {verb} `{name}`: an old LXC noted that {count} containers need its data");
            Err(Error::new(ErrorKind::HasDependents, message)
                .with_hint(format!("when you know that none is left, remove `{}`", path.display())))
        }
        LxcSnapshots::Count(_) | LxcSnapshots::Pairs(_) => Ok(()),
    }
}
