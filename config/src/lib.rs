//! The LXC configuration language: `key = value` lines, typed, with the place of every value.
//!
//! - [`keys`]: every key there is, what it takes and what it means; one table, read by everybody.
//! - [`ContainerConfig`]: a whole configuration with its includes, checked; what a runtime reads.
//! - [`ContainerConfig::item`], [`Change`]: one key as LXC's library gets, sets and clears it.
//! - [`migrated`]: names of LXC 1 and 2 replaced by today's.
//! - [`Document`]: the text of one file, in which single values are replaced and every other byte stays.
//! - [`LxcConfigEditor`]: that, as the engine asks for it.
//! - [`GlobalConfig`]: LXC's `lxc.conf`.
//! - [`Diagnostic`]: `file:line:column: message`, with what was probably meant.
//!
//! The crate applies nothing, and reads no file but those that it is told and those that they include.
#![forbid(unsafe_code)]

mod change;
mod diagnostic;
mod document;
mod editor;
mod global;
mod item;
pub mod keys;
mod load;
mod migrate;
mod model;
mod value;

pub use change::{Change, with_changes, with_hardware_addresses};
pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use document::Document;
pub use editor::LxcConfigEditor;
pub use global::GlobalConfig;
pub use migrate::{Renaming, migrated};
pub use model::{ContainerConfig, Flag, Setting};
pub use value::{
    Access, AutoMount, BufferSize, CgroupTree, Force, Gateway, HardwareAddress, IdKind, IdMap,
    InterfaceAddress, Limit, LogLevel, Signal, Subnet, TimeOffset, Value, ValueKind, VlanId,
};
