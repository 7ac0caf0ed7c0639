//! New names: for a container that was renamed, and for a former head that others still need.

use keiki_core::context::Context;
use keiki_core::store::Presence;
use keiki_core::volume::{Volume, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::busy::name_holders;
use crate::create::{foreign, missing, presence};
use crate::dataset::{self, Place};
use crate::tool;

/// Returns where a volume lives while only others need it. A snapshot's own name is in nobody's way.
pub(crate) fn aside(volume: &Volume) -> Result<VolumeSource> {
    let place = Place::of(volume)?;
    match (&place.snapshot, place.parent()) {
        (None, Some(parent)) => dataset::dataset_source(parent, &dataset::ghost_name(volume.id)),
        (Some(_), _) => Ok(volume.source.clone()),
        (None, None) => {
            let message = format!("`{}` is a pool and cannot be put aside", place.dataset);
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

/// Returns where a volume is after the object at `moved` went to `target`: a dataset takes what is in it along.
pub(crate) fn follow(volume: &Volume, moved: &VolumeSource, target: &VolumeSource) -> Result<VolumeSource> {
    if volume.source.kind() != moved.kind() {
        return Ok(volume.source.clone());
    }
    match volume.source.location().strip_prefix(moved.location()) {
        Some("") => Ok(target.clone()),
        Some(rest) if rest.starts_with(['@', '/']) => dataset::source(format!("{}{rest}", target.location())),
        Some(_) | None => Ok(volume.source.clone()),
    }
}

/// Moves the object of `volume` to `target`; see `Rename::rename`.
pub(crate) fn rename(context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()> {
    if volume.source == *target {
        return Ok(());
    }
    let moved = Volume { source: target.clone(), ..volume.clone() };
    let (from, to) = (Place::of(volume)?, Place::of(&moved)?);
    let (old, new) = (from.name(), to.name());
    let sight = tool::look(context, &[&old, &new])?;
    match presence(&to, &moved, &sight) {
        Presence::Complete(id) if id == volume.id => return Ok(()),
        Presence::Absent => {}
        Presence::Complete(_) | Presence::Partial | Presence::Foreign => return Err(foreign(&to, &sight)),
    }
    match presence(&from, volume, &sight) {
        Presence::Complete(id) if id == volume.id => {}
        Presence::Absent | Presence::Partial => return Err(missing(&from)),
        Presence::Complete(_) | Presence::Foreign => return Err(foreign(&from, &sight)),
    }
    context.step("zfs.rename")?;
    // Mounts are left as they are: they belong to whoever made them.
    let arguments: &[&str] =
        if from.snapshot.is_some() { &["rename", &old, &new] } else { &["rename", "-u", &old, &new] };
    tool::insist(context, arguments, "rename", &old).map(drop).map_err(|error| name_holders(error, &old))
}

#[cfg(test)]
mod tests {
    use keiki_core::volume::VolumeId;

    use super::*;

    fn volume(source: &str) -> Volume {
        Volume::new(VolumeId::generate(), source.parse().unwrap())
    }

    #[test]
    fn snapshots_move_with_their_dataset_and_nothing_else_does() {
        let (moved, target) =
            ("zfs:t/web1".parse().unwrap(), "zfs:t/keiki-ghost-0123456789ab".parse().unwrap());
        let at = |source: &str| follow(&volume(source), &moved, &target).unwrap().to_string();
        assert_eq!(at("zfs:t/web1"), "zfs:t/keiki-ghost-0123456789ab");
        assert_eq!(at("zfs:t/web1@keiki-x"), "zfs:t/keiki-ghost-0123456789ab@keiki-x");
        assert_eq!(at("zfs:t/web1/data"), "zfs:t/keiki-ghost-0123456789ab/data");
        assert_eq!(at("zfs:t/web11@keiki-x"), "zfs:t/web11@keiki-x");
        assert_eq!(at("zfs:t/web2"), "zfs:t/web2");
        assert_eq!(at("dir:/t/web1"), "dir:/t/web1");
    }

    #[test]
    fn a_head_goes_aside_and_a_snapshot_stays() {
        let head = volume("zfs:t/lxc/web1");
        let ghost = aside(&head).unwrap();
        assert_eq!(ghost.to_string(), format!("zfs:t/lxc/keiki-ghost-{}", head.id.short()));
        let again = Volume { source: ghost.clone(), ..head };
        assert_eq!(aside(&again).unwrap(), ghost);
        let snapshot = volume("zfs:t/lxc/web1@keiki-0123456789ab");
        assert_eq!(aside(&snapshot).unwrap(), snapshot.source);
        assert!(aside(&volume("zfs:tank")).is_err());
    }
}
