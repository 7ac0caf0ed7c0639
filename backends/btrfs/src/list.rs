//! Answers about many volumes at once: what is marked in a pool, what it takes, and when it is durable.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use keiki_core::store::{Found, Presence, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::{StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Result, ResultExt};
use keiki_sys::btrfs;
use rustix::fs::fstat;

use crate::{spec, subvolume};

/// Finds every marked subvolume of containers and snapshots below `pool`.
pub(crate) fn list(pool: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for home in directories(pool)? {
        look(&home, &mut found)?;
        let snapshots = home.join("snaps");
        if snapshots.is_dir() {
            for snapshot in directories(&snapshots)? {
                look(&snapshot, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn look(home: &Path, found: &mut Vec<Found>) -> Result<()> {
    let source = VolumeSource::at_path(StoreKind::new(spec::KIND), &home.join("rootfs"))?;
    // The id is not known yet; looking needs only the place.
    let candidate = Volume::new(VolumeId::generate(), source.clone());
    if let Some(place) = subvolume::find(&candidate)?
        && let Presence::Complete(id) = place.presence()?
    {
        found.push(Found { id, source });
    }
    Ok(())
}

fn directories(parent: &Path) -> Result<Vec<PathBuf>> {
    let shown = || format!("cannot list `{}`", parent.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent).or_err(shown)? {
        let entry = entry.or_err(shown)?;
        if entry.file_type().or_err(shown)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Measures volumes by walking them. Shared extents cannot be told without quotas, so `exclusive` stays unknown.
pub(crate) fn usage(volumes: &[Volume]) -> Result<Vec<Usage>> {
    volumes.iter().map(measure).collect()
}

fn measure(volume: &Volume) -> Result<Usage> {
    let Some(place) = subvolume::find(volume)? else { return Ok(Usage::default()) };
    let Some(root) = place.open()? else { return Ok(Usage::default()) };
    let size = keiki_tree::measure_tree(root.as_fd(), None)
        .map_err(std::io::Error::from)
        .or_err(|| format!("cannot measure `{}`", place.path.display()))?;
    Ok(Usage { referenced: Some(Bytes(size.allocated)), ..Usage::default() })
}

/// Joins one commit for each file system that the volumes are on.
pub(crate) fn sync(volumes: &[Volume]) -> Result<()> {
    let mut seen = HashSet::new();
    for volume in volumes {
        let Some(place) = subvolume::find(volume)? else { continue };
        let device =
            fstat(&place.parent).or_err(|| format!("cannot look at `{}`", place.path.display()))?.st_dev;
        if seen.insert(device) {
            btrfs::commit(place.parent.as_fd())
                .or_err(|| format!("cannot commit `{}`", place.path.display()))?;
        }
    }
    Ok(())
}
