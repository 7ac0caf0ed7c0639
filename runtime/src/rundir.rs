//! What runs: one directory a container, whose lock is the truth.
//!
//! ```text
//! /run/keiki/                     0700
//! └── <hash of the lxcpath>/
//!     └── <name>/
//!         ├── lock                held by the monitor for its whole life: held = alive, also when it is suspended
//!         ├── state               JSON, replaced atomically: boot, monitor, first process, cgroups
//!         ├── filter              JSON: the filter of system calls, for programs that are attached
//!         └── frozen                there while its processes are suspended, so that those who wait for it wake
//! ```
//!
//! A free lock with a state file is a monitor that was killed; whoever takes the lock next cleans up after it
//! ([`RunDir::heal`]). Asking needs no message to anybody, so that a hung monitor hangs nobody. The kernel is the control
//! channel: monitors are told things by signals through process descriptors, which it checks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keiki_core::engine::ContainerKey;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_network::Planned;
use keiki_seccomp::Program;
use keiki_sys::cgroup::{Cgroup, Freeze};
use keiki_sys::lock::{self, Locked};
use keiki_sys::process::Identity;
use serde::{Deserialize, Serialize};

use crate::status::ContainerState;

/// What a monitor tells about its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    /// The kernel's boot that it belongs to.
    pub(crate) boot: String,
    /// What the container does.
    pub(crate) state: ContainerState,
    /// The monitor.
    pub(crate) monitor: Process,
    /// The first process, once there is one.
    pub(crate) init: Option<Process>,
    /// The cgroups that were made for it, the one of the version 2 tree first.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Its interfaces, written down before they are made.
    #[serde(default)]
    pub(crate) interfaces: Vec<Planned>,
    /// When it was started, in seconds since 1970.
    pub(crate) started: u64,
}

impl StateRecord {
    /// Returns what the container does; whether its processes are suspended, the kernel knows.
    pub(crate) fn seen_state(&self) -> ContainerState {
        let is_frozen = || self.cgroups.first().is_some_and(|path| Cgroup::at(path).is_frozen());
        match self.state {
            ContainerState::Running if is_frozen() => ContainerState::Frozen,
            state => state,
        }
    }
}

/// A process that outlives reuse of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) start: u64,
}

impl From<Identity> for Process {
    fn from(identity: Identity) -> Self {
        Self { pid: identity.pid, start: identity.start }
    }
}

impl Process {
    /// Returns a descriptor of it, if it is still there.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        Identity { pid: self.pid, start: self.start }.open()
    }

    /// Returns whether somebody has suspended it.
    pub(crate) fn is_suspended(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
    }
}

/// The directory of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunDir(PathBuf);

/// The lock of a container, held as long as a copy of it is open anywhere.
#[derive(Debug)]
pub(crate) struct RunLock(File);

impl AsFd for RunLock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl RunLock {
    /// Returns the lock that was handed over as a descriptor.
    pub(crate) fn inherited(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

impl RunDir {
    /// Returns the directory of a container, whether it exists or not.
    pub(crate) fn of(run: &Path, key: &ContainerKey) -> Self {
        Self(parent(run, &key.lxcpath).join(key.name.as_str()))
    }

    /// Returns the directory at a path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the lock; `None` when somebody else has it.
    pub(crate) fn try_lock(&self) -> Result<Option<RunLock>> {
        loop {
            if let Err(error) = make_directory(&self.0) {
                // The last container of the lxcpath went in between, and the directory above with it.
                if error.kind() == ErrorKind::NotFound && self.0.parent().is_some_and(|above| !above.exists())
                {
                    continue;
                }
                return Err(error);
            }
            let path = self.0.join("lock");
            let file =
                match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path) {
                    // Somebody removed the directory in between.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other.or_err(|| format!("cannot open the lock `{}`", path.display()))?,
                };
            match lock::try_exclusive(&file).or_err(|| format!("cannot lock `{}`", path.display()))? {
                Locked::Held => return Ok(None),
                // The lock of a file that was removed meanwhile protects nothing.
                Locked::Taken if is_at(&file, &path) => return Ok(Some(RunLock(file))),
                Locked::Taken => {}
            }
        }
    }

    /// Returns whether a monitor, or a start in progress, holds the lock.
    pub(crate) fn is_locked(&self) -> Result<bool> {
        let path = self.0.join("lock");
        // Asking about an exclusive lock needs a descriptor for writing.
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => lock::is_held(&file).or_err(|| format!("cannot test the lock `{}`", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).or_err(|| format!("cannot open the lock `{}`", path.display())),
        }
    }

    /// Returns what the monitor wrote last; `None` when there is nothing of this boot.
    pub(crate) fn read(&self) -> Result<Option<StateRecord>> {
        let path = self.0.join("state");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).or_err(|| format!("cannot read `{}`", path.display())),
        };
        // Files are replaced whole; what cannot be read is of another version and nobody's who lives.
        Ok(serde_json::from_slice::<StateRecord>(&text).ok().filter(|record| record.boot == boot()))
    }

    /// Replaces the state atomically.
    pub(crate) fn write(&self, record: &StateRecord) -> io::Result<()> {
        let (path, staged) = (self.0.join("state"), self.0.join("state.new"));
        let text = serde_json::to_vec(record)?;
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
        file.write_all(&text)?;
        // Memory only: it is gone with the boot, so there is nothing to make durable.
        fs::rename(&staged, &path)
    }

    /// Wakes those who wait for a change, when its processes were suspended or resumed.
    pub(crate) fn mark_frozen(&self, freeze: Freeze) -> io::Result<()> {
        let path = self.0.join("frozen");
        match freeze {
            Freeze::On => {
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).map(drop)
            }
            Freeze::Off => match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        }
    }

    /// Keeps the filter of system calls, for whoever attaches a program.
    pub(crate) fn write_filter(&self, filter: &Program) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(0o600).open(self.0.join("filter"))?;
        file.write_all(&serde_json::to_vec(filter)?)
    }

    /// Returns the filter of a running container.
    pub(crate) fn read_filter(&self) -> Result<Program> {
        let path = self.0.join("filter");
        let shown = || format!("cannot read the filter of system calls `{}`", path.display());
        let text = fs::read(&path).or_err(shown)?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::new(ErrorKind::Corrupt, shown()).with_source(error))
    }

    /// Removes everything. The caller holds the lock.
    pub(crate) fn remove(&self, _lock: &RunLock) -> io::Result<()> {
        for name in ["frozen", "filter", "state.new", "state", "lock"] {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&self.0)?;
        if let Some(of_lxcpath) = self.0.parent() {
            // Stays while another container of the lxcpath has a directory in it; who makes one meanwhile tries again.
            drop(fs::remove_dir(of_lxcpath));
        }
        Ok(())
    }

    /// Cleans up after a monitor that was killed. The caller holds the lock.
    ///
    /// # Behavior
    /// Its first process is dead already (it dies with its parent); what else lives in its cgroups is killed.
    pub(crate) fn heal(&self, _lock: &RunLock) -> Result<()> {
        let Some(record) = self.read()? else { return Ok(()) };
        if let Some(pidfd) = record.init.and_then(Process::open) {
            // It may end by itself between the two calls.
            drop(keiki_sys::signal::send(&pidfd, KILL));
        }
        for path in &record.cgroups {
            let shown = || format!("cannot remove the cgroup `{}` of a killed monitor", path.display());
            Cgroup::at(path).kill().or_err(shown)?;
            Cgroup::at(path).remove().or_err(shown)?;
        }
        crate::interfaces::clean_up(&self.0, &record.interfaces)?;
        let path = self.0.join("state");
        fs::remove_file(&path).or_err(|| format!("cannot remove `{}`", path.display()))
    }
}

pub(crate) const KILL: i32 = 9;

/// Returns the directory of all containers of one lxcpath.
pub(crate) fn parent(run: &Path, lxcpath: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    run.join(format!("{:016x}", fnv_1a(lxcpath.as_os_str().as_bytes())))
}

/// The 64-bit hash of Fowler, Noll and Vo, which LXC uses for the names of its sockets.
pub(crate) fn fnv_1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Makes a directory with its parents, closed to everybody else.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_err(|| format!("cannot make the directory `{}`", path.display()))
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

/// Returns the identity of the kernel's present boot.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use keiki_core::name::ContainerName;

    use super::*;

    fn record() -> StateRecord {
        let own = Identity::of(std::process::id()).unwrap();
        StateRecord {
            boot: boot(),
            state: ContainerState::Running,
            monitor: own.into(),
            init: None,
            cgroups: Vec::new(),
            interfaces: Vec::new(),
            started: 1,
        }
    }

    #[test]
    fn a_lock_is_held_once_and_survives_the_removal_of_its_directory() {
        let run = tempfile::tempdir().unwrap();
        let key = ContainerKey { lxcpath: "/l".into(), name: ContainerName::parse("a").unwrap() };
        let directory = RunDir::of(run.path(), &key);
        assert!(!directory.is_locked().unwrap());
        let lock = directory.try_lock().unwrap().unwrap();
        assert!(directory.try_lock().unwrap().is_none());
        directory.write(&record()).unwrap();
        directory.remove(&lock).unwrap();
        assert!(!directory.path().exists());
        let next = directory.try_lock().unwrap().unwrap();
        drop(lock);
        assert!(directory.is_locked().unwrap());
        drop(next);
    }

    #[test]
    fn a_state_of_another_boot_is_none_and_healing_removes_a_dead_one() {
        let run = tempfile::tempdir().unwrap();
        let directory = RunDir::at(run.path().join("x"));
        let lock = directory.try_lock().unwrap().unwrap();
        directory.write(&StateRecord { boot: "other".to_owned(), ..record() }).unwrap();
        assert_eq!(directory.read().unwrap(), None);
        directory.write(&record()).unwrap();
        assert_eq!(directory.read().unwrap(), Some(record()));
        directory.heal(&lock).unwrap();
        assert_eq!(directory.read().unwrap(), None);
        directory.heal(&lock).unwrap();
    }

    #[test]
    fn the_hash_is_the_one_of_lxc() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
