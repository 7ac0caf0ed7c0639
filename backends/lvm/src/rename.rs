//! Another name for a volume. The device of an active one follows; what is mounted stays mounted.

use keiki_core::context::Context;
use keiki_core::volume::{Volume, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::attach;
use crate::mark::Mark;
use crate::place::Place;
use crate::report::{self, foreign, missing};
use crate::tool::{lvm, run};

/// Moves the object of `volume` to `target`; see `Rename::rename`.
pub(crate) fn rename(context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
    let (from, to) = (Place::of(volume)?, Place::of(&Volume::new(volume.id, target.clone()))?);
    if from == to {
        return Ok(());
    }
    if from.vg != to.vg {
        let text = format!("`{}` cannot become `{}` by another name", from.full(), to.full());
        return Err(Error::new(ErrorKind::Unsupported, text).with_hint("copy instead: `keiki clone --copy`"));
    }
    let found = report::of_group(context, &from.vg, Some(&[from.lv.as_str(), to.lv.as_str()]))?;
    let mark_at = |place: &Place| found.iter().find(|lv| lv.place == *place).map(|lv| lv.mark);
    let is_ours = |mark: Mark| mark.id() == Some(volume.id);
    match (mark_at(&from), mark_at(&to)) {
        (_, Some(mark)) if is_ours(mark) => return Ok(()),
        (_, Some(mark)) => return Err(foreign(&to, mark)),
        (None, None) => return Err(missing(&from)),
        (Some(mark), None) if !is_ours(mark) => return Err(foreign(&from, mark)),
        (Some(_), None) => {}
    }
    context.step("lvm.rename")?;
    attach::close(&from);
    let renamed = run(context, lvm("lvrename").arg("-qq").args([&from.vg, &from.lv, &to.lv]), &from);
    match renamed {
        // Somebody took the name since we looked.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match report::one(context, &to)? {
            Some(lv) if is_ours(lv.mark) => Ok(()),
            Some(lv) => Err(foreign(&to, lv.mark)),
            None => Err(error),
        },
        other => other.map(drop),
    }
}
