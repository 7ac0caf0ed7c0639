//! Who needs whose data, told from places alone. For volumes whose edges were lost with the catalogue.
//!
//! A location that lists paths ends with the volume's own object; those before it are what it stands upon, topmost
//! first. A store that keeps track itself tells nothing: there, LXC's `lxc_rdepends` names the container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::volume::{VolumeId, VolumeSource};

/// Volumes by the path of their own object.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<PathBuf, VolumeId>);

impl Owners {
    pub(super) fn of<'a>(volumes: impl IntoIterator<Item = (VolumeId, &'a VolumeSource)>) -> Self {
        let own = |(id, source): (VolumeId, &VolumeSource)| Some((own_path(source)?.to_owned(), id));
        Self(volumes.into_iter().filter_map(own).collect())
    }

    /// Returns the volume upon which `source` stands directly.
    pub(super) fn below(&self, id: VolumeId, source: &VolumeSource) -> Option<VolumeId> {
        let paths: Vec<&Path> = source.paths().collect();
        let (_, lowers) = paths.split_last()?;
        lowers.iter().filter_map(|lower| self.0.get(*lower)).copied().find(|parent| *parent != id)
    }
}

/// Returns the path of a volume's own object, where its location is a list of paths.
pub(super) fn own_path(source: &VolumeSource) -> Option<&Path> {
    source.paths().last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_stands_upon_the_first_of_its_lower_paths_that_is_anothers_own() {
        let sources: Vec<VolumeSource> = [
            "dir:/p/a/rootfs",
            "overlay:/p/a/rootfs:/p/b/overlay/delta",
            "overlay:/p/b/overlay/delta:/p/a/rootfs:/p/c/overlay/delta",
            "overlay:/p/d/rootfs:/p/d/overlay/delta",
            "zfs:tank/lxc/e",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let ids: Vec<VolumeId> = sources.iter().map(|_| VolumeId::generate()).collect();
        let owners = Owners::of(ids.iter().copied().zip(&sources));
        let below: Vec<_> = ids.iter().zip(&sources).map(|(id, source)| owners.below(*id, source)).collect();
        assert_eq!(below, [None, Some(ids[0]), Some(ids[1]), None, None]);
    }
}
