//! What a container's processes may not do: capabilities, system calls, and what the kernel's security modules add.
//!
//! A container that names no policy for system calls gets ours ([`keiki_seccomp::default_policy`]); nesting
//! (`lxc.apparmor.allow_nesting`) loosens it. A policy that allows everything is a file that says so.

use std::path::Path;

use keiki_config::Setting;
use keiki_core::{Error, ErrorKind, Result};
use keiki_seccomp::{Action, Architecture, Nesting, Policy, Program, compile, default_policy};
use keiki_sys::caps;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid, refuse, switch};

/// The bounds of a container's processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// The capabilities that the bounding set keeps, one bit each.
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: bool,
    /// What the kernel asks about every system call.
    pub(crate) filter: Program,
}

/// What the lines say, until all of them are read.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    dropped: u64,
    /// `None` keeps all that are not dropped.
    kept: Option<u64>,
    no_new_privileges: bool,
    policy: Option<Policy>,
    is_nested: bool,
}

impl Bounds {
    /// Returns what holds when every line was taken.
    ///
    /// # Errors
    /// `InvalidArgument` for a policy that is too long for the kernel.
    pub(super) fn finish(self, place: &str) -> Result<Confinement> {
        let nesting = if self.is_nested { Nesting::Allowed } else { Nesting::Refused };
        let policy = self.policy.unwrap_or_else(|| default_policy(nesting));
        let filter = compile(&policy, Architecture::of_this_machine()).map_err(|length| {
            let text = format!(
                "{place}: lxc.seccomp.profile makes a filter of {length} instructions; the kernel takes 4096"
            );
            Error::new(ErrorKind::InvalidArgument, text)
        })?;
        let capabilities = self.kept.unwrap_or(u64::MAX) & !self.dropped;
        Ok(Confinement { capabilities, no_new_privileges: self.no_new_privileges, filter })
    }
}

impl Part for Bounds {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.cap.drop" => self.dropped |= capabilities(line),
            "lxc.cap.keep" => self.kept = Some(self.kept.unwrap_or(0) | capabilities(line)),
            "lxc.no_new_privs" => self.no_new_privileges = switch(line)?,
            "lxc.seccomp.profile" => self.policy = Some(policy(line)?),
            "lxc.apparmor.allow_nesting" => self.is_nested = switch(line)?,
            "lxc.apparmor.profile" | "lxc.selinux.context" if leaves_alone(&line.value) => {}
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

/// Reads the file of a policy.
fn policy(line: &Setting) -> Result<Policy> {
    let file = Path::new(&line.value);
    let text = std::fs::read_to_string(file)
        .map_err(|error| invalid(line, "this file cannot be read").with_source(error))?;
    let policy = Policy::parse(&text).map_err(|error| {
        let text = format!("{}:{error}", file.display());
        Error::new(ErrorKind::InvalidArgument, text).with_context("named at", line.place.to_string())
    })?;
    let asks = |action: Action| action == Action::Notify;
    if asks(policy.default) || policy.rules.iter().any(|rule| asks(rule.action)) {
        let why = "this version of keiki has no supervisor for `notify`";
        return Err(refuse(line, ErrorKind::Unsupported, why));
    }
    Ok(policy)
}

fn leaves_alone(profile: &str) -> bool {
    matches!(profile, "unconfined" | "unchanged")
}

/// The configuration was read: every word is a capability, or `none`.
fn capabilities(line: &Setting) -> u64 {
    let numbers: Vec<u8> = line.value.split_ascii_whitespace().filter_map(caps::number).collect();
    caps::mask(&numbers)
}
