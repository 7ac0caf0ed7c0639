//! Rigs of the reference store: the lineage of every kind of store, without any of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::Result;
use keiki_core::reference::{ReferenceDisk, ReferenceOptions, ReferenceStore};
use keiki_core::volume::Volume;

use super::{Direct, FileSystem, PathRig};

struct Memory(Arc<ReferenceStore>);

impl Direct for Memory {
    fn write(&self, volume: &Volume, path: &Path, content: &[u8]) -> Result<()> {
        self.0.write(volume, &path.to_string_lossy(), content)
    }

    fn read(&self, volume: &Volume) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        self.0.contents(volume)
    }
}

/// Returns the rig of a reference store called `title`; every case gets a disk of its own.
pub(super) fn reference(title: &'static str, options: ReferenceOptions) -> PathRig {
    let store = Arc::new(ReferenceStore::new(options.clone(), &ReferenceDisk::new()));
    let direct = Box::new(Memory(Arc::clone(&store)));
    let rig = PathRig::new(store, FileSystem::Tmpfs).called(title).in_memory(direct);
    rig.renewed_by(move || reference(title, options.clone()))
}
