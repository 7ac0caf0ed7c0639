//! The dir store of Keiki: a root filesystem is a plain directory.
//!
//! It works on every file system that keeps extended attributes, without tools and without preparation. What it cannot
//! do cheaply it does honestly: snapshots and clones are copies (which share blocks where the file system has
//! reflinks), and `clone --snapshot` is left to the overlay store, which stacks upon our directories.
//!
//! # On disk
//! ```text
//! <home>/rootfs          the volume; carries the mark `trusted.keiki.id`
//! <home>/.keiki-<id>     a volume that is being made or removed; never looked into, never mounted
//! ```
//! A volume is made aside, marked, and renamed into place: what is in place is complete or foreign. It is removed the
//! other way round. So a crash at any moment leaves something that `probe` names and `destroy` clears.
#![forbid(unsafe_code)]

mod copy;
mod create;
mod list;
mod spec;
mod store;
mod usage;

pub use store::DirStore;
