//! What the caller hands to the monitor in a sealed memory file: everything is decided and checked before.

use std::ffi::OsString;
use std::path::PathBuf;

use keiki_core::mount_plan::MountPlan;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

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

/// What a container's configuration says, typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) host_name: String,
    pub(crate) init: Option<Vec<OsString>>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The capabilities that the bounding set keeps, one bit each.
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: bool,
    pub(crate) proc: Automount,
    pub(crate) sys: Automount,
    pub(crate) cgroup: Automount,
    pub(crate) dev: Dev,
    pub(crate) terminals: u32,
    pub(crate) pty_max: u32,
    pub(crate) entries: Vec<MountEntry>,
    pub(crate) cgroup_name: String,
    pub(crate) limits: Vec<Limit>,
    pub(crate) devices: Option<Devices>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) halt_signal: Option<i32>,
    pub(crate) stop_signal: Option<i32>,
    pub(crate) network: Network,
    pub(crate) console_log: Option<PathBuf>,
    pub(crate) ephemeral: bool,
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

/// Whose network a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// Its own, with a loopback interface.
    Own,
    /// The host's (`lxc.net.0.type = none`).
    Host,
}

/// One line of `lxc.mount.entry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountEntry {
    pub(crate) source: String,
    /// Below the container's root, without a leading slash.
    pub(crate) target: PathBuf,
    pub(crate) fstype: String,
    pub(crate) bind: Bind,
    /// `MOUNT_ATTR_*` bits.
    pub(crate) attributes: u32,
    /// Options of the file system.
    pub(crate) data: Vec<String>,
    pub(crate) create: Create,
    pub(crate) optional: bool,
    /// Whether the source of a bind mount is below the container's root.
    pub(crate) relative: bool,
}

/// Whether an entry makes a mount or shows a directory a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bind {
    None,
    Single,
    Recursive,
}

/// What is made when the target of an entry is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Create {
    Nothing,
    Directory,
    File,
}

/// A value that is written into the container's cgroup before anybody is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// The version 1 controller whose hierarchy is joined; `None` is the version 2 tree.
    pub(crate) controller: Option<String>,
    pub(crate) file: String,
    pub(crate) value: String,
    /// Where the configuration says it.
    pub(crate) place: String,
}

/// Which devices the container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Devices {
    /// Whether everything is allowed but the exceptions, rather than nothing but them.
    pub(crate) allows: bool,
    pub(crate) exceptions: Vec<DeviceRule>,
    /// Where the configuration says it first.
    pub(crate) place: String,
}

/// An exception: `c 1:3 rwm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRule {
    /// `a`, `b` or `c`.
    pub(crate) kind: char,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) make: bool,
}

/// One line of `lxc.prlimit.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimit {
    pub(crate) name: String,
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
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
