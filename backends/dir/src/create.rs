//! Making volumes: aside, filled, marked, and then renamed into place.

use keiki_core::context::Context;
use keiki_core::homes::{MakeSteps, Place, Shape};
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use rustix::fs::{Mode, fchmod};

const CREATE: MakeSteps = MakeSteps { make: "create.mkdir", mark: "create.mark", publish: "create.publish" };

/// Makes an empty volume.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    Place::of_new(volume, Shape::Directory)?.make(context, &CREATE, |root| {
        // Not `mkdir`'s mode, which the umask narrows.
        fchmod(root, Mode::from_raw_mode(0o755)).or_err(|| format!("cannot open up `{}`", volume.source))
    })
}
