//! The btrfs store: a root filesystem is a subvolume, a clone is a writable snapshot of it.
//!
//! ```text
//! <home>/rootfs     a subvolume; trusted.keiki.id = "<volume id>@<subvolume uuid>"
//! ```
//!
//! - Clones and snapshots take constant time and are independent: parents may be written and destroyed.
//! - The mark names the subvolume's own uuid as well, because a snapshot inherits the attributes of its source: a snapshot
//!   that was made but not yet marked must not pass for a finished volume of another id.
//! - Subvolumes that a container makes inside are found by ioctl and destroyed with it, deepest first. As everywhere on
//!   btrfs, a snapshot does not contain them: it has empty directories in their place.
//! - A batch of clones shares commits: they are made from several threads, each into its own directory.
//!
//! What it does not do: it runs no tool, and it sets no quota unless asked.
#![forbid(unsafe_code)]

mod clone;
mod create;
mod destroy;
mod exchange;
mod list;
mod spec;
mod store;
mod subvolume;

pub use store::BtrfsStore;
