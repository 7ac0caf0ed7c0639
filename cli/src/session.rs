//! One run of the command: its user interface, its directories, and the runtime, which is opened when a verb needs it.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_config::GlobalConfig;
use keiki_core::context::{Context, Observer, Progress};
use keiki_core::engine::ContainerKey;
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::{Error, ErrorKind, Result};
use keiki_network::bridge::Places;
use keiki_runtime::{Runtime, RuntimeOptions};

use crate::args::Global;
use crate::error::{Exit, report};
use crate::failpoint::{self, Failpoint};
use crate::registry;
use crate::surroundings::{Surroundings, absolute};
use crate::ui::progress::ProgressLine;
use crate::ui::{Ui, Verbosity};

/// Whether the directory of containers is made when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

/// What every verb works with.
#[derive(Debug)]
pub(crate) struct Session {
    ui: Ui,
    surroundings: Surroundings,
    lxcpath: Option<PathBuf>,
    global_config: OnceCell<GlobalConfig>,
    runtime: OnceCell<Runtime>,
}

impl Session {
    /// Returns a session that has touched nothing yet.
    pub(crate) fn new(global: &Global) -> Self {
        let verbosity = if global.quiet { Verbosity::Quiet } else { Verbosity::Normal };
        Self {
            ui: Ui::new(global.color, verbosity),
            surroundings: Surroundings::of_process(),
            lxcpath: global.lxcpath.clone(),
            global_config: OnceCell::new(),
            runtime: OnceCell::new(),
        }
    }

    /// Returns the user interface.
    pub(crate) fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Returns the runtime; opening it heals what dead processes left.
    pub(crate) fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = Runtime::open(RuntimeOptions {
            registry: registry::with_defaults(self.global_config()?),
            state: self.surroundings.state()?,
            run: self.surroundings.run()?,
            monitor: self.surroundings.monitor(),
        })?
        .with_ephemeral_cleanup(cleanup());
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// Returns LXC's global configuration.
    ///
    /// # Errors
    /// `InvalidArgument` with `file:line:column` for a line that means nothing.
    pub(crate) fn global_config(&self) -> Result<&GlobalConfig> {
        if let Some(config) = self.global_config.get() {
            return Ok(config);
        }
        let config = self.surroundings.global_config()?;
        Ok(self.global_config.get_or_init(|| config))
    }

    /// Returns where the files of the host's network for containers are.
    pub(crate) fn network_places(&self) -> Result<Places> {
        self.surroundings.network()
    }

    /// Returns the canonical directory of containers.
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    pub(crate) fn lxcpath(&self) -> Result<PathBuf> {
        self.find_lxcpath(Missing::Leave)
    }

    /// Returns the directory of containers for a verb that lists: one that nobody has made yet holds none, unless `--lxcpath`
    /// names it, which may be a mistake.
    pub(crate) fn listed_lxcpath(&self) -> Result<PathBuf> {
        match self.lxcpath() {
            Err(error) if error.kind() == ErrorKind::NotFound && self.lxcpath.is_none() => {
                self.wanted_lxcpath()
            }
            other => other,
        }
    }

    /// Returns the canonical directory of containers, and makes it when it is missing.
    pub(crate) fn made_lxcpath(&self) -> Result<PathBuf> {
        self.find_lxcpath(Missing::Make)
    }

    /// Returns which existing container is meant.
    pub(crate) fn container(&self, name: &str) -> Result<ContainerKey> {
        Ok(ContainerKey { name: ContainerName::existing(name)?, lxcpath: self.lxcpath()? })
    }

    /// Returns the key of a container to be made; makes the directory of containers when it is missing.
    pub(crate) fn new_container(&self, name: &str) -> Result<ContainerKey> {
        Ok(ContainerKey { name: ContainerName::parse(name)?, lxcpath: self.find_lxcpath(Missing::Make)? })
    }

    /// Returns the container and snapshot that `NAME[@SNAPSHOT]` means.
    pub(crate) fn source(&self, text: &str) -> Result<(ContainerKey, Option<SnapshotName>)> {
        match text.rsplit_once('@') {
            None => Ok((self.container(text)?, None)),
            Some((name, snapshot)) => Ok((self.container(name)?, Some(SnapshotName::existing(snapshot)?))),
        }
    }

    /// Returns what accompanies an operation: progress on stderr, and the failpoint of a test.
    pub(crate) fn context(&self) -> Result<Context> {
        let failpoint = std::env::var_os(failpoint::VARIABLE)
            .filter(|value| !value.is_empty())
            .map(|value| Failpoint::parse(&value))
            .transpose()?;
        Ok(Context::new(Arc::new(Watcher { failpoint, progress: ProgressLine::new() })))
    }

    /// Does `action` for each item, also after a failure; the exit code is that of the first failure.
    pub(crate) fn each<T>(&self, items: &[T], mut action: impl FnMut(&T) -> Result<()>) -> Result<Exit> {
        let mut exit = Exit::DONE;
        for item in items {
            if let Err(error) = action(item) {
                let code = report(&self.ui, &error);
                exit = if exit == Exit::DONE { code } else { exit };
            }
        }
        Ok(exit)
    }

    /// Returns the directory of containers that is meant, whether it exists or not.
    pub(crate) fn wanted_lxcpath(&self) -> Result<PathBuf> {
        match &self.lxcpath {
            Some(path) => absolute(path),
            None => match self.global_config()?.lxcpath() {
                Some(path) => Ok(path),
                None => self.surroundings.lxcpath(),
            },
        }
    }

    fn find_lxcpath(&self, missing: Missing) -> Result<PathBuf> {
        let path = self.wanted_lxcpath()?;
        if missing == Missing::Make {
            std::fs::create_dir_all(&path)
                .map_err(|e| Error::io(format!("cannot make the lxcpath `{}`", path.display()), e))?;
        }
        canonical(&path)
    }
}

/// Returns the command that removes an ephemeral container which stopped in the background.
fn cleanup() -> Vec<OsString> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("keiki"));
    let words = ["destroy", "--quiet", "--with-snapshots"].map(OsString::from);
    std::iter::once(program.into_os_string()).chain(words).collect()
}

fn canonical(path: &Path) -> Result<PathBuf> {
    let found = path.canonicalize().map_err(|e| {
        let error = Error::io(format!("cannot open the lxcpath `{}`", path.display()), e);
        match error.kind() {
            ErrorKind::NotFound => error.with_hint("`keiki create` makes it; `-P DIR` names another one"),
            _ => error,
        }
    })?;
    if found.is_dir() {
        return Ok(found);
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the lxcpath `{}` is not a directory", path.display()),
    ))
}

/// Hears what an operation does, on behalf of the user and of tests.
struct Watcher {
    failpoint: Option<Failpoint>,
    progress: ProgressLine,
}

impl Observer for Watcher {
    fn step(&self, name: &str) -> Result<()> {
        self.failpoint.as_ref().map_or(Ok(()), |failpoint| failpoint.reach(name))
    }

    fn progress(&self, progress: Progress) {
        self.progress.set(progress);
    }
}
