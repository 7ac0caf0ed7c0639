//! The btrfs store: a root filesystem is a subvolume, a clone is a writable snapshot of it.
//!
//! ```text
//! <home>/rootfs     a subvolume; trusted.keiki.id = "<volume id>@<subvolume uuid>"
//! ```
//!
//! - Clones and snapshots take constant time and are independent: parents may be written and destroyed.
//! - The mark names the subvolume's own uuid as well, because a snapshot inherits the attributes of its source: a snapshot
//!   that was made but not yet marked must not pass for a finished volume of another id.
//! - Subvolumes that a container makes inside are found by ioctl. They are destroyed with it, deepest first, and snapshotted with
//!   it, each into its place: nothing is missing from a clone or a restored snapshot. Each is of one moment of its own.
//! - A batch of clones shares commits: they are made from several threads, each into its own directory.
//! - Streams are the kernel's, sent by ioctl (root only) and carried out by ourselves beneath the new subvolume.
//!
//! - In a user namespace everything works but quotas, which are the host's.
//!
//! What it does not do: it runs no tool, it sets no quota unless asked, and it never switches the quotas of a file system on. The
//! kernel (from 6.10) removes the quota group of a subvolume with it.
#![forbid(unsafe_code)]

mod apply;
mod clone;
mod create;
mod destroy;
mod exchange;
mod list;
mod nested;
mod quota;
mod spec;
mod store;
mod stream;
mod subvolume;
mod transfer;
mod usage;

pub use store::BtrfsStore;
