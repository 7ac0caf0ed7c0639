//! Verbs that make a container run, stop, and do something meanwhile.

use std::ffi::OsString;
use std::path::PathBuf;

use super::StoreOptions;

/// `keiki start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// The container
    pub(crate) name: String,
    /// Set a variable for init
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<OsString>,
    /// Command to run as init instead of the configured one
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `keiki stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Kill it at once instead of asking its init to shut down
    #[arg(short, long)]
    pub(crate) kill: bool,
    /// Seconds to wait for a shutdown before killing it
    #[arg(short, long, value_name = "S", default_value_t = 60)]
    pub(crate) timeout: u64,
}

/// `keiki freeze` and `keiki unfreeze`.
#[derive(Debug, clap::Args)]
pub(crate) struct Freeze {
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// `keiki cgroup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cgroup {
    /// The container
    pub(crate) name: String,
    /// A file of its cgroup: memory.max, cpu.weight, pids.current
    pub(crate) file: String,
    /// What to write into it, until the container stops
    pub(crate) value: Option<String>,
}

/// `keiki autostart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Autostart {
    #[command(flatten)]
    pub(crate) action: AutostartAction,
    /// Only print which containers, and the seconds to wait after each
    #[arg(short = 'L', long)]
    pub(crate) list: bool,
    /// Whatever their groups
    #[arg(short, long, conflicts_with = "groups")]
    pub(crate) all: bool,
    /// Also those without lxc.start.auto = 1
    #[arg(short = 'A', long)]
    pub(crate) ignore_auto: bool,
    /// Groups, one after the other; an empty one is that of containers without a group, and the default
    #[arg(short, long, value_name = "GROUP", value_delimiter = ',')]
    pub(crate) groups: Vec<String>,
    /// Seconds that a shutdown may take before the container is killed
    #[arg(short, long, value_name = "S", default_value_t = 60)]
    pub(crate) timeout: u64,
}

/// What `keiki autostart` does; without a word it starts.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct AutostartAction {
    /// Stop and start those that run
    #[arg(short, long)]
    pub(crate) reboot: bool,
    /// Shut down those that run, in the reverse order
    #[arg(short, long)]
    pub(crate) shutdown: bool,
    /// Kill those that run, in the reverse order
    #[arg(short, long)]
    pub(crate) kill: bool,
}

/// `keiki attach`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "keiki attach [OPTIONS] <NAME> [-- <CMD>...]")]
pub(crate) struct Attach {
    /// The container
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Command to run instead of the user's shell
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `keiki exec`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "keiki exec [OPTIONS] <NAME> -- <CMD>...")]
pub(crate) struct Exec {
    /// The container
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Command to run; put `--` in front of it
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// What a command finds around it.
#[derive(Debug, clap::Args)]
pub(crate) struct Surroundings {
    /// Set a variable for the command
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<OsString>,
    /// Directory in the container to run in [default: /]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
}

/// `keiki run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With `--rm` the named container is left alone: an ephemeral clone of it runs the command and is destroyed after it."
)]
#[command(override_usage = "keiki run [OPTIONS] <NAME|SRC> -- <CMD>...")]
pub(crate) struct Run {
    /// The container; with --rm it may be NAME@SNAPSHOT
    #[arg(value_name = "NAME|SRC")]
    pub(crate) source: String,
    /// Run in an ephemeral clone, and destroy that afterwards
    #[arg(long)]
    pub(crate) rm: bool,
    /// Keep what the ephemeral clone writes in memory
    #[arg(long, requires = "rm")]
    pub(crate) tmpfs: bool,
    /// Set a variable for the command
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<OsString>,
    /// Command to run; put `--` in front of it
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

/// `keiki wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// The container
    pub(crate) name: String,
    /// States to wait for: stopped, starting, running, stopping, aborting, freezing, frozen, thawed
    #[arg(short, long = "state", required = true, value_name = "STATE", value_delimiter = ',')]
    pub(crate) states: Vec<String>,
    /// Seconds to wait before giving up with exit code 6
    #[arg(short, long, value_name = "S")]
    pub(crate) timeout: Option<u64>,
}
