//! Larger while it runs, smaller while it does not (ext4 alone). Growing makes the volume larger first, shrinking the file system:
//! killed in between, the volume is larger than the file system, which harms nothing and which a repetition finishes.

use std::fs::File;
use std::os::fd::AsFd;

use keiki_core::context::Context;
use keiki_core::store::Resized;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};
use keiki_filesystem::{FileSystemType, Reached, grow, probe, shrink};

use crate::place::Place;
use crate::report::{self, Lv, Sort, foreign, missing};
use crate::spec::Spec;
use crate::tool::{lvm, run};
use crate::{attach, holders, tool};

/// Makes `volume` at least `size` large; see `Resize::resize`.
pub(crate) fn resize(context: &Context, volume: &Volume, size: Bytes) -> Result<Resized> {
    let (place, spec) = (Place::of(volume)?, Spec::parse(&volume.properties)?);
    let all = report::of_group(context, &place.vg, None)?;
    let lv = all.iter().find(|lv| lv.place == place).ok_or_else(|| missing(&place))?;
    if lv.mark.id() != Some(volume.id) {
        return Err(foreign(&place, lv.mark));
    }
    refuse_family(lv, &all)?;
    let target = rounded(size, lv.extent)?;
    let mounted = holders::mounted_root(&place);
    if target < lv.size {
        smaller(context, volume, &spec, &place, target, mounted.as_ref())?;
    } else {
        larger(context, volume, &spec, lv, target, mounted.as_ref())?;
    }
    let mut properties = volume.properties.clone();
    properties.insert("fssize".to_owned(), target.0.to_string());
    Ok(Resized { size: target, properties })
}

/// A snapshot has the size of its origin, and would be too small for one that grows.
fn refuse_family(lv: &Lv, all: &[Lv]) -> Result<()> {
    let full = lv.place.full();
    let refuse = |text: String, hint: &str| Err(Error::new(ErrorKind::Unsupported, text).with_hint(hint));
    if let Sort::Snapshot(origin) = &lv.sort {
        let text = format!("`{full}` is a snapshot of `{origin}` and has its size");
        return refuse(text, "make it independent first: `keiki flatten`");
    }
    let is_snapshot = |other: &&Lv| other.sort == Sort::Snapshot(lv.place.lv.clone());
    let snapshots: Vec<String> = all.iter().filter(is_snapshot).map(|other| other.place.full()).collect();
    if snapshots.is_empty() {
        return Ok(());
    }
    let text = format!("`{full}` has snapshots, which are as large as it was: {}", snapshots.join(", "));
    refuse(text, "destroy them first, or `keiki clone --copy` with another `--fssize`")
}

/// LVM gives whole extents.
fn rounded(size: Bytes, extent: Bytes) -> Result<Bytes> {
    let extents = size.0.div_ceil(extent.0.max(1)).max(1);
    extents.checked_mul(extent.0).map(Bytes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("{} bytes are more than any volume holds", size.0))
    })
}

fn larger(
    context: &Context,
    volume: &Volume,
    spec: &Spec,
    lv: &Lv,
    target: Bytes,
    mounted: Option<&File>,
) -> Result<()> {
    let place = &lv.place;
    if target > lv.size {
        context.step("lvm.extend")?;
        let size = format!("{}b", target.0);
        run(context, lvm("lvextend").args(["-qq", "-y", "-L", &size]).arg(place.full()), place)?;
    }
    if let Some(root) = mounted {
        let fstype = known(spec, place)?;
        return grow(context, fstype, Reached::Mounted(root.as_fd())).map(drop);
    }
    active(context, volume, place, || grow(context, known(spec, place)?, Reached::Device(&place.device())))
}

fn smaller(
    context: &Context,
    volume: &Volume,
    spec: &Spec,
    place: &Place,
    target: Bytes,
    mounted: Option<&File>,
) -> Result<()> {
    if mounted.is_some() {
        let text = format!("`{}` is mounted, and no file system shrinks then", place.full());
        return Err(holders::named(Error::new(ErrorKind::Busy, text), place));
    }
    active(context, volume, place, || {
        shrink(context, known(spec, place)?, &place.device(), target)?;
        context.step("lvm.reduce")?;
        // While it is active, LVM looks itself whether the file system would be cut.
        let size = format!("{}b", target.0);
        run(context, lvm("lvreduce").args(["-qq", "-y", "-L", &size]).arg(place.full()), place)
    })
}

/// Runs `effect` while the device is there.
fn active<T>(
    context: &Context,
    volume: &Volume,
    place: &Place,
    effect: impl FnOnce() -> Result<T>,
) -> Result<()> {
    tool::activate(context, place, volume.id)?;
    let done = effect();
    let ended = attach::let_go(context, place, volume.id);
    done.map(drop).and(ended)
}

fn known(spec: &Spec, place: &Place) -> Result<FileSystemType> {
    let found = || probe(&place.device()).map(|found| found.map(|superblock| superblock.fstype));
    match spec.fstype {
        Some(fstype) => Ok(fstype),
        None => found()?.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("`{}` holds no file system that keiki knows", place.full()),
            )
            .with_hint("it knows ext4, xfs and btrfs")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_to_whole_extents() {
        let extent = Bytes(4 << 20);
        assert_eq!(rounded(Bytes(1), extent).unwrap(), extent);
        assert_eq!(rounded(Bytes(8 << 20), extent).unwrap(), Bytes(8 << 20));
        assert_eq!(rounded(Bytes((8 << 20) + 1), extent).unwrap(), Bytes(12 << 20));
        assert_eq!(rounded(Bytes(u64::MAX), extent).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
