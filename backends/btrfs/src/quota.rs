//! Limits what a volume may hold.
//!
//! The limit is on what the volume's own subvolume references. Subvolumes that a container makes inside have groups of their own
//! and are not limited by it.

use std::os::fd::AsFd;

use keiki_core::context::Context;
use keiki_core::homes::Entry;
use keiki_core::store::Presence;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs;
use rustix::io::Errno;

use crate::subvolume::{self, not_ours, opened, presence};

/// Sets or lifts the limit of `volume`; see `Quota::set_quota`.
pub(crate) fn set(context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()> {
    let place = subvolume::require(volume)?;
    match presence(&place)? {
        Presence::Complete(id) if id == volume.id => {}
        Presence::Absent => return Err(subvolume::missing(place.path())),
        Presence::Complete(_) | Presence::Partial | Presence::Foreign => return Err(not_ours(&place)),
    }
    let root = opened(&place)?;
    let shown = || format!("cannot limit the subvolume `{}`", place.path().display());
    let tree_id = btrfs::subvolume_info(root.as_fd()).or_err(shown)?.tree_id;
    context.step("btrfs.quota")?;
    let set = btrfs::limit_subvolume(root.as_fd(), tree_id, limit.map(|bytes| bytes.0));
    if set.as_ref().err().and_then(Errno::from_io_error) != Some(Errno::NOTCONN) {
        return set.or_err(shown);
    }
    let place = place.path().parent().unwrap_or(place.path()).display();
    Err(Error::new(ErrorKind::Unavailable, format!("{}: its file system keeps no quotas", shown()))
        .with_hint(format!(
            "`btrfs quota enable --simple {place}`; before btrfs-progs 6.7 `btrfs quota enable {place}`"
        )))
}

/// Returns the limit that is set; see `Quota::limit_of`.
///
/// In a user namespace nobody shows it to us, and nobody would let us set it: `None`.
pub(crate) fn limit_of(volume: &Volume) -> Result<Option<Bytes>> {
    let Some(place) = subvolume::find(volume)? else { return Ok(None) };
    let Entry::Object(root) = place.entry()? else { return Ok(None) };
    let shown = || format!("cannot read the limit of the subvolume `{}`", place.path().display());
    let tree_id = btrfs::subvolume_info(root.as_fd()).or_err(shown)?.tree_id;
    match btrfs::quota_group(root.as_fd(), tree_id) {
        Ok(group) => Ok(group.and_then(|group| group.limit).map(Bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error).or_err(shown),
    }
}
