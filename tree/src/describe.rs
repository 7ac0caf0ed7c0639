//! [`describe_tree`] and [`hash_tree`]: what a tree holds, entry by entry, and one value over all of it.
//!
//! Two trees have one hash if and only if nobody who uses them as root filesystems could tell them apart by what a copy
//! must keep: type, permission bits, owner, modification time to the nanosecond, extended attributes (ACLs are among
//! them; our own marks are not), link text, device number, groups of hard links, and content. Not compared: access times
//! (reading changes them), inode numbers, sizes of directories, inode flags, and, unless asked for, where holes lie.
//!
//! A description costs memory for every entry; it is for proofs, not for production paths.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::entries::{FileId, Meta, open_directory};
use crate::error::{Result, TreeError};
use crate::walk::{WalkOptions, walk};
use crate::xattrs::{Owner, Reader};

mod content;
mod facts;
mod visit;

pub(crate) use content::{data_map, read_fully};
use facts::Facts;

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
    entries: BTreeMap<PathBuf, Facts>,
}

/// One way in which two trees differ. Prints as one line: `etc/shadow: mode is 0640, was 0600`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The entry, relative to the root.
    pub path: PathBuf,
    /// What differs: the name of a fact (`mode`, `mtime`, `content`, …), or `entry` when one tree does not have it.
    pub fact: &'static str,
    /// The fact in the first tree; empty when it has none.
    pub left: String,
    /// The fact in the second tree; empty when it has none.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
        let (path, fact) = (self.path.display(), self.fact);
        write!(f, "{path}: {fact} is {}, was {}", or_none(&self.right), or_none(&self.left))
    }
}

impl Description {
    /// Returns one value over all entries.
    #[must_use]
    pub fn hash(&self) -> TreeHash {
        let mut hash = Sha256::new();
        for (path, facts) in &self.entries {
            absorb(&mut hash, path.as_os_str().as_encoded_bytes());
            for (name, value) in facts.list() {
                absorb(&mut hash, name.as_bytes());
                absorb(&mut hash, value.as_bytes());
            }
        }
        TreeHash(hash.finalize().into())
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
        let mut differences = Vec::new();
        for (path, left) in &self.entries {
            match other.entries.get(path) {
                Some(right) if left == right => {}
                Some(right) => differences.extend(left.differences(path, right)),
                None => differences.push(Difference {
                    path: path.clone(),
                    fact: "entry",
                    left: left.kind().to_owned(),
                    right: String::new(),
                }),
            }
        }
        let added = other.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path));
        differences.extend(added.map(|(path, right)| Difference {
            path: path.clone(),
            fact: "entry",
            left: String::new(),
            right: right.kind().to_owned(),
        }));
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        differences
    }
}

/// Absorbs a text with its length, so that no two lists of texts look alike.
fn absorb(hash: &mut Sha256, text: &[u8]) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// Describes the tree below an open directory, the root included, without leaving its mount.
///
/// # Errors
/// [`TreeError`] naming the entry.
pub fn describe_tree(root: BorrowedFd<'_>, options: DescribeOptions) -> Result<Description> {
    let at_root = |call| move |errno| TreeError::Call { call, path: ".".into(), errno };
    let root = open_directory(root, c".").map_err(at_root("openat"))?;
    let meta = Meta::of(&root).map_err(at_root("statx"))?;
    let xattrs = Reader::new().read(Owner::Open(root.as_fd())).map_err(at_root("fgetxattr"))?;
    let describer = Describer {
        mount: meta.mount(),
        holes: options.holes,
        seen: Mutex::new(vec![(PathBuf::from("."), Facts::new(&meta, xattrs), None)]),
    };
    let how = WalkOptions { workers: options.workers, exclude: &[] };
    walk(&describer, root, (), how, |_| Ok(()))?;
    Ok(Description {
        entries: group_links(describer.seen.into_inner().unwrap_or_else(PoisonError::into_inner)),
    })
}

/// Returns the hash of [`describe_tree`].
///
/// # Errors
/// As [`describe_tree`].
pub fn hash_tree(root: BorrowedFd<'_>, options: DescribeOptions) -> Result<TreeHash> {
    Ok(describe_tree(root, options)?.hash())
}

/// An entry that was visited; its identity when it has several links.
type Seen = (PathBuf, Facts, Option<FileId>);

struct Describer {
    mount: (u64, u32, u32),
    holes: Holes,
    seen: Mutex<Vec<Seen>>,
}

/// Names every group of hard links by its first path; a file whose other links lie outside is no group.
fn group_links(mut seen: Vec<Seen>) -> BTreeMap<PathBuf, Facts> {
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let mut groups: HashMap<FileId, (PathBuf, usize)> = HashMap::new();
    for (path, _, id) in &seen {
        if let Some(id) = id {
            groups.entry(*id).or_insert_with(|| (path.clone(), 0)).1 += 1;
        }
    }
    seen.into_iter()
        .map(|(path, mut facts, id)| {
            let group = id.and_then(|id| groups.get(&id)).filter(|(_, names)| *names > 1);
            facts.set_link_group(group.map(|(first, _)| first.clone()));
            (path, facts)
        })
        .collect()
}
