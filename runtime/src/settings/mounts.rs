//! What is mounted in a container besides its root filesystem.

pub(crate) mod entry;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{NOT_BY_THIS_VERSION, Part, Taken, invalid, number, switch};
use entry::MountEntry;

/// `lxc.autodev.tmpfs.size` of LXC.
const DEV_SIZE: u64 = 500_000;

/// The kernel's own file systems, `/dev` and the entries of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mounts {
    pub(crate) proc: Automount,
    pub(crate) sys: Automount,
    pub(crate) cgroup: Automount,
    pub(crate) dev: Dev,
    pub(crate) entries: Vec<MountEntry>,
}

/// Whether and how one of the kernel's own file systems is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Automount {
    /// Not at all.
    None,
    /// Read-only.
    ReadOnly,
    /// As far as a container may write.
    Mixed,
    /// Without restriction.
    ReadWrite,
}

/// What `/dev` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dev {
    /// A file system in memory with the usual nodes (`lxc.autodev = 1`), of this size in bytes.
    Made(u64),
    /// What the root filesystem has.
    Kept,
}

impl Default for Mounts {
    fn default() -> Self {
        Self {
            proc: Automount::None,
            sys: Automount::None,
            cgroup: Automount::None,
            dev: Dev::Made(DEV_SIZE),
            entries: Vec::new(),
        }
    }
}

impl Part for Mounts {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.autodev" if !switch(line)? => self.dev = Dev::Kept,
            "lxc.autodev" => {}
            "lxc.autodev.tmpfs.size" => self.dev = Dev::Made(number(line)?),
            "lxc.mount.entry" => self.entries.push(entry::parse(line)?),
            "lxc.mount.auto" => return self.automounts(line),
            "lxc.mount.fstab" => return Ok(Taken::NotApplied(NOT_BY_THIS_VERSION)),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

impl Mounts {
    fn automounts(&mut self, line: &Setting) -> Result<Taken> {
        let mut taken = Taken::Applied;
        for word in line.value.split_ascii_whitespace() {
            let no_word = || invalid(line, &format!("`{word}` is no word of it"));
            let (what, how) = word.split_once(':').unwrap_or((word, ""));
            let how = how.split(':').next().unwrap_or("");
            let parsed = match how {
                "" | "mixed" => Automount::Mixed,
                "ro" => Automount::ReadOnly,
                "rw" => Automount::ReadWrite,
                "force" if what.starts_with("cgroup") => Automount::Mixed,
                _ if what == "shmounts" => Automount::None,
                _ => return Err(no_word()),
            };
            match what {
                "proc" => self.proc = parsed,
                "sys" => self.sys = parsed,
                "cgroup" | "cgroup-full" | "cgroup2" => self.cgroup = parsed,
                "shmounts" => {
                    taken = Taken::NotApplied("(shmounts) is not applied by this version of keiki");
                }
                _ => return Err(no_word()),
            }
        }
        Ok(taken)
    }
}
