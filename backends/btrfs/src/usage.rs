//! Measuring volumes, and making them durable.
//!
//! | quotas of the file system | referenced | exclusive | said to be |
//! |---|---|---|---|
//! | full, counted | as accounted | as accounted | exact |
//! | full, being counted or lost | as accounted | as accounted | approximate |
//! | simple (`squota`) | by a walk: what was inherited is not accounted | what the volume itself wrote | approximate |
//! | off, or unreadable in a user namespace | by a walk | unknown | approximate |
//!
//! Subvolumes inside are counted with their volume; space that only they share among them makes `exclusive` a lower bound.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::homes::{self, Place};
use keiki_core::store::{Exactness, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_sys::btrfs::{self, Accounting, QuotaGroup};
use rustix::fs::{fstat, syncfs};

use crate::nested;
use crate::subvolume;

/// What a file system accounts for its subvolumes.
#[derive(Debug)]
struct Ledger {
    accounting: Accounting,
    groups: BTreeMap<u64, QuotaGroup>,
}

/// Measures volumes; each file system is asked once.
pub(crate) fn usage(volumes: &[Volume]) -> Result<Vec<Usage>> {
    let mut ledgers: BTreeMap<u64, Option<Ledger>> = BTreeMap::new();
    let mut measured = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let Some(place) = subvolume::find(volume)? else {
            measured.push(Usage::default());
            continue;
        };
        let ledger = match ledgers.entry(device(&place)?) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(read_ledger(&place)?),
        };
        measured.push(measure(&place, ledger.as_ref())?);
    }
    Ok(measured)
}

fn device(place: &Place) -> Result<u64> {
    Ok(fstat(place.parent()).or_err(|| format!("cannot look at `{}`", place.path().display()))?.st_dev)
}

/// Reads the accounts of a file system; `None` when it keeps none, or does not show them to us.
fn read_ledger(place: &Place) -> Result<Option<Ledger>> {
    let shown = || format!("cannot read the quotas of the file system of `{}`", place.path().display());
    let accounting = match btrfs::accounting(place.parent().as_fd()) {
        Ok(None) => return Ok(None),
        Ok(Some(accounting)) => accounting,
        // The quota tree is the host's alone: in a user namespace we count by ourselves.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error).or_err(shown),
    };
    // Accounted is what was written back and committed.
    syncfs(place.parent()).or_err(shown)?;
    let groups = btrfs::quota_groups(place.parent().as_fd()).or_err(shown)?;
    Ok(Some(Ledger { accounting, groups }))
}

fn measure(place: &Place, ledger: Option<&Ledger>) -> Result<Usage> {
    let homes::Entry::Object(root) = place.entry()? else { return Ok(Usage::default()) };
    if !subvolume::is_subvolume(&root)? {
        return Ok(Usage::default());
    }
    let walked = || walk(&root, place.path());
    let total = match ledger {
        Some(ledger) => add_up(&root, place.path(), &ledger.groups)?,
        None => None,
    };
    let (Some(Ledger { accounting, .. }), Some(total)) = (ledger, total) else {
        let referenced = Some(Bytes(walked()?));
        return Ok(Usage { referenced, exactness: Exactness::Approximate, ..Usage::default() });
    };
    let (referenced, exactness) = match accounting {
        Accounting::Full if total.subvolumes > 1 => (total.referenced, Exactness::AtLeast),
        Accounting::Full => (total.referenced, Exactness::Exact),
        Accounting::Stale => (total.referenced, Exactness::Approximate),
        Accounting::Simple => (walked()?, Exactness::Approximate),
    };
    Ok(Usage {
        referenced: Some(Bytes(referenced)),
        exclusive: Some(Bytes(total.exclusive)),
        limit: total.limit.map(Bytes),
        exactness,
    })
}

#[derive(Debug, Default)]
struct Total {
    referenced: u64,
    exclusive: u64,
    limit: Option<u64>,
    subvolumes: usize,
}

/// Adds up the groups of a volume and of what is nested in it; `None` when one of them has no group.
fn add_up(root: &OwnedFd, path: &Path, groups: &BTreeMap<u64, QuotaGroup>) -> Result<Option<Total>> {
    let shown = || format!("cannot read the identity of `{}`", path.display());
    let own = btrfs::subvolume_info(root.as_fd()).or_err(shown)?.tree_id;
    let mut ids = vec![own];
    nested::visit(root, path, &mut |_, child| {
        ids.push(child.at.tree_id);
        Ok(())
    })?;
    let mut total = Total { limit: groups.get(&own).and_then(|group| group.limit), ..Total::default() };
    for id in ids {
        let Some(group) = groups.get(&id) else { return Ok(None) };
        total.referenced += group.referenced;
        total.exclusive += group.exclusive;
        total.subvolumes += 1;
    }
    Ok(Some(total))
}

/// Adds up what the files of a volume allocate; an extent that two of them share counts twice.
fn walk(root: &OwnedFd, path: &Path) -> Result<u64> {
    let size = |fd: &OwnedFd| {
        let size = keiki_tree::measure_tree(fd.as_fd(), None).map_err(std::io::Error::from);
        size.or_err(|| format!("cannot measure `{}`", path.display()))
    };
    let mut bytes = size(root)?.allocated;
    nested::visit(root, path, &mut |_, child| {
        bytes += size(&child.root)?.allocated;
        Ok(())
    })?;
    Ok(bytes)
}

/// Waits until volumes are on the disk, once for each file system that they are on.
///
/// Joining a commit is enough for snapshots: their data was written back when they were taken. What was written into a new or
/// received subvolume may be in memory still, and no commit waits for that.
pub(crate) fn sync(volumes: &[Volume]) -> Result<()> {
    let mut pending: BTreeMap<u64, (Place, Content)> = BTreeMap::new();
    for volume in volumes {
        let Some(place) = subvolume::find(volume)? else { continue };
        let (device, content) = (device(&place)?, content_of(&place)?);
        let known = pending.entry(device).or_insert((place, content));
        known.1 = known.1.max(content);
    }
    for (place, content) in pending.values() {
        let synced = match content {
            Content::Inherited => btrfs::commit(place.parent().as_fd()),
            Content::Written => syncfs(place.parent()).map_err(Into::into),
        };
        synced.or_err(|| format!("cannot commit `{}`", place.path().display()))?;
    }
    Ok(())
}

/// Where the data of a volume comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// From the subvolume that it is a snapshot of.
    Inherited,
    /// It was written.
    Written,
}

fn content_of(place: &Place) -> Result<Content> {
    let homes::Entry::Object(root) = place.entry()? else { return Ok(Content::Inherited) };
    if !subvolume::is_subvolume(&root)? {
        return Ok(Content::Written);
    }
    let info = btrfs::subvolume_info(root.as_fd())
        .or_err(|| format!("cannot read the identity of `{}`", place.path().display()))?;
    let is_snapshot = info.parent_uuid != [0; 16] && info.received_uuid == [0; 16];
    Ok(if is_snapshot { Content::Inherited } else { Content::Written })
}
