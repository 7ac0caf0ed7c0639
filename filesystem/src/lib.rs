//! File systems that lie in a block device or an image file: what the loop and lvm stores share.
//!
//! - [`make`] runs `mkfs.*`; [`probe`] reads superblocks without any tool; [`check`] proves one in order.
//! - [`grow`] is the kernel's own work, on a mount that nobody sees; [`shrink`] is `resize2fs`, for ext4 alone.
//! - [`renew_uuid`] gives a copy an identity of its own; [`mount_options`] says how to mount one that has none.
//!
//! Every function that runs a tool or waits for the kernel blocks: call it on the pool
//! ([`Context::run`](keiki_core::context::Context::run)). A device is named by path and may be a regular file where nothing
//! is mounted.
//!
//! What it does not do: it makes and sets up no devices, and it knows of no volume, mark or store.
#![forbid(unsafe_code)]

mod check;
mod identity;
mod kind;
mod lost_found;
mod make;
mod resize;
mod superblock;

pub use check::{Repair, check};
pub use identity::{Duplicate, mount_options, renew_uuid};
pub use kind::FileSystemType;
pub use make::{Labels, make};
pub use resize::{Reached, grow, shrink};
pub use superblock::{HEAD_LEN, Superblock, parse, probe};
