//! What an entry was before: looked up below the older root, and compared as cheaply as is safe.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, readlinkat};
use rustix::io::Errno;

use super::record::{DATA_MAX, Record};
use crate::describe::{data_map, read_fully};
use crate::entries::{FileId, Meta};

/// Clocks of inodes tick in hundredths of a second; this is far beyond any tick.
const MARGIN: i64 = 2;

/// Which file of the new tree goes on with which file of the old one: two that were one file must part.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<FileId, FileId>);

impl Claims {
    /// Returns whether `new` may go on with the inode of `old`.
    pub(super) fn may_keep(&mut self, old: &Meta, new: &Meta) -> bool {
        old.links() < 2 || *self.0.entry(old.id()).or_insert_with(|| new.id()) == new.id()
    }
}

/// Returns what a name was; `None` for nothing.
pub(super) fn look_up(directory: &OwnedFd, name: &CStr) -> Result<Option<Meta>, Errno> {
    match Meta::of_name(directory, name) {
        Ok(meta) => Ok(Some(meta)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns whether an entry is certainly what it was: the same inode, not changed since well before the older state was kept.
pub(super) fn is_settled(old: &Meta, new: &Meta, taken: Option<u64>) -> bool {
    let before = taken.and_then(|taken| i64::try_from(taken).ok());
    before.is_some_and(|taken| new.changed().0.saturating_add(MARGIN) <= taken)
        && old.id().2 == new.id().2
        && old.changed() == new.changed()
        && old.is_unchanged(new)
        && old.kind() == new.kind()
}

/// Returns whether two names are the same thing but for metadata, files aside.
pub(super) fn is_same_special(
    (old_directory, old): (&OwnedFd, &Meta),
    (new_directory, new): (&OwnedFd, &Meta),
    name: &CStr,
) -> Result<bool, Errno> {
    if old.kind() != new.kind() || old.device() != new.device() {
        return Ok(false);
    }
    if new.kind() != FileType::Symlink {
        return Ok(true);
    }
    let text =
        |directory: &OwnedFd| -> Result<CString, Errno> { readlinkat(directory.as_fd(), name, Vec::new()) };
    Ok(text(old_directory)? == text(new_directory)?)
}

/// Tells every stretch of `new` that differs from `old`, as records.
pub(super) fn differences<E: From<Errno>>(
    old: (&OwnedFd, u64),
    new: (&OwnedFd, u64),
    mut tell: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let stored = data_map(old.0, old.1)?;
    let mut buffers = (vec![0; DATA_MAX], vec![0; DATA_MAX]);
    let mut end = 0;
    let holes_of = |from: u64, to: u64| stored.iter().any(|(start, stop)| *start < to && from < *stop);
    for (start, stop) in data_map(new.0, new.1)? {
        if end < start && holes_of(end, start) {
            tell(Record::Hole(end, start - end))?;
        }
        let mut offset = start;
        while offset < stop {
            let wanted = usize::try_from(stop - offset).unwrap_or(usize::MAX).min(DATA_MAX);
            let read = read_fully(new.0, &mut buffers.0[..wanted], offset)?;
            if read == 0 {
                break;
            }
            let was = read_fully(old.0, &mut buffers.1[..read], offset)?;
            if buffers.0[..read] != buffers.1[..was] {
                tell(Record::Data(offset, buffers.0[..read].to_vec()))?;
            }
            offset += read as u64;
        }
        end = stop;
    }
    if end < new.1 && holes_of(end, new.1) {
        tell(Record::Hole(end, new.1 - end))?;
    }
    Ok(())
}
