//! Quota groups: what the file system accounts for each subvolume, and the limit that it enforces.
//!
//! Read from the quota tree (`BTRFS_IOC_TREE_SEARCH_V2`), many groups a call. Every subvolume has the group `0/<its id>`, whose
//! number is the subvolume's id.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use super::{READ, WRITE, call, request};

const QUOTA_TREE: u64 = 8;
const STATUS: u32 = 240;
const INFO: u32 = 242;
const LIMIT: u32 = 244;

const STATUS_ON: u64 = 1 << 0;
const STATUS_RESCAN: u64 = 1 << 1;
const STATUS_INCONSISTENT: u64 = 1 << 2;
const STATUS_SIMPLE: u64 = 1 << 3;
const LIMIT_REFERENCED: u64 = 1 << 0;
const LIMIT_EXCLUSIVE: u64 = 1 << 1;
/// The limit that means none.
const NONE: u64 = u64::MAX;

const ROOM: usize = 64 << 10;
const HEADER: usize = 32;

#[repr(C)]
struct SearchArgs {
    tree_id: u64,
    objects: [u64; 2],
    offsets: [u64; 2],
    transactions: [u64; 2],
    types: [u32; 2],
    count: u32,
    unused: u32,
    reserved: [u64; 4],
    room: u64,
    found: [u8; ROOM],
}

#[repr(C)]
struct LimitArgs {
    group: u64,
    flags: u64,
    referenced: u64,
    exclusive: u64,
    reserved: [u64; 2],
}

#[repr(C)]
struct CreateArgs {
    create: u64,
    group: u64,
}

#[repr(C)]
struct ControlArgs {
    command: u64,
    status: u64,
}

const _: () = assert!(size_of::<SearchArgs>() == 112 + ROOM);
const _: () = assert!(size_of::<LimitArgs>() == 48);
const _: () = assert!(size_of::<CreateArgs>() == 16);
const _: () = assert!(size_of::<ControlArgs>() == 16);

// The room behind the fixed part is not in the number: its size is a field.
const TREE_SEARCH_V2: libc::Ioctl = request(READ | WRITE, 17, 112);
const QGROUP_LIMIT: libc::Ioctl = request(READ, 43, size_of::<LimitArgs>());
const QGROUP_CREATE: libc::Ioctl = request(WRITE, 42, size_of::<CreateArgs>());
const QUOTA_CTL: libc::Ioctl = request(READ | WRITE, 40, size_of::<ControlArgs>());

/// How the file system counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Who shares what is known of every extent.
    Full,
    /// The numbers are being counted anew, or were lost.
    Stale,
    /// Each extent is counted for the subvolume that wrote it, for as long as anybody uses it (`squota`).
    Simple,
}

/// What is accounted for one subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaGroup {
    /// Bytes that can be reached through it.
    pub referenced: u64,
    /// Bytes that only it uses.
    pub exclusive: u64,
    /// The most that it may reference, or `None`.
    pub limit: Option<u64>,
}

/// Returns how the file system of `fd` counts; `None` when its quotas are off.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` in the first user namespace, `ENOTTY` off btrfs.
pub fn accounting(fd: BorrowedFd<'_>) -> io::Result<Option<Accounting>> {
    let mut status = None;
    search(fd, STATUS..=STATUS, 0..=0, &mut |_, _, item| status = word(item, 2))?;
    Ok(status.filter(|flags| flags & STATUS_ON != 0).map(|flags| match flags {
        flags if flags & STATUS_SIMPLE != 0 => Accounting::Simple,
        flags if flags & (STATUS_RESCAN | STATUS_INCONSISTENT) != 0 => Accounting::Stale,
        _ => Accounting::Full,
    }))
}

/// Returns the group of one subvolume; `None` when it has none, or quotas are off.
///
/// # Errors
/// As [`accounting`].
pub fn quota_group(fd: BorrowedFd<'_>, tree_id: u64) -> io::Result<Option<QuotaGroup>> {
    Ok(groups(fd, tree_id..=tree_id)?.remove(&tree_id))
}

/// Returns the groups of all subvolumes of the file system by their ids.
///
/// # Errors
/// As [`accounting`].
pub fn quota_groups(fd: BorrowedFd<'_>) -> io::Result<BTreeMap<u64, QuotaGroup>> {
    // Beyond are the groups of groups, whose level stands in the highest 16 bits.
    groups(fd, 0..=(1 << 48) - 1)
}

fn groups(fd: BorrowedFd<'_>, ids: std::ops::RangeInclusive<u64>) -> io::Result<BTreeMap<u64, QuotaGroup>> {
    let mut found: BTreeMap<u64, QuotaGroup> = BTreeMap::new();
    // The key is (0, type, id), so a range of ids takes one search a type.
    for kind in [INFO, LIMIT] {
        search(fd, kind..=kind, ids.clone(), &mut |kind, id, item| {
            if kind == INFO {
                let group = QuotaGroup {
                    referenced: word(item, 1).unwrap_or_default(),
                    exclusive: word(item, 3).unwrap_or_default(),
                    limit: None,
                };
                found.insert(id, group);
            } else if let (Some(group), Some(flags)) = (found.get_mut(&id), word(item, 0))
                && flags & LIMIT_REFERENCED != 0
            {
                group.limit = word(item, 1).filter(|limit| *limit != NONE);
            }
        })?;
    }
    Ok(found)
}

/// Limits what a subvolume may reference; `None` lifts it. A limit on exclusive bytes, as older tools set, is lifted too.
///
/// # Errors
/// `ENOTCONN` while quotas are off; `EPERM`.
pub fn limit_subvolume(subvolume: BorrowedFd<'_>, tree_id: u64, limit: Option<u64>) -> io::Result<()> {
    let mut args = LimitArgs {
        group: tree_id,
        flags: LIMIT_REFERENCED | LIMIT_EXCLUSIVE,
        referenced: limit.unwrap_or(NONE),
        exclusive: NONE,
        reserved: [0; 2],
    };
    match call(subvolume, QGROUP_LIMIT, &mut args) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            // Somebody removed the group; its numbers begin anew.
            call(subvolume, QGROUP_CREATE, &mut CreateArgs { create: 1, group: tree_id })?;
            call(subvolume, QGROUP_LIMIT, &mut args)
        }
        other => other,
    }
}

/// Switches quotas on; for tests, as the tool of Debian 12 knows no simple ones.
///
/// # Errors
/// `EINVAL` for a kernel without simple quotas, `EPERM`, `EEXIST` when they are on.
pub fn enable_quotas(fd: BorrowedFd<'_>, accounting: Accounting) -> io::Result<()> {
    let command = if accounting == Accounting::Simple { 4 } else { 1 };
    call(fd, QUOTA_CTL, &mut ControlArgs { command, status: 0 })
}

/// Hands every item `(0, kind, offset)` of the quota tree within the ranges to `each`; none when there is no such tree.
fn search(
    fd: BorrowedFd<'_>,
    kinds: std::ops::RangeInclusive<u32>,
    offsets: std::ops::RangeInclusive<u64>,
    each: &mut dyn FnMut(u32, u64, &[u8]),
) -> io::Result<()> {
    let mut next = *offsets.start();
    loop {
        let mut args = Box::new(SearchArgs {
            tree_id: QUOTA_TREE,
            objects: [0, 0],
            offsets: [next, *offsets.end()],
            transactions: [0, u64::MAX],
            types: [*kinds.start(), *kinds.end()],
            count: u32::MAX,
            unused: 0,
            reserved: [0; 4],
            room: ROOM as u64,
            found: [0; ROOM],
        });
        match call(fd, TREE_SEARCH_V2, &mut *args) {
            // The tree is made when quotas are switched on.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            other => other?,
        }
        let read = read_items(&args.found, args.count, each);
        let Some(last) = read.ok_or(io::ErrorKind::InvalidData)? else { return Ok(()) };
        let Some(following) = last.checked_add(1).filter(|next| next <= offsets.end()) else { return Ok(()) };
        next = following;
    }
}

/// Walks what a search found; returns the offset of the last item, if there is one, or `None` for what cannot be read.
fn read_items(found: &[u8], count: u32, each: &mut dyn FnMut(u32, u64, &[u8])) -> Option<Option<u64>> {
    let (mut rest, mut last) = (found, None);
    for _ in 0..count {
        let (header, behind) = rest.split_at_checked(HEADER)?;
        let offset = word_of_header(header, 16)?;
        let [kind, length] = [24, 28].map(|at| u32::from_ne_bytes(bytes(header, at).unwrap_or_default()));
        let (item, further) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        each(kind, offset, item);
        (rest, last) = (further, Some(offset));
    }
    Some(last)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

/// Reads a number of a search header, which is in the machine's order.
fn word_of_header(header: &[u8], at: usize) -> Option<u64> {
    bytes(header, at).map(u64::from_ne_bytes)
}

/// Reads the `index`th number of an item, which is as it is on the disk.
fn word(item: &[u8], index: usize) -> Option<u64> {
    bytes(item, index * 8).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: u32, offset: u64, words: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [7, 0, offset] {
            bytes.extend_from_slice(&u64::to_ne_bytes(number));
        }
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&u32::try_from(words.len() * 8).unwrap_or_default().to_ne_bytes());
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        bytes
    }

    #[test]
    fn items_are_read_in_order_and_no_further_than_they_reach() {
        let mut found = [item(INFO, 256, &[1, 2, 3, 4, 5]), item(INFO, 257, &[9])].concat();
        let mut seen = Vec::new();
        let last = read_items(&found, 2, &mut |kind, id, item| seen.push((kind, id, word(item, 3))));
        assert_eq!(last, Some(Some(257)));
        assert_eq!(seen, [(INFO, 256, Some(4)), (INFO, 257, None)]);
        found.truncate(found.len() - 1);
        assert_eq!(read_items(&found, 2, &mut |_, _, _| {}), None, "an item that is cut off");
        assert_eq!(read_items(&found, 0, &mut |_, _, _| {}), Some(None));
    }
}
