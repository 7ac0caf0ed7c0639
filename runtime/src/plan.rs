//! What the caller hands to the monitor in a sealed memory file: everything is decided and checked before.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keiki_core::mount_plan::MountPlan;
use keiki_seccomp::Program;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::settings::Settings;

/// Everything that a monitor needs to start a container and look after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartPlan {
    /// The container's name.
    pub(crate) name: String,
    /// The directory of containers.
    pub(crate) lxcpath: PathBuf,
    /// Its directory below `/run/keiki`.
    pub(crate) run: PathBuf,
    /// Its root filesystem.
    pub(crate) root: MountPlan,
    /// What comes of the configuration.
    pub(crate) settings: Settings,
    /// The first process.
    pub(crate) argv: Vec<OsString>,
    /// Its variables.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Its standard descriptors.
    pub(crate) stdio: Stdio,
    /// The program that takes the monitor's place when an ephemeral container has stopped.
    pub(crate) afterwards: Option<Vec<OsString>>,
}

impl StartPlan {
    /// Returns where the root filesystem is attached, in the container's mount namespace only, until it becomes the root: a
    /// directory that everybody may enter, which nothing needs there any more.
    pub(crate) fn mount_point(&self) -> &Path {
        let configured = self.settings.mounts.root_mount.as_deref().filter(|path| path.is_dir());
        let run = || self.run.ancestors().nth(2).unwrap_or(&self.run);
        configured.unwrap_or_else(run)
    }
}

/// Where a first process reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stdio {
    /// The container's console; the monitor is in the background.
    Console,
    /// The descriptors of the caller, in whose foreground the monitor runs.
    Inherited,
    /// The container's console, which the monitor connects to the caller's terminal.
    Terminal,
}

/// What an attach helper is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachPlan {
    /// The container's first process.
    pub(crate) pid: u32,
    /// When it started.
    pub(crate) start: u64,
    /// The cgroup in which the program is born; `None` is that of the first process.
    pub(crate) cgroup: Option<PathBuf>,
    /// The program; empty is the user's shell.
    pub(crate) argv: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<(u32, u32)>,
    /// Whether it gets a terminal of the container's.
    pub(crate) terminal: bool,
    /// The filter of the container's system calls.
    pub(crate) filter: Program,
}

/// What a monitor or helper tells its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The first process runs.
    Running {
        /// Its number on the host.
        pid: u32,
    },
    /// The program ended with this code.
    Exited {
        /// As a shell gives it.
        code: i32,
    },
    /// It did not come so far.
    Failed(Failure),
}
