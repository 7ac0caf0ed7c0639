//! Activation: a volume's device exists while it is attached, and at no other time.
//!
//! A plain volume with snapshots is active or not as a whole family, so detaching one member may take the device of
//! another away that is attached and not mounted yet. What is attached is therefore held open by this process until it is
//! detached; LVM does not deactivate what is open.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_filesystem::{Duplicate, FileSystemType, mount_options, probe};

use crate::holders;
use crate::mark::Mark;
use crate::place::Place;
use crate::report::{self, Lv, Sort, foreign, missing};
use crate::spec::Spec;
use crate::tool;

/// Plain volumes that this process attached.
static HELD: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// Activates a volume and tells how to mount it; see `BackingStore::attach`.
pub(crate) fn attach(context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    let (place, spec) = (Place::of(volume)?, Spec::parse(&volume.properties)?);
    let device = place.device();
    context.step("lvm.activate")?;
    tool::activate(context, &place, volume.id)?;
    if spec.thinpool.is_none() || !device.exists() {
        let found = report::one(context, &place)?.ok_or_else(|| missing(&place))?;
        require_usable(&found, volume.id)?;
    }
    if spec.thinpool.is_none() {
        hold(&device)?;
    }
    let fstype = match spec.fstype {
        Some(known) => known,
        None => recognise(&place)?,
    };
    let device = device.to_str().ok_or_else(|| Error::new(ErrorKind::Internal, "a device is not UTF-8"))?;
    Ok(MountPlan {
        recipe: MountRecipe::Filesystem {
            fstype: fstype.to_string(),
            device: device.to_owned(),
            options: mount_options(fstype, Duplicate::Possible),
        },
        read_only: mode == AttachMode::ReadOnly,
    })
}

/// Refuses what is not ours or can no longer be read.
fn require_usable(found: &Lv, id: VolumeId) -> Result<()> {
    if found.mark.id() != Some(id) {
        return Err(foreign(&found.place, found.mark));
    }
    if let (true, Sort::Snapshot(origin)) = (found.is_invalid, &found.sort) {
        return Err(overflown(&found.place, origin));
    }
    if found.is_active {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, format!("LVM does not activate `{}`", found.place.full()))
        .with_hint("look at `activation/volume_list` in `/etc/lvm/lvm.conf`, and at `lvs -a`"))
}

fn overflown(place: &Place, origin: &str) -> Error {
    let text = format!(
        "the snapshot `{}` has overflown: `{}/{origin}` changed more than it could keep",
        place.full(),
        place.vg
    );
    Error::new(ErrorKind::Corrupt, text)
        .with_hint("its content is lost; destroy it")
        .with_hint("snapshots of 100 % of their origin, as they are without `snapsize`, cannot overflow")
}

/// What a volume holds of which nobody said it: one that LXC made.
fn recognise(place: &Place) -> Result<FileSystemType> {
    match probe(&place.device())? {
        Some(found) => Ok(found.fstype),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{}` holds no file system that keiki knows", place.full()),
        )
        .with_hint(format!("it knows ext4, xfs and btrfs; look at `blkid {}`", place.device().display()))),
    }
}

/// Undoes what `attach` activated; see `BackingStore::detach`.
pub(crate) fn detach(context: &Context, volume: &Volume) -> Result<()> {
    let place = Place::of(volume)?;
    close(&place);
    if !place.device().exists() {
        return Ok(());
    }
    context.step("lvm.deactivate")?;
    let_go(context, &place, volume.id)
}

/// Deactivates a volume, unless another member of its family is in use: then it stays active with that one.
pub(crate) fn let_go(context: &Context, place: &Place, id: VolumeId) -> Result<()> {
    let Err(error) = tool::deactivate(context, place, id) else { return Ok(()) };
    if error.kind() != ErrorKind::Busy {
        return Err(error);
    }
    match report::one(context, place)? {
        Some(found) if found.is_open => Err(holders::named(error, place)),
        Some(found) if matches!(found.mark, Mark::None) => Err(foreign(place, found.mark)),
        _ => Ok(()),
    }
}

/// Runs `effect` while the device of a volume that is anybody's is there. Nothing of it is changed.
pub(crate) fn while_active<T>(context: &Context, lv: &Lv, effect: impl FnOnce() -> Result<T>) -> Result<T> {
    if lv.is_active {
        return effect();
    }
    let change = |how: &str| {
        let call = tool::lvm("lvchange").args(["-qq", "-y", how, "-K"]).arg(lv.place.full());
        tool::run(context, call, &lv.place).map(drop)
    };
    change("-ay")?;
    let done = effect();
    // Who opened it meanwhile needs it.
    match change("-an") {
        Err(error) if error.kind() != ErrorKind::Busy => done.and(Err(error)),
        _ => done,
    }
}

fn hold(device: &PathBuf) -> Result<()> {
    let file = File::open(device).or_err(|| format!("cannot open `{}`", device.display()))?;
    HELD.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), file);
    Ok(())
}

/// Lets a device go that this process held open.
pub(crate) fn close(place: &Place) {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&place.device());
    drop(held);
}
