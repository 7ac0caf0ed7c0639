//! The options of the user, checked: btrfs takes none.

use keiki_core::volume::{Placement, StoreKind, Volume, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

/// The word in front of sources.
pub(crate) const KIND: &str = "btrfs";

/// Chooses the place of a volume: the subvolume `rootfs` in its home.
pub(crate) fn place(placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
    if let Some(other) = origin.map(Volume::kind).filter(|kind| kind.as_str() != KIND) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the btrfs store cannot clone a {other} volume"),
        )
        .with_hint("copy instead: `keiki clone --copy --bdev btrfs`"));
    }
    if let Some(option) = placement.options.keys().next() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the btrfs store has no option `{option}`"),
        )
        .with_hint("leave it out; the file system of the lxcpath decides everything"));
    }
    VolumeSource::at_path(StoreKind::new(KIND), &placement.home.join("rootfs"))
}
