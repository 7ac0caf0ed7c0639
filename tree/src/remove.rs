//! [`remove_tree`]: removes a whole tree.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;

use crate::copy::{Progress, not_yet};
use crate::error::Result;

/// How a tree is removed.
#[derive(Clone, Copy, Default)]
pub struct RemoveOptions<'a> {
    /// How many threads work; `None` is twice the processors, at most eight.
    pub workers: Option<NonZeroUsize>,
    /// Is told how far the removal has come (`bytes` stays zero); called from any worker, after every directory.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl std::fmt::Debug for RemoveOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoveOptions").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Removes `name` in `parent` with everything below it, and returns how many entries went.
///
/// # Errors
/// [`TreeError`](crate::TreeError) naming the entry.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr, options: &RemoveOptions<'_>) -> Result<u64> {
    let _ = (parent, name, options);
    Err(not_yet("remove_tree"))
}
