//! What containers do right now, found in run directories and LXC's sockets; no monitor of ours is asked.

use std::path::Path;
use std::time::{Duration, Instant};

use keiki_core::Result;
use keiki_core::engine::ContainerKey;

use super::Runtime;
use crate::lxc::{self, Sockets};
use crate::rundir::RunDir;
use crate::status::{ContainerState, ContainerStatus, Manager};
use crate::wait::{self, Watch};

impl Runtime {
    /// Returns what a container does.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn state(&self, key: &ContainerKey) -> Result<ContainerState> {
        match self.observe(key)? {
            Some(seen) => Ok(seen.state),
            None => self.engine.container(key).map(|_| ContainerState::Stopped),
        }
    }

    /// Returns every container of an lxcpath, sorted by name, with what it does. No monitor is asked: one that hangs hangs
    /// nobody.
    ///
    /// # Errors
    /// As [`Engine::containers`](keiki_core::engine::Engine::containers).
    pub fn statuses(&self, lxcpath: &Path) -> Result<Vec<ContainerStatus>> {
        let records = self.engine.containers(lxcpath)?;
        let running = names_in(&crate::rundir::parent(&self.run, lxcpath));
        let sockets = Sockets::read()?;
        let seen = |key: &ContainerKey| -> Result<Option<Seen>> {
            if running.contains(key.name.as_str())
                && let Some(seen) = observe_own(&RunDir::of(&self.run, key))?
            {
                return Ok(Some(seen));
            }
            let is_under_lxc = sockets.has(&key.lxcpath, key.name.as_str());
            Ok(is_under_lxc.then_some(Seen {
                state: ContainerState::Running,
                pid: None,
                manager: Manager::Lxc,
            }))
        };
        records.into_iter().map(|record| Ok(status(seen(&record.key)?, record))).collect()
    }

    /// Returns one container with what it does.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn status(&self, key: &ContainerKey) -> Result<ContainerStatus> {
        let record = self.engine.container(key)?;
        Ok(status(self.observe(key)?, record))
    }

    /// Waits until a container is in one of `states` and returns which.
    ///
    /// # Behavior
    /// A container that LXC runs is watched by its first process: its end is seen at once, other changes are not.
    ///
    /// # Errors
    /// `NotFound`, `Timeout`.
    pub fn wait(
        &self,
        key: &ContainerKey,
        states: &[ContainerState],
        timeout: Option<Duration>,
    ) -> Result<ContainerState> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let watch = Watch::new(&self.run, key)?;
        loop {
            watch.arm()?;
            let state = self.state(key)?;
            if states.contains(&state) {
                return Ok(state);
            }
            let process = self.process_to_watch(key)?;
            if !watch.wait(process.as_ref(), deadline)? {
                return Err(wait::too_long(format!("container `{}` is still {state}", key.name)));
            }
        }
    }

    /// Returns the process whose end changes the state: the monitor, whose death no file tells.
    fn process_to_watch(&self, key: &ContainerKey) -> Result<Option<std::os::fd::OwnedFd>> {
        let directory = RunDir::of(&self.run, key);
        if directory.is_locked()? {
            return Ok(directory.read()?.and_then(|record| record.monitor.open()));
        }
        if !Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
            return Ok(None);
        }
        let identity = lxc::init_pid(key).and_then(|pid| keiki_sys::process::Identity::of(pid).ok());
        Ok(identity.and_then(keiki_sys::process::Identity::open))
    }

    fn observe(&self, key: &ContainerKey) -> Result<Option<Seen>> {
        if let Some(seen) = observe_own(&RunDir::of(&self.run, key))? {
            return Ok(Some(seen));
        }
        if !Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
            return Ok(None);
        }
        let state = lxc::state(key).unwrap_or(ContainerState::Running);
        Ok(Some(Seen { state, pid: lxc::init_pid(key), manager: Manager::Lxc }))
    }
}

/// What can be seen of a container that runs.
#[derive(Debug, Clone, Copy)]
struct Seen {
    state: ContainerState,
    pid: Option<u32>,
    manager: Manager,
}

fn observe_own(directory: &RunDir) -> Result<Option<Seen>> {
    if !directory.is_locked()? {
        return Ok(None);
    }
    let starting = Seen { state: ContainerState::Starting, pid: None, manager: Manager::Keiki };
    let Some(record) = directory.read()? else { return Ok(Some(starting)) };
    Ok(Some(Seen { state: record.seen_state(), pid: record.init.map(|init| init.pid), ..starting }))
}

fn status(seen: Option<Seen>, record: keiki_core::engine::ContainerRecord) -> ContainerStatus {
    ContainerStatus {
        record,
        state: seen.map_or(ContainerState::Stopped, |seen| seen.state),
        pid: seen.and_then(|seen| seen.pid),
        manager: seen.map(|seen| seen.manager),
    }
}

fn names_in(directory: &Path) -> std::collections::HashSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
