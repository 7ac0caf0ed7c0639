//! Where root filesystems come from.
//!
//! - [`Busybox`]: a small system made from the host's static busybox.
//! - [`Local`]: an archive (`.tar`, `.gz`, `.xz`, `.zst`, told by content, not by name) or a directory of the host.
//!
//! Both are a [`Fill`](keiki_core::engine::Fill): they get the open root directory of a new volume and put content below it.
//! They make no volumes and no configuration files; what a system wants in its configuration they say in
//! [`Busybox::CONFIG`].
//!
//! Archives are hostile until proven otherwise: the whole archive is read once and refused before a byte is unpacked, see
//! [`scan`].
#![forbid(unsafe_code)]

mod archive;
mod busybox;
mod local;
pub mod scan;

pub use busybox::Busybox;
pub use local::{Devices, Local};
