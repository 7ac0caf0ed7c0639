//! What callers ask of the runtime, and what it answers: plain data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use keiki_core::registry::Registry;

/// What a [`Runtime`](crate::Runtime) is made of.
#[derive(Debug)]
pub struct RuntimeOptions {
    /// The stores.
    pub registry: Registry,
    /// The directory of the catalogue.
    pub state: PathBuf,
    /// The directory of what runs: `/run/keiki`.
    pub run: PathBuf,
    /// The monitor program. That it is missing is found out at the first start.
    pub monitor: PathBuf,
}

/// How a container is started.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The program that becomes the first process, instead of `lxc.init.cmd` or `/sbin/init`.
    pub command: Option<Vec<OsString>>,
    /// Variables that are added to those of the configuration.
    pub environment: Vec<(OsString, OsString)>,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its first process, as the host sees it.
    pub pid: u32,
    /// Configuration that was understood and not applied, each with its place.
    pub warnings: Vec<String>,
}

/// How a container is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Its first process is asked to shut down; killed when the time is over.
    Shutdown,
    /// Every process is killed at once.
    Kill,
}

/// How a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOptions {
    /// By which means.
    pub mode: StopMode,
    /// How long a shutdown may take.
    pub timeout: Duration,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self { mode: StopMode::Shutdown, timeout: Duration::from_secs(60) }
    }
}

/// Whether an attached program gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminal {
    /// When standard input and output of the caller are terminals.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: it reads and writes the caller's descriptors.
    Never,
}

/// A program to run inside a running container.
#[derive(Debug, Clone, Default)]
pub struct AttachCommand {
    /// The program and its arguments; empty is the shell of the container's root.
    pub argv: Vec<OsString>,
    /// Variables that are added to `PATH`, `TERM`, `HOME` and `container`.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory in which it starts; `None` is `/`.
    pub cwd: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub terminal: Terminal,
    /// The user and group that it runs as; `None` is root.
    pub user: Option<(u32, u32)>,
}

/// What `destroy` does with a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It is refused as busy.
    Refuse,
    /// It is killed first.
    Stop,
}
