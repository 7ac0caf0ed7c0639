//! Who uses a container right now: the engine asks before it changes one.

use std::path::PathBuf;

use keiki_core::Result;
use keiki_core::engine::{Activity, ContainerKey, Holder};

use crate::lxc::{self, Sockets};
use crate::rundir::RunDir;

/// Answers from the lock of the run directory and from LXC's sockets.
#[derive(Debug)]
pub(crate) struct RunActivity {
    run: PathBuf,
}

impl RunActivity {
    pub(crate) fn new(run: PathBuf) -> Self {
        Self { run }
    }
}

impl Activity for RunActivity {
    fn holder(&self, key: &ContainerKey) -> Result<Option<Holder>> {
        let directory = RunDir::of(&self.run, key);
        if directory.is_locked()? {
            let record = directory.read()?;
            let pid = record.as_ref().and_then(|record| record.init).map(|init| init.pid);
            let activity = if pid.is_some() { "running" } else { "starting" };
            return Ok(Some(Holder { activity: activity.to_owned(), pid }));
        }
        clean_up(&directory)?;
        if Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
            let holder = Holder { activity: "running under LXC".to_owned(), pid: lxc::init_pid(key) };
            return Ok(Some(holder));
        }
        Ok(None)
    }
}

/// Cleans up after a monitor that was killed: its container's volume must have no user left.
pub(crate) fn clean_up(directory: &RunDir) -> Result<()> {
    if !directory.path().exists() {
        return Ok(());
    }
    let Some(lock) = directory.try_lock()? else { return Ok(()) };
    directory.heal(&lock)?;
    // An empty directory that stays disturbs nobody.
    drop(directory.remove(&lock));
    Ok(())
}
