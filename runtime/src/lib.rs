//! Keiki's runtime: a volume composed with namespaces, cgroups and a lifecycle.
//!
//! There is no daemon. [`Runtime`] checks, takes a lock, writes a plan and *executes* one small monitor program per
//! container ([`monitor`]); it never clones, enters or changes anything in the caller's own process, which may have any
//! number of threads. What runs is found in `/run/keiki` without asking anybody.
//!
//! What it does not do yet: security modules, supervisors of system calls, namespaces that are shared or kept. What a
//! configuration says about them is refused or warned about by name, never passed over.
#![forbid(unsafe_code)]

mod activity;
mod channel;
mod default_config;
mod exec;
mod failure;
mod interfaces;
mod launch;
mod lxc;
mod lxc_wire;
pub mod monitor;
mod options;
mod plan;
mod rundir;
mod runtime;
mod settings;
mod status;
mod wait;

pub use default_config::default_config;
pub use options::{
    AttachCommand, Running, RuntimeOptions, StartOptions, Started, StopMode, StopOptions, Terminal,
};
pub use runtime::{Runtime, StartWish};
pub use settings::start_warnings;
pub use status::{ContainerState, ContainerStatus, Manager};
