//! The storage contract of Keiki and the engine behind it.
//!
//! - [`store`]: what a backend implements, one physical effect at a time.
//! - [`capability`]: what a backend promises, with its cost.
//! - [`engine`]: what makes promises durable: names, lineage, journal, locks, recovery.
//! - [`lineage`]: who depends on whom, and what that forbids; pure.
//! - [`registry`]: which backends a program has.
//! - [`mount_plan`]: how a volume becomes a root filesystem without a path.
//!
//! The crate knows no concrete backend, no namespace and no terminal. It never prints, never reads `$HOME`, never
//! exits.
#![forbid(unsafe_code)]

pub mod capability;
pub mod context;
pub mod engine;
pub mod error;
pub mod homes;
pub mod lineage;
pub mod mount_plan;
pub mod name;
pub mod reference;
pub mod registry;
pub mod store;
pub mod tool;
pub mod units;
pub mod volume;

pub use error::{Error, ErrorKind, Result, ResultExt};
