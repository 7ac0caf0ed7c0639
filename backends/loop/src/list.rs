//! Finding our images in an lxcpath: by their marks, in every home.

use keiki_core::homes::{self, Shape, as_path, marked};
use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};

use crate::store::{IMAGE, KIND};

/// Returns every marked `<pool>/*/rootdev` and `<pool>/*/snaps/*/rootdev`.
pub(crate) fn list(pool: &Pool) -> Result<Vec<Found>> {
    homes::list(&pool.path, |home, path| {
        let shown = || format!("cannot read `{}`", path.display());
        let id = marked(home, IMAGE, Shape::File).or_err(shown)?;
        // A path that no configuration can name is no place of ours.
        let source = VolumeSource::at_path(StoreKind::new(KIND), &path.join(as_path(IMAGE)));
        Ok(id.and_then(|id| source.ok().map(|source| Found { id, source })))
    })
}
