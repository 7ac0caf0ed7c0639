//! [`describe_tree`] and [`hash_tree`]: what a tree holds, entry by entry, and one value over all of it.

use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::copy::not_yet;
use crate::error::Result;

/// Whether the map of holes counts as content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holes {
    /// No: a hole is equal to zeros.
    #[default]
    Ignore,
    /// Yes, as `SEEK_HOLE` shows it.
    Compare,
}

/// How a tree is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DescribeOptions {
    /// How many threads work; `None` is twice the processors, at most eight.
    pub workers: Option<NonZeroUsize>,
    /// Whether the map of holes counts.
    pub holes: Holes,
}

/// A value that is equal for equal trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash([u8; 32]);

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Everything that a tree holds, entry by entry, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    entries: std::collections::BTreeMap<PathBuf, Vec<(&'static str, String)>>,
}

/// One way in which two trees differ. Prints as one line: `etc/shadow: mode 0640, not 0600`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The entry, relative to the root.
    pub path: PathBuf,
    /// What differs: `missing`, `added`, or the name of a fact (`mode`, `mtime`, `content`, …).
    pub fact: &'static str,
    /// The fact in the first tree.
    pub left: String,
    /// The fact in the second tree.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}, not {}", self.path.display(), self.fact, self.right, self.left)
    }
}

impl Description {
    /// Returns one value over all entries.
    #[must_use]
    pub fn hash(&self) -> TreeHash {
        TreeHash([0; 32])
    }

    /// Returns how many entries there are, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether nothing was described.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns every way in which `other` differs from this one, in order of path; empty for equal trees.
    #[must_use]
    pub fn diff(&self, other: &Self) -> Vec<Difference> {
        let _ = other;
        Vec::new()
    }
}

/// Describes the tree below an open directory, the root included, without leaving its mount.
///
/// # Errors
/// [`TreeError`](crate::TreeError) naming the entry.
pub fn describe_tree(root: BorrowedFd<'_>, options: DescribeOptions) -> Result<Description> {
    let _ = (root, options);
    Err(not_yet("describe_tree"))
}

/// Returns the hash of [`describe_tree`].
///
/// # Errors
/// As [`describe_tree`].
pub fn hash_tree(root: BorrowedFd<'_>, options: DescribeOptions) -> Result<TreeHash> {
    Ok(describe_tree(root, options)?.hash())
}
