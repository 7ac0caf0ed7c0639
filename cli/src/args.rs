//! What the command line may say: one struct a verb, grouped in files by what the verbs are about.
//!
//! Everything here is syntax. Names are parsed when the verb runs, so that a bad name is reported in the same form and
//! with the same exit code as every other error. Doc comments are the help text: their first line has no final period.

mod config;
mod lifecycle;
mod net;
mod reading;
mod storage;
mod transfer;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use config::{
    Config, ConfigCheck, ConfigClear, ConfigGet, ConfigKeys, ConfigMigrate, ConfigSet, ConfigShow, ConfigVerb,
};
pub(crate) use lifecycle::{
    Attach, Autostart, AutostartAction, Cgroup, Exec, Freeze, Run, Start, Stop, Wait,
};
pub(crate) use net::{Net, NetDown, NetVerb};
pub(crate) use reading::{Check, Df, Info, Ls, Stores, Tree};
pub(crate) use storage::{
    Clone, Create, Destroy, Flatten, Promote, Quota, Rename, Resize, Snapshot, SnapshotComment,
    SnapshotCreate, SnapshotDestroy, SnapshotList, SnapshotRestore, SnapshotVerb, StoreOptions,
};

pub(crate) use transfer::{Receive, Send};

use crate::ui::color::ColorChoice;

/// The forms that everything which reads can print.
const FORMATS: &str = "table|json|yaml|csv";

const EXIT_CODES: &str = "\
Exit codes:
  0 done                      5 others depend on it
  1 failed                    6 busy, locked, or a deadline passed
  2 usage or a bad name       7 the store cannot do it
  3 not found                 8 permission denied
  4 exists already            9 the host lacks something
  exec, attach and run pass on the exit code of the command.

Environment:
  KEIKI_STATE     directory of the catalogue (/var/lib/keiki; for users $XDG_DATA_HOME/keiki)
  KEIKI_RUN       directory of what runs (/run/keiki; for users $XDG_RUNTIME_DIR/keiki)
  KEIKI_MONITOR   the program keiki-monitor, when it is not beside this one
  KEIKI_LXC_CONF  LXC's global configuration (/etc/lxc/lxc.conf; for users ~/.config/lxc/lxc.conf)
  NO_COLOR        any value switches colour off

Data goes to stdout, everything else to stderr. `keiki help VERB` says more.";

/// Manage Linux system containers whose root filesystems live in pluggable stores
#[derive(Debug, Parser)]
#[command(name = "keiki", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes, in front of the verb or behind it.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Directory that holds the containers [default: lxc.lxcpath of lxc.conf, else /var/lib/lxc; for users $XDG_DATA_HOME/lxc]
    #[arg(short = 'P', long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// Say nothing about what was done
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "auto|always|never")]
    #[arg(hide_possible_values = true, help_heading = "Global options")]
    pub(crate) color: ColorChoice,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a container from a template
    Create(Create),
    /// Start a container in the background
    Start(Start),
    /// Stop running containers
    Stop(Stop),
    /// Open a shell in a running container
    Attach(Attach),
    /// Run a command in a running container and pass on its exit code
    Exec(Exec),
    /// Run a command as the init of a container, in the foreground
    Run(Run),
    /// Suspend all processes of running containers
    Freeze(Freeze),
    /// Let the processes of suspended containers go on
    Unfreeze(Freeze),
    /// Read or set a limit of a running container
    Cgroup(Cgroup),
    /// Start, stop or list the containers that shall run from boot on
    Autostart(Autostart),
    /// Wait until a container is in a state
    Wait(Wait),
    /// Make containers that begin as another one
    Clone(Clone),
    /// Take, list, restore and destroy snapshots
    Snapshot(Snapshot),
    /// Write a container with its snapshots to stdout, for `keiki receive`
    Send(Send),
    /// Read what `keiki send` wrote from stdin
    Receive(Receive),
    /// Destroy containers
    Destroy(Destroy),
    /// Give a container another name
    Rename(Rename),
    /// Make a container independent of those that it was cloned from
    Flatten(Flatten),
    /// Let those that a container was cloned from depend on it instead
    Promote(Promote),
    /// Make a container's volume larger or smaller
    Resize(Resize),
    /// Limit what a container may hold
    Quota(Quota),
    /// Read, check and change the configuration of containers
    Config(Config),
    /// Make, take down and show the host's network for containers
    Net(Net),
    /// List containers
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Show one container
    Info(Info),
    /// Draw who was made from whom, and who needs whom
    Tree(Tree),
    /// Show the space that containers take
    Df(Df),
    /// Show the stores, what each can do here, and what is missing
    Stores(Stores),
    /// Compare the catalogue with what is on disk
    Check(Check),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lxcpath_is_accepted_before_and_after_the_verb() {
        for line in [
            ["keiki", "-P", "/x", "ls"].as_slice(),
            &["keiki", "ls", "-P", "/x"],
            &["keiki", "snapshot", "list", "a", "--lxcpath", "/x"],
            &["keiki", "exec", "a", "-P", "/x", "--", "true"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.lxcpath, Some("/x".into()), "{line:?}");
        }
    }

    #[test]
    fn options_of_the_command_are_not_ours() {
        for line in [["keiki", "exec", "a", "--", "ls", "-P"].as_slice(), &["keiki", "exec", "a", "ls", "-P"]]
        {
            let cli = Cli::try_parse_from(line).unwrap();
            let Verb::Exec(exec) = cli.verb else { panic!("not exec") };
            assert_eq!(exec.command, ["ls", "-P"]);
        }
    }

    #[test]
    fn first_lines_of_help_have_no_final_period() {
        for verb in Cli::command().get_subcommands() {
            let about = verb.get_about().unwrap().to_string();
            assert!(!about.ends_with('.'), "{about}");
        }
    }
}
