//! The stores of this repository and the file systems that each is tried on.

use std::sync::Arc;

use keiki_btrfs::BtrfsStore;
use keiki_core::reference::ReferenceOptions;
use keiki_dir::DirStore;
use keiki_loop::LoopStore;
use keiki_overlay::OverlayStore;

use super::reference::reference;
use super::{FileSystem, ImageRig, LvmRig, LvmSort, PathRig, Rig, ZfsRig};

/// Returns the rigs of the stores in this repository.
#[must_use]
pub fn in_tree() -> Vec<Box<dyn Rig>> {
    use FileSystem::{Btrfs, Native, Tmpfs, Xfs};
    vec![
        Box::new(dir(Native)),
        Box::new(dir(Xfs)),
        Box::new(dir(Tmpfs)),
        Box::new(overlay(Native)),
        Box::new(overlay(Btrfs)),
        Box::new(overlay(Tmpfs)),
        Box::new(PathRig::new(Arc::new(BtrfsStore::new()), Btrfs).with_companion(Arc::new(DirStore::new()))),
        Box::new(ZfsRig::new()),
        Box::new(LvmRig::new(LvmSort::Plain)),
        Box::new(LvmRig::new(LvmSort::Thin)),
        Box::new(images(Native)),
        Box::new(images(Xfs)),
        Box::new(images(Btrfs)),
        Box::new(reference("independent", ReferenceOptions::independent())),
        Box::new(reference("independent-in-home", ReferenceOptions::independent().in_home())),
        Box::new(reference("freezing", ReferenceOptions::freezing().in_home())),
        Box::new(reference("deferring", ReferenceOptions::deferring())),
        Box::new(reference("refusing", ReferenceOptions::refusing())),
        Box::new(reference("copying", ReferenceOptions::copying().in_home())),
        // Called as lvm (thin, plain) and zfs call volumes: a name can be in the way, and a snapshot moves with its head.
        Box::new(reference("independent-by-name", ReferenceOptions::independent().plainly_named())),
        Box::new(reference("refusing-by-name", ReferenceOptions::refusing().plainly_named())),
        Box::new(reference("deferring-by-name", ReferenceOptions::deferring().plainly_named())),
    ]
}

fn dir(file_system: FileSystem) -> PathRig {
    PathRig::new(Arc::new(DirStore::new()), file_system).with_companion(Arc::new(OverlayStore::new()))
}

fn overlay(file_system: FileSystem) -> PathRig {
    PathRig::new(Arc::new(OverlayStore::new()), file_system).with_companion(Arc::new(DirStore::new()))
}

fn images(file_system: FileSystem) -> ImageRig {
    ImageRig::new(Arc::new(LoopStore::new()), file_system).with_companion(Arc::new(DirStore::new()))
}
