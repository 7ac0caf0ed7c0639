//! Finds what the catalogue does not know: containers and snapshots that LXC's tools made. Reads only.
//!
//! A directory below an lxcpath with a `config` in it is a container. Its volume is what `lxc.rootfs.path` says; a bare path
//! belongs to the first store, in the order of the registry, that finds something there. Its parent is the relation
//! whose files it really stacks upon: LXC also writes down relations that no data needs.

use std::path::{Path, PathBuf};

use super::request::ContainerKey;
use super::{Engine, home, relations};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{ContainerName, SnapshotName};
use crate::store::Presence;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// A container of LXC that was found on disk.
#[derive(Debug, Clone)]
pub(super) struct Discovered {
    pub(super) key: ContainerKey,
    /// `None` when it has no rootfs, or one that no store here understands.
    pub(super) source: Option<VolumeSource>,
    /// The container whose files its own lie upon.
    pub(super) parent: Option<ContainerKey>,
}

/// A snapshot of LXC that was found on disk.
#[derive(Debug, Clone)]
pub(super) struct DiscoveredSnapshot {
    pub(super) name: SnapshotName,
    pub(super) source: Option<VolumeSource>,
    pub(super) created: Option<u64>,
}

impl Engine {
    /// Looks at one container's directory; `None` when there is none, or no `config` in it.
    pub(super) fn discover(&self, key: &ContainerKey) -> Result<Option<Discovered>> {
        let path = key.home().join("config");
        let Some(config) = home::read_file(&path)? else { return Ok(None) };
        let source = self.source_in(&config, &path)?;
        let parent = match &source {
            Some(source) => stacked_upon(source, key, &relations::read_rdepends(key)?),
            None => None,
        };
        Ok(Some(Discovered { key: key.clone(), source, parent }))
    }

    /// Returns the snapshots in a container's `snaps` directory, in the order in which they were taken.
    pub(super) fn discover_snapshots(&self, key: &ContainerKey) -> Result<Vec<DiscoveredSnapshot>> {
        let directory = key.home().join("snaps");
        let mut found = Vec::new();
        for entry in home::entries(&directory)? {
            let Some(name) = entry.to_str().and_then(|name| SnapshotName::existing(name).ok()) else {
                continue;
            };
            let home = directory.join(name.as_str());
            let path = home.join("config");
            if let Some(config) = home::read_file(&path)? {
                let created =
                    home::read_file(&home.join("ts"))?.and_then(|text| super::snapshot::parse_time(&text));
                found.push(DiscoveredSnapshot { name, source: self.source_in(&config, &path)?, created });
            }
        }
        found.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(found)
    }

    /// Returns the names below an lxcpath that may be containers, sorted.
    pub(super) fn names_below(&self, lxcpath: &Path) -> Result<Vec<ContainerName>> {
        let mut names: Vec<ContainerName> = home::entries(lxcpath)?
            .iter()
            .filter_map(|entry| entry.to_str())
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| ContainerName::existing(name).ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns the place that a configuration names; `None` for none, or one that no store here understands.
    pub(super) fn source_in(&self, config: &[u8], path: &Path) -> Result<Option<VolumeSource>> {
        let Some(text) = self.editor.rootfs(config, path)? else { return Ok(None) };
        // LXC's other word for the same store.
        let text = text.strip_prefix("overlayfs:").map_or(text.clone(), |rest| format!("overlay:{rest}"));
        match text.parse::<VolumeSource>() {
            Ok(source) if self.registry.get(source.kind()).is_ok() => Ok(Some(source)),
            Ok(_) => Ok(None),
            Err(_) => self.detect(&text),
        }
    }

    /// Asks the stores whose a bare path is: a directory belongs to a store of directories, and a file or device to one of blocks,
    /// as LXC has it.
    fn detect(&self, path: &str) -> Result<Option<VolumeSource>> {
        if !Path::new(path).is_absolute() {
            return Ok(None);
        }
        let Ok(found) = std::fs::metadata(path) else { return Ok(None) };
        let near = Path::new(path).parent().unwrap_or_else(|| Path::new("/"));
        for store in self.registry.stores() {
            let pool = self.registry.default_pool(&store.kind(), near);
            if store.capabilities(&pool)?.block == found.is_dir() {
                continue;
            }
            let source = VolumeSource::new(store.kind(), path)?;
            let candidate = Volume::new(VolumeId::generate(), source.clone());
            match self.wait(store.probe(&candidate)) {
                Ok(Presence::Absent) => {}
                Ok(Presence::Partial | Presence::Complete(_) | Presence::Foreign) => return Ok(Some(source)),
                // A form that this store does not know is not its own.
                Err(error) if error.kind() == ErrorKind::InvalidArgument => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Returns the relation whose home holds the topmost foreign path of `source`.
fn stacked_upon(
    source: &VolumeSource,
    own: &ContainerKey,
    relations: &[ContainerKey],
) -> Option<ContainerKey> {
    let own = own.home();
    let foreign = source.paths().find(|path| !path.starts_with(&own))?;
    relations.iter().find(|key| foreign.starts_with(key.home())).cloned()
}

/// Returns whose snapshot a relation names: LXC writes a snapshot down as a container in the lxcpath `<home>/snaps`.
pub(super) fn owner_of_snapshot(key: &ContainerKey) -> Option<ContainerKey> {
    let home = key.lxcpath.parent().filter(|_| key.lxcpath.ends_with("snaps"))?;
    let name = ContainerName::existing(home.file_name()?.to_str()?).ok()?;
    home.join("config").exists().then_some(ContainerKey { lxcpath: home.parent()?.to_owned(), name })
}

/// Returns how LXC writes a snapshot down in relations.
pub(super) fn snapshot_as_container(key: &ContainerKey, name: &SnapshotName) -> Result<ContainerKey> {
    Ok(ContainerKey { lxcpath: key.home().join("snaps"), name: ContainerName::existing(name.as_str())? })
}

/// Returns the error for a container that is not there.
pub(super) fn no_container(key: &ContainerKey) -> Error {
    let lxcpath: PathBuf = key.lxcpath.clone();
    Error::new(
        ErrorKind::NotFound,
        format!("there is no container `{}` in `{}`", key.name, lxcpath.display()),
    )
    .with_hint("`keiki ls` shows what there is; `-P` chooses another lxcpath")
}
