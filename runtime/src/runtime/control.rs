//! What is changed about a container while it runs, from outside: its processes are suspended, its limits read and set.
//!
//! The kernel's files are written here, not by the monitor: a monitor that hangs holds nobody up.

use std::path::Path;
use std::time::Duration;

use keiki_core::engine::ContainerKey;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::cgroup::{self, Cgroup, Freeze};
use rustix::io::Errno;

use super::Runtime;
use crate::lxc::Sockets;
use crate::rundir::{RunDir, StateRecord};

/// How long processes may take until all of them are suspended.
const FREEZE_TIME: Duration = Duration::from_secs(10);

impl Runtime {
    /// Suspends all processes of a container, and returns when they are.
    ///
    /// # Behavior
    /// One that is suspended already stays so.
    ///
    /// # Errors
    /// `NotRunning` when it does not run, `Timeout` when a process waits in the kernel: it is suspended as soon as it comes back.
    pub fn freeze(&self, key: &ContainerKey) -> Result<()> {
        self.set_frozen(key, Freeze::On)
    }

    /// Lets the processes of a container go on.
    ///
    /// # Errors
    /// As [`Self::freeze`].
    pub fn unfreeze(&self, key: &ContainerKey) -> Result<()> {
        self.set_frozen(key, Freeze::Off)
    }

    fn set_frozen(&self, key: &ContainerKey, freeze: Freeze) -> Result<()> {
        let (directory, record) = self.running(key)?;
        let verb = if freeze == Freeze::On { "suspend" } else { "resume" };
        let shown = || format!("cannot {verb} the processes of container `{}`", key.name);
        let cgroup = unified(&record).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, shown())
                .with_hint("this host has no unified cgroup tree; keiki suspends processes there")
        })?;
        cgroup.freeze(freeze).or_err(shown)?;
        let frozen = cgroup.wait_until_frozen(freeze, FREEZE_TIME).or_err(shown);
        // Only now: whoever it wakes looks at once.
        directory.mark_frozen(freeze).or_err(shown)?;
        frozen
    }

    /// Returns what a file of a running container's cgroup says: `memory.max`.
    ///
    /// # Errors
    /// `NotRunning` when it does not run, `InvalidArgument` when the name is none, `NotFound` when no cgroup of it has such a file.
    pub fn cgroup_value(&self, key: &ContainerKey, file: &str) -> Result<String> {
        let (_, record) = self.running(key)?;
        let cgroup = having(key, &record, file)?;
        cgroup.read(file).or_err(|| format!("cannot read `{file}` of container `{}`", key.name))
    }

    /// Writes a value into a file of a running container's cgroup.
    ///
    /// # Behavior
    /// It holds until the container stops; what shall hold longer belongs into its configuration.
    ///
    /// # Errors
    /// As [`Self::cgroup_value`]; what the kernel says about the value.
    pub fn set_cgroup_value(&self, key: &ContainerKey, file: &str, value: &str) -> Result<()> {
        let (_, record) = self.running(key)?;
        let cgroup = having(key, &record, file)?;
        let shown = format!("cannot set `{file}` of container `{}` to `{value}`", key.name);
        cgroup.write(file, value).map_err(|error| match error.errno {
            Errno::INVAL | Errno::RANGE => Error::new(ErrorKind::InvalidArgument, shown).with_source(error),
            _ => Error::io(shown, error.into()),
        })
    }

    /// Returns where a running container is and what its monitor tells.
    fn running(&self, key: &ContainerKey) -> Result<(RunDir, StateRecord)> {
        let directory = RunDir::of(&self.run, key);
        if !directory.is_locked()? {
            if Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
                let text = format!("container `{}` runs under LXC", key.name);
                return Err(Error::new(ErrorKind::Unsupported, text).with_hint("use LXC's own tool for it"));
            }
            self.engine.container(key)?;
            return Err(not_running(key));
        }
        let being_started =
            || Error::new(ErrorKind::Busy, format!("container `{}` is being started", key.name));
        let record = directory.read()?.filter(|record| record.init.is_some()).ok_or_else(being_started)?;
        Ok((directory, record))
    }
}

/// Returns the error of an operation that only a running container can do.
pub(super) fn not_running(key: &ContainerKey) -> Error {
    Error::new(ErrorKind::NotRunning, format!("container `{}` does not run", key.name))
        .with_hint(format!("start it: `keiki start {}`", key.name))
}

fn unified(record: &StateRecord) -> Option<Cgroup> {
    record.cgroups.first().filter(|_| cgroup::layout().has_version_2()).map(Cgroup::at)
}

/// Returns the cgroup of a container that has a file; the one of the unified tree is asked first.
fn having(key: &ContainerKey, record: &StateRecord, file: &str) -> Result<Cgroup> {
    let is_name = !file.is_empty() && !file.contains('/') && file != "." && file != "..";
    if !is_name {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{file}` is no name of a file of a cgroup"),
        ));
    }
    let found = record.cgroups.iter().find(|path| Path::new(path).join(file).exists());
    found.map(Cgroup::at).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("no cgroup of container `{}` has a file `{file}`", key.name))
            .with_hint("a hierarchy of version 1 is joined only where the configuration has a limit for it")
    })
}
