//! `keiki config`: reading and changing LXC configuration.

use super::FORMATS;
use crate::ui::format::Format;

/// `keiki config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
TARGET is a container, or a file when there is a slash in it: `keiki config check ./web.conf`.
Changes are made in the file's own text: comments, order and every other byte stay. What would not be
sound afterwards is refused, and nothing changes. docs/configuration.md describes every key.")]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

/// What `keiki config` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigVerb {
    /// Tell what is wrong, and what is understood and not applied
    Check(ConfigCheck),
    /// Show every setting that is in force, with its place
    Show(ConfigShow),
    /// Print what keys are set to, as `lxc-info -c` does
    Get(ConfigGet),
    /// Set keys; a list gets one more value
    Set(ConfigSet),
    /// Unset keys, whole lists or families such as `lxc.net.0`
    Clear(ConfigClear),
    /// Describe keys
    Keys(ConfigKeys),
    /// Replace the names of LXC 1 and 2 by today's
    Migrate(ConfigMigrate),
}

/// `keiki config check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 1 when something is wrong; what is not applied is a warning and no failure. \
    Fields: file, line, column, severity (error, warning), message, hint."
)]
pub(crate) struct ConfigCheck {
    /// Containers or files [default: lxc.conf, the default configuration and all containers]
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki config show`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Included files are read, and what was cleared is not there. Fields: key, value, file, line, column, applied."
)]
pub(crate) struct ConfigShow {
    /// The container or file
    pub(crate) target: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki config get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Lists have one item a line; a key that is not set prints its default, or nothing. A family prints what is
below it: lxc.net the types of the interfaces, lxc.cgroup2 its settings. Fields: key, value, default.")]
pub(crate) struct ConfigGet {
    /// The container or file
    pub(crate) target: String,
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki config set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  keiki config set web1 lxc.tty.max=4 lxc.start.auto=1
  keiki config set web1 lxc.cap.drop= lxc.cap.drop='sys_time mac_admin'

All changes are made or none. An empty value clears what came before; an x in a hardware address becomes a random digit.
A running container has them at its next start.")]
pub(crate) struct ConfigSet {
    /// The container or file
    pub(crate) target: String,
    /// What to set
    #[arg(value_name = "KEY=VALUE", required = true)]
    pub(crate) changes: Vec<String>,
}

/// `keiki config clear`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What an included file says is cleared, too: a line without a value is added behind the include."
)]
pub(crate) struct ConfigClear {
    /// The container or file
    pub(crate) target: String,
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
}

/// `keiki config keys`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Fields: key, takes, many, default, example, applied (start, elsewhere, no), meaning."
)]
pub(crate) struct ConfigKeys {
    /// Only keys that begin so
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
    /// Print only names, one a line
    #[arg(short = '1', long = "names", conflicts_with = "format")]
    pub(crate) names_only: bool,
}

/// `keiki config migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
As lxc-update-config; the old file stays beside the new one as FILE.backup. A file without old names is left alone.
Exits with 1 when something else is wrong with the new text. Fields: file, line, old, new.")]
pub(crate) struct ConfigMigrate {
    /// Containers or files
    #[arg(value_name = "TARGET", required = true)]
    pub(crate) targets: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}
