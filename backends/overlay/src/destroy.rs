//! Removing volumes, and telling what is there.
//!
//! Order: the upper layer goes aside (from then on the volume is partial), then scratch and the own base go, the layer
//! aside last. An interruption leaves a name or a mark with the volume's id, so that the next attempt goes on.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;

use keiki_core::context::Context;
use keiki_core::store::{Destroyed, Presence};
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, chmod, openat};

use crate::create::{remove_above, work_name};
use crate::layers::Layers;
use crate::spot::{DIRECTORY, Seen, Spot, foreign};

/// Removes what the volume owns: its upper layer, its scratch directory and its own base. Other layers stay.
pub(crate) fn destroy(context: &Context, volume: &Volume) -> Result<Destroyed> {
    let layers = Layers::of(volume)?;
    let upper = Spot::upper(&layers.upper, volume.id)?;
    match presence(volume)? {
        Presence::Absent => return Ok(Destroyed::Absent),
        Presence::Complete(id) if id != volume.id => return Err(refuse(&layers, volume.id)?),
        Presence::Foreign => return Err(refuse(&layers, volume.id)?),
        Presence::Partial | Presence::Complete(_) => {}
    }
    if let Some(upper) = &upper {
        put_upper_aside(context, upper)?;
        if upper.is_aside()? {
            context.step("destroy.work")?;
            remove_work(context, upper, &layers)?;
        }
    }
    if let Some(base) = base_of(&layers, volume.id)? {
        remove_base(context, &base)?;
    }
    if let Some(upper) = &upper {
        context.step("destroy.remove")?;
        upper.remove_aside(context)?;
        remove_above(&layers);
    }
    Ok(Destroyed::Removed)
}

/// Tells what is at the volume's place.
pub(crate) fn presence(volume: &Volume) -> Result<Presence> {
    let layers = Layers::of(volume)?;
    let mut is_foreign = false;
    if let Some(upper) = Spot::upper(&layers.upper, volume.id)? {
        match upper.look()? {
            Seen::Ours(_) => return Ok(Presence::Complete(volume.id)),
            // A complete volume of another id is no remains of ours, even if an attempt of ours stands beside it.
            Seen::Other(_, Some(mark)) if !upper.is_aside()? => {
                return Ok(mark.parse().map_or(Presence::Foreign, Presence::Complete));
            }
            Seen::Other(..) | Seen::NoDirectory => is_foreign = true,
            Seen::Nothing => {}
        }
        if upper.is_aside()? {
            return Ok(Presence::Partial);
        }
    }
    if let Some(base) = base_of(&layers, volume.id)? {
        match base.look()? {
            Seen::Ours(_) => return Ok(Presence::Partial),
            _ if base.is_aside()? => return Ok(Presence::Partial),
            Seen::Nothing => {}
            Seen::Other(..) | Seen::NoDirectory => is_foreign = true,
        }
    }
    Ok(if is_foreign { Presence::Foreign } else { Presence::Absent })
}

fn base_of(layers: &Layers, id: VolumeId) -> Result<Option<Spot>> {
    layers.own_base().map_or(Ok(None), |base| Spot::base(base, id))
}

/// Returns the refusal of whatever foreign is in place.
fn refuse(layers: &Layers, id: VolumeId) -> Result<Error> {
    let spots = [Spot::upper(&layers.upper, id)?, base_of(layers, id)?];
    for spot in spots.into_iter().flatten() {
        match spot.look()? {
            Seen::Nothing | Seen::Ours(_) => {}
            seen => return Ok(spot.foreign(&seen)),
        }
    }
    Ok(foreign(&layers.upper, "was in the way and is gone"))
}

fn put_upper_aside(context: &Context, upper: &Spot) -> Result<()> {
    match upper.look()? {
        Seen::Ours(_) => {
            // Only an interrupted attempt to make the same volume can have left something there.
            upper.remove_aside(context)?;
            context.step("destroy.aside")?;
            upper.put_aside()
        }
        // Remains of ours beside something foreign still go; what is in place stays.
        Seen::Nothing | Seen::Other(..) | Seen::NoDirectory => Ok(()),
    }
}

/// Removes the scratch directory, unless it belongs to somebody else whose layer is in place.
fn remove_work(context: &Context, upper: &Spot, layers: &Layers) -> Result<()> {
    if !matches!(upper.look()?, Seen::Nothing) {
        return Ok(());
    }
    let name = work_name(layers);
    match upper.remove(context, &name) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_scratch(upper, &name);
            upper.remove(context, &name)
        }
        other => other,
    }
}

/// Lets the owner into `work/work`, which the kernel makes with mode 000; only root does not need it.
fn open_scratch(upper: &Spot, name: &OsStr) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(&upper.parent, name, DIRECTORY, Mode::empty())
        .and_then(|work| openat(&work, "work", flags, Mode::empty()));
    if let Ok(inner) = opened {
        // The removal that follows says what is still wrong.
        let _best_effort = chmod(format!("/proc/self/fd/{}", inner.as_raw_fd()), Mode::RWXU);
    }
}

fn remove_base(context: &Context, base: &Spot) -> Result<()> {
    context.step("destroy.base")?;
    if matches!(base.look()?, Seen::Ours(_)) {
        base.remove_aside(context)?;
        base.put_aside()?;
    }
    base.remove_aside(context)
}
