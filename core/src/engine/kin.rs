//! Who needs whose data, told from places alone: for volumes that LXC made, and for those whose edges were lost with the
//! catalogue.
//!
//! A location that lists paths ends with the volume's own object; those before it are what it stands upon, topmost
//! first. LXC copies the upper layer of an overlay and shares the base below it: then the one in whose home the base
//! lies must stay, but what it writes goes into its own upper layer and does not show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::catalogue::VolumeRow;
use crate::capability::ParentWrite;
use crate::lineage::{Dependency, Edge, EdgeKind, NodeRole};
use crate::volume::{Volume, VolumeId, VolumeSource};

/// Volumes by the paths that are theirs.
#[derive(Debug, Default)]
pub(super) struct Owners {
    objects: HashMap<PathBuf, VolumeId>,
    bases: HashMap<PathBuf, VolumeId>,
}

impl Owners {
    /// Learns whose paths are whose.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a VolumeRow>) -> Self {
        let mut owners = Self::default();
        for row in rows {
            let id = row.volume.id;
            let paths: Vec<&Path> = row.volume.source.paths().collect();
            let Some((own, lowers)) = paths.split_last() else { continue };
            owners.objects.insert((*own).to_owned(), id);
            // Whatever stands upon the same base was made later: a snapshot never owns it.
            let is_eldest = !matches!(row.role, NodeRole::Snapshot(_));
            if let ([base], true) = (lowers, is_eldest)
                && base.starts_with(row.container.home())
            {
                owners.bases.insert((*base).to_owned(), id);
            }
        }
        owners
    }

    /// Returns the dependency of a volume whose store sets `terms` for parents; `None` for one that stands upon nobody.
    pub(super) fn dependency(&self, volume: &Volume, terms: Dependency) -> Option<Edge> {
        let paths: Vec<&Path> = volume.source.paths().collect();
        let (_, lowers) = paths.split_last()?;
        let other = |id: &&VolumeId| **id != volume.id;
        lowers.iter().find_map(|lower| {
            let object = self.objects.get(*lower).filter(other).map(|id| (*id, terms.write));
            let base = || self.bases.get(*lower).filter(other).map(|id| (*id, ParentWrite::Free));
            let (parent, write) = object.or_else(base)?;
            let kind = EdgeKind::Dependency(Dependency { write, ..terms });
            Some(Edge { child: volume.id, parent, kind })
        })
    }
}

/// Returns the path of a volume's own object, where its location is a list of paths.
pub(super) fn own_path(source: &VolumeSource) -> Option<&Path> {
    source.paths().last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::ParentDelete;
    use crate::engine::ContainerKey;
    use crate::engine::catalogue::PlacedRole;
    use crate::lineage::Binding;
    use crate::name::{ContainerName, SnapshotName};

    fn row(name: &str, snapshot: Option<&str>, source: &str) -> VolumeRow {
        VolumeRow {
            volume: Volume::new(VolumeId::generate(), source.parse().unwrap()),
            container: ContainerKey { lxcpath: "/p".into(), name: ContainerName::parse(name).unwrap() },
            role: snapshot
                .map_or(NodeRole::Head, |name| NodeRole::Snapshot(SnapshotName::parse(name).unwrap())),
            placed: PlacedRole::Head,
            created: None,
        }
    }

    #[test]
    fn a_volume_stands_upon_the_first_of_its_lower_paths_that_is_anothers() {
        let terms = Dependency {
            write: ParentWrite::Forbidden,
            delete: ParentDelete::Refused,
            binding: Binding::Path,
        };
        let rows = [
            row("a", None, "dir:/p/a/rootfs"),
            row("b", None, "overlay:/p/a/rootfs:/p/b/overlay/delta"),
            row("c", None, "overlay:/p/b/overlay/delta:/p/a/rootfs:/p/c/overlay/delta"),
            row("d", None, "overlay:/p/d/rootfs:/p/d/overlay/delta"),
            row("d", Some("s"), "overlay:/p/d/rootfs:/p/d/snaps/s/overlay/delta"),
            row("e", None, "overlay:/p/d/rootfs:/p/e/overlay/delta"),
            row("f", None, "zfs:tank/lxc/f"),
        ];
        let owners = Owners::of(&rows);
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                let edge = owners.dependency(&row.volume, terms)?;
                let parent = rows.iter().position(|row| row.volume.id == edge.parent)?;
                let EdgeKind::Dependency(terms) = edge.kind else { return None };
                Some((parent, terms.write))
            })
            .collect();
        let (free, forbidden) = (ParentWrite::Free, ParentWrite::Forbidden);
        let expected =
            [None, Some((0, forbidden)), Some((1, forbidden)), None, Some((3, free)), Some((3, free)), None];
        assert_eq!(found, expected);
    }
}
