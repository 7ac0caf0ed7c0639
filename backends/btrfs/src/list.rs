//! Finding our volumes in an lxcpath: by their marks, below every home.

use std::path::Path;

use keiki_core::homes::{self, enter};
use keiki_core::store::{Found, Presence};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};

use crate::{spec, subvolume};

/// Returns every marked `<pool>/*/rootfs` and `<pool>/*/snaps/*/rootfs`.
pub(crate) fn list(pool: &Path) -> Result<Vec<Found>> {
    homes::list(pool, |home, path| {
        let shown = || format!("cannot read `{}`", path.display());
        let Some(root) = enter(home, c"rootfs").or_err(shown)? else { return Ok(None) };
        let Presence::Complete(id) = subvolume::presence_of(&root).map_err(|e| e.while_doing(shown()))?
        else {
            return Ok(None);
        };
        // A path that no configuration can name is no place of ours.
        let source = VolumeSource::at_path(StoreKind::new(spec::KIND), &path.join("rootfs"));
        Ok(source.ok().map(|source| Found { id, source }))
    })
}
