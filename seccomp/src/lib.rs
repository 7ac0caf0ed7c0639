//! What a container's processes may ask of the kernel: policies in LXC's language, and the filters that the kernel runs.
//!
//! - [`Policy`]: rules by name, read from LXC's files of both versions ([`Policy::parse`]) or ours ([`default_policy`]).
//! - [`Architecture`]: whose numbers a name stands for; a kernel serves programs of several.
//! - [`compile`]: a policy for this machine's kernel as a [`Program`], a search tree over numbers.
//!
//! The crate loads nothing: who does is the one that will be filtered. It has no need of libseccomp (`docs/decisions`): names come
//! from the kernel's tables as the crate `syscalls` has them, and the filters are tried against a model of what they mean.
//! Source: lxc.container.conf(5), "SECCOMP CONFIGURATION"; seccomp(2).
#![forbid(unsafe_code)]

mod architecture;
mod compile;
mod default_policy;
mod parse;
mod policy;

pub use architecture::Architecture;
pub use compile::{Instruction, Program, compile};
pub use default_policy::{Nesting, default_policy};
pub use parse::PolicyError;
pub use policy::{Action, Comparison, Condition, Policy, Reach, Rule, Unknown};
