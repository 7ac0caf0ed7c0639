//! What a container's processes may not do: capabilities, and what the kernel's security modules and filters add.

use keiki_config::Setting;
use keiki_core::Result;
use keiki_sys::caps;
use serde::{Deserialize, Serialize};

use super::{NOT_BY_THIS_VERSION, Part, Taken, covers_any, switch};

const NOT_APPLIED: [&str; 4] = ["lxc.apparmor.", "lxc.selinux.", "lxc.seccomp.", "lxc.keyring.session"];

/// The bounds of a container's processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// One bit a capability.
    dropped: u64,
    /// The same; `None` keeps all that are not dropped.
    kept: Option<u64>,
    pub(crate) no_new_privileges: bool,
}

impl Confinement {
    /// Returns the capabilities that the bounding set keeps, one bit each.
    pub(crate) fn capabilities(&self) -> u64 {
        self.kept.unwrap_or(u64::MAX) & !self.dropped
    }
}

impl Part for Confinement {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.cap.drop" => self.dropped |= capabilities(line),
            "lxc.cap.keep" => self.kept = Some(self.kept.unwrap_or(0) | capabilities(line)),
            "lxc.no_new_privs" => self.no_new_privileges = switch(line)?,
            "lxc.apparmor.profile" | "lxc.selinux.context" if leaves_alone(&line.value) => {}
            key if covers_any(&NOT_APPLIED, key) => return Ok(Taken::NotApplied(NOT_BY_THIS_VERSION)),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

fn leaves_alone(profile: &str) -> bool {
    matches!(profile, "unconfined" | "unchanged")
}

/// The configuration was read: every word is a capability, or `none`.
fn capabilities(line: &Setting) -> u64 {
    let numbers: Vec<u8> = line.value.split_ascii_whitespace().filter_map(caps::number).collect();
    caps::mask(&numbers)
}
