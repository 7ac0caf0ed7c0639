//! How a dataset becomes a root file system: zfs is mounted by name, and a snapshot only for reading.

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::volume::Volume;

use crate::create::require;
use crate::tool;

/// Returns the plan for a mount; see `BackingStore::attach`.
pub(crate) fn attach(context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    let (place, sight) = tool::look_at(context, volume)?;
    require(&place, volume, &sight)?;
    let is_snapshot = place.snapshot.is_some();
    // All mounts of a dataset share one file system, which is either writable or not: one more that only reads must not ask for
    // another kind than the container has. The mount itself refuses writes.
    let options = if is_snapshot { Vec::new() } else { vec!["rw".to_owned()] };
    Ok(MountPlan {
        recipe: MountRecipe::Filesystem { fstype: "zfs".to_owned(), device: place.name(), options },
        read_only: is_snapshot || mode == AttachMode::ReadOnly,
    })
}
