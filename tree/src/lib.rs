//! Copying, removing, measuring and hashing directory trees with nothing lost, through directory descriptors.
//!
//! - [`copy_tree`]: everything a root filesystem is made of, by reflink where the file system can.
//! - [`remove_tree`]: a whole tree, in parallel, whatever its depth and flags.
//! - [`describe_tree`], [`hash_tree`]: what a tree holds, and one value that is equal for equal trees.
//! - [`pack_tree`], [`unpack_tree`]: a tree, or what changed since another, as a stream of records.
//! - [`measure_tree`]: the space that a tree takes.
//! - [`probe()`]: what a file system can do for us.
//! - [`mark`]: the ownership mark on a directory.
//! - [`RootMetadata`]: what a root directory alone carries.
//!
//! Every name is resolved against an open directory and never followed when it is a symbolic link, so no content of a
//! tree can lead us out of it, and no path is too long. The crate knows nothing of containers and stores: `keiki-core`
//! depends on it, not the other way round.
#![forbid(unsafe_code)]

mod copy;
mod describe;
mod entries;
mod error;
pub mod mark;
mod measure;
mod probe;
mod remove;
mod root;
mod stream;
mod walk;
mod xattrs;

pub use copy::{CopyOptions, CopyReport, Means, Progress, Reflink, copy_tree};
pub use describe::{DescribeOptions, Description, Difference, Holes, TreeHash, describe_tree, hash_tree};
pub use error::{Result, TreeError};
pub use measure::{TreeSize, measure_tree};
pub use probe::{Abilities, probe};
pub use remove::{RemoveOptions, remove_tree};
pub use root::RootMetadata;
pub use stream::{
    Base, PackOptions, PackReport, Position, UnpackOptions, UnpackReport, pack_tree, unpack_tree,
};
