//! Keiki's runtime: a volume composed with namespaces, cgroups and a lifecycle.
#![forbid(unsafe_code)]

mod options;
mod status;

pub use options::{
    AttachCommand, Running, RuntimeOptions, StartOptions, Started, StopMode, StopOptions, Terminal,
};
pub use status::{ContainerState, ContainerStatus, Manager};
