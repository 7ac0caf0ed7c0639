//! Makes an empty volume with a file system, and takes one of LXC's into our keeping.

use std::fs::OpenOptions;

use keiki_core::context::Context;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_filesystem::{Labels, make};

use crate::mark::{self, Mark};
use crate::place::Place;
use crate::report::{self, foreign, missing};
use crate::spec::Spec;
use crate::tool::{self, Cut, lvm, run};
use crate::{destroy, pool};

/// Makes `volume`; see `BackingStore::create`.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    let (place, spec) = (Place::of(volume)?, Spec::parse(&volume.properties)?);
    spec.new_fstype().require_tools()?;
    if let Some(name) = &spec.thinpool {
        pool::admit(context, &place.vg, name, spec.limits)?;
    }
    match cut_out(context, volume.id, &place, &spec) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !clear_way(context, volume, &place)? {
                return Ok(());
            }
            cut_out(context, volume.id, &place, &spec)?;
        }
        Err(error) => return Err(error),
    }
    make(context, spec.new_fstype(), &place.device(), Labels::default())?;
    tool::deactivate(context, &place, volume.id)?;
    tool::finish(context, &place, volume.id)
}

fn cut_out(context: &Context, id: VolumeId, place: &Place, spec: &Spec) -> Result<()> {
    context.step("lvm.create")?;
    let cut = spec.thinpool.as_deref().map_or(Cut::Plain, Cut::Thin);
    run(context, lvm("lvcreate").args(["-qq"]).args(tool::create(place, id, spec.size, cut)), place).map(drop)
}

/// Deals with what stands at a place where something was to be made: returns whether it can be made now, or is there already.
///
/// # Errors
/// `Foreign` for what is not this volume's.
pub(crate) fn clear_way(context: &Context, volume: &Volume, place: &Place) -> Result<bool> {
    match report::one(context, place)? {
        None => Ok(true),
        Some(found) if found.mark == Mark::Complete(volume.id) => Ok(false),
        // What an interrupted attempt left is of unknown content.
        Some(found) if found.mark == Mark::Partial(volume.id) => {
            destroy::destroy(context, volume)?;
            Ok(true)
        }
        Some(found) => Err(foreign(place, found.mark)),
    }
}

/// Marks a volume of LXC; see `BackingStore::adopt`.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let place = Place::of(volume)?;
    let found = report::one(context, &place)?.ok_or_else(|| missing(&place))?;
    let unmark = match found.mark {
        Mark::Complete(id) if id == volume.id => return Ok(()),
        Mark::None => None,
        Mark::Complete(id) if Some(id) == copied => Some(mark::complete(id)),
        mark => return Err(foreign(&place, mark)),
    };
    context.step("lvm.adopt")?;
    let mut call = lvm("lvchange").args(["-qq", "--addtag", &mark::complete(volume.id)]);
    if let Some(tag) = unmark {
        call = call.args(["--deltag", &tag]);
    }
    run(context, call.arg(place.full()), &place).map(drop)
}

/// Writes back what the kernel still holds of the devices that are active; the metadata of LVM and of pools is written through.
pub(crate) fn sync(volumes: &[Volume]) -> Result<()> {
    for volume in volumes {
        let device = Place::of(volume)?.device();
        let shown = || format!("cannot write back `{}`", device.display());
        match OpenOptions::new().read(true).open(&device) {
            Ok(file) => file.sync_all().or_err(shown)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(shown(), error)),
        }
    }
    Ok(())
}
