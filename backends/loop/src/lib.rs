//! The loop store: a root filesystem is a file system in an image file, as LXC's `-B loop` makes it.
//!
//! ```text
//! <home>/rootdev          the image: a sparse file, mode 0600, marked by an extended attribute
//! <home>/.keiki-<id>      one in the making, or one that is being destroyed
//! ```
//!
//! An image is made aside, formatted, marked and then renamed into place, so that what is in place is whole. It is mounted by
//! [`MountRecipe::Image`](keiki_core::mount_plan::MountRecipe::Image): whoever executes the plan binds a loop device that clears itself
//! with its last mount. Between operations no device exists, and none is left by a crash.
//!
//! Snapshots and clones are independent images. They share blocks by reflink where the file system below can (xfs, btrfs), asked
//! for each path; elsewhere they are sparse copies, and the declared cost says so. A clone gets a file system identity of its
//! own, except on xfs, which is mounted with `nouuid` instead.
//!
//! # What to know
//! - Images are sparse: the sum of their sizes may exceed the file system below. When that is full, writes inside a container fail with
//!   `EIO`, ext4 goes read-only, and nothing here can prevent it. `keiki df` shows what is really allocated.
//! - The type of the file system is what its superblock says, never a guess and never a record that could be stale.
//! - Whoever binds an image by other means (`losetup`, LXC) shares the device with us, as long as the whole image is bound.
//!
//! What it does not do: no quotas (an image has a size), no nesting, and nothing for unprivileged users, whom the kernel gives no loop
//! devices.
#![forbid(unsafe_code)]

mod attach;
mod clone;
mod create;
mod destroy;
mod idle;
mod list;
mod resize;
mod spec;
mod store;
mod usage;

pub use store::LoopStore;
