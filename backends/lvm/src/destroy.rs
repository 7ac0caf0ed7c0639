//! Removes a volume, and never what hangs on it: `lvremove` of a plain origin would take its snapshots along.

use keiki_core::context::Context;
use keiki_core::store::Destroyed;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};

use crate::place::Place;
use crate::report::{self, Lv, Sort, foreign};
use crate::tool::{self, lvm, run};
use crate::{attach, holders};

/// Removes `volume`; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let place = Place::of(volume)?;
    context.step("lvm.remove")?;
    attach::close(&place);
    // By tag and sort, evaluated under LVM's lock: nothing else can be hit, whatever happened since anybody looked.
    let selection = format!("{} && lv_role!=thickorigin", tool::ours(&place, volume.id));
    let call = lvm("lvremove").args(["-y", "--select", &selection]).arg(&place.vg);
    let answer = run(context, call, &place).map_err(|error| in_use(error, &place))?;
    if String::from_utf8_lossy(&answer.stdout).contains("successfully removed") {
        return Ok(Destroyed::Removed);
    }
    let Some(found) = report::one(context, &place)? else { return Ok(Destroyed::Absent) };
    if found.mark.id() != Some(volume.id) {
        return Err(foreign(&place, found.mark));
    }
    Err(needed(&place, &snapshots_of(context, &place)?))
}

fn in_use(error: Error, place: &Place) -> Error {
    if error.kind() == ErrorKind::Busy { holders::named(error, place) } else { error }
}

fn snapshots_of(context: &Context, place: &Place) -> Result<Vec<Lv>> {
    let mut all = report::of_group(context, &place.vg, None)?;
    all.retain(|lv| lv.sort == Sort::Snapshot(place.lv.clone()));
    Ok(all)
}

fn needed(place: &Place, snapshots: &[Lv]) -> Error {
    let names: Vec<String> = snapshots.iter().map(|lv| lv.place.full()).collect();
    let names = names.join(", ");
    Error::new(ErrorKind::HasDependents, format!("`{}` is the origin of {names}", place.full()))
        .with_context("dependents", names)
        .with_hint("destroy those first; LVM would remove them with it")
}
