//! What is mounted in a container besides its root filesystem.

pub(crate) mod entry;

use std::path::PathBuf;

use keiki_config::Setting;
use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::identities::Identities;
use super::{Part, Taken, invalid, number, switch};
use entry::{MountEntry, Owners};

/// `lxc.autodev.tmpfs.size` of LXC.
const DEV_SIZE: u64 = 500_000;

/// The kernel's own file systems, `/dev` and the entries of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mounts {
    /// What the configuration calls the root filesystem; hooks are told.
    pub(crate) root_path: String,
    /// Where the root filesystem is attached in the container's own mount namespace before it becomes the root
    /// (`lxc.rootfs.mount`); hooks find it there.
    pub(crate) root_mount: Option<PathBuf>,
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
            root_path: String::new(),
            root_mount: None,
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
            "lxc.rootfs.path" => self.root_path.clone_from(&line.value),
            "lxc.rootfs.mount" => self.root_mount = Some(PathBuf::from(&line.value)),
            "lxc.autodev" if !switch(line)? => self.dev = Dev::Kept,
            "lxc.autodev" => {}
            "lxc.autodev.tmpfs.size" => self.dev = Dev::Made(number(line)?),
            "lxc.mount.entry" => self.entries.push(entry::parse(line)?),
            "lxc.mount.auto" => return self.automounts(line),
            // As with LXC, the file comes before the lines of the configuration.
            "lxc.mount.fstab" => drop(self.entries.splice(0..0, entry::read_file(line)?)),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

impl Mounts {
    /// Checks what can be said only with all of the configuration.
    ///
    /// # Errors
    /// `InvalidArgument` for an entry that shall belong to a container without ids of its own.
    pub(super) fn check(&self, identities: &Identities, place: &str) -> Result<()> {
        let is_owned = |entry: &&MountEntry| entry.owners == Some(Owners::Container);
        match self.entries.iter().find(is_owned).filter(|_| !identities.are_mapped()) {
            Some(entry) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{place}: the mount of `{}` says `idmap=container`, and there is no lxc.idmap",
                    entry.source
                ),
            )),
            None => Ok(()),
        }
    }

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
