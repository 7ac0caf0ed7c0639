//! Containers on the real kernel, as root: started, entered, stopped, killed and looked for traces afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may say what they expect"
)]

#[path = "kernel/attach.rs"]
mod attach;
#[path = "kernel/confined.rs"]
mod confined;
#[path = "kernel/faults.rs"]
mod faults;
#[path = "kernel/ground.rs"]
mod ground;
#[path = "kernel/hooks.rs"]
mod hooks;
#[path = "kernel/inside.rs"]
mod inside;
#[path = "kernel/lifecycle.rs"]
mod lifecycle;
#[path = "kernel/lxc_tools.rs"]
mod lxc_tools;
#[path = "kernel/mapped.rs"]
mod mapped;
#[path = "kernel/network.rs"]
mod network;
