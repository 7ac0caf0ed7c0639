//! Where this user's containers, catalogue and run directory are: the only reader of the environment besides colour,
//! locale and failpoints.
//!
//! | | root | user |
//! |---|---|---|
//! | containers (`--lxcpath`) | `/var/lib/lxc` | `$XDG_DATA_HOME/lxc` |
//! | catalogue (`KEIKI_STATE`) | `/var/lib/keiki` | `$XDG_DATA_HOME/keiki` |
//! | what runs (`KEIKI_RUN`) | `/run/keiki` | `$XDG_RUNTIME_DIR/keiki` |
//! | LXC's global configuration (`KEIKI_LXC_CONF`) | `/etc/lxc/lxc.conf` | `$HOME/.config/lxc/lxc.conf` |
//!
//! `lxc.lxcpath` in that configuration takes the place of the directory of containers above; `--lxcpath` wins over both.

use std::env;
use std::path::{Path, PathBuf};

use keiki_config::GlobalConfig;
use keiki_core::{Error, ErrorKind, Result};
use keiki_network::bridge::Places;

const MONITOR: &str = "keiki-monitor";
const LIBEXEC: &str = "/usr/libexec/keiki";

/// Who runs the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Root,
    User(u32),
}

/// The directories of one caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    caller: Caller,
}

impl Surroundings {
    /// Returns the surroundings of this process.
    pub(crate) fn of_process() -> Self {
        let uid = rustix::process::geteuid();
        let caller = if uid.is_root() { Caller::Root } else { Caller::User(uid.as_raw()) };
        Self { caller }
    }

    /// Reads LXC's global configuration; a file that is not there says nothing, unless it was named.
    pub(crate) fn global_config(self) -> Result<GlobalConfig> {
        let named = variable("KEIKI_LXC_CONF");
        let usual = match self.caller {
            Caller::Root => Some(PathBuf::from("/etc/lxc/lxc.conf")),
            Caller::User(_) => variable("HOME").map(|home| home.join(".config/lxc/lxc.conf")),
        };
        let Some(path) = named.clone().or(usual) else { return Ok(GlobalConfig::default()) };
        match std::fs::read(&path) {
            Ok(text) => Ok(GlobalConfig::parse(&text, &path)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Ok(GlobalConfig::default())
            }
            Err(e) => Err(Error::io(format!("cannot read the configuration `{}`", path.display()), e)),
        }
    }

    /// Returns the directory of containers that is used without `--lxcpath` and without a line in `lxc.conf`.
    pub(crate) fn lxcpath(self) -> Result<PathBuf> {
        match self.caller {
            Caller::Root => Ok("/var/lib/lxc".into()),
            Caller::User(_) => Ok(data_home()?.join("lxc")),
        }
    }

    /// Returns the directory of the catalogue.
    pub(crate) fn state(self) -> Result<PathBuf> {
        match (variable("KEIKI_STATE"), self.caller) {
            (Some(path), _) => absolute(&path),
            (None, Caller::Root) => Ok("/var/lib/keiki".into()),
            (None, Caller::User(_)) => Ok(data_home()?.join("keiki")),
        }
    }

    /// Returns the directory of what runs.
    pub(crate) fn run(self) -> Result<PathBuf> {
        match (variable("KEIKI_RUN"), self.caller) {
            (Some(path), _) => absolute(&path),
            (None, Caller::Root) => Ok("/run/keiki".into()),
            (None, Caller::User(uid)) => Ok(variable("XDG_RUNTIME_DIR")
                .unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}")))
                .join("keiki")),
        }
    }

    /// Returns where the files of the host's network for containers are; leases beside the catalogue when that was moved.
    pub(crate) fn network(self) -> Result<Places> {
        let usual = Places::default();
        let state = match variable("KEIKI_STATE") {
            Some(path) => absolute(&path)?.join("net"),
            None => usual.state,
        };
        Ok(Places { run: self.run()?.join("net"), state, hosts: usual.hosts })
    }

    /// Returns the monitor program: what `KEIKI_MONITOR` says, else beside this program, else where packages put it.
    ///
    /// That it is missing is found out when it is needed: reading verbs work without it.
    pub(crate) fn monitor(self) -> PathBuf {
        if let Some(path) = variable("KEIKI_MONITOR") {
            return path;
        }
        let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.join(MONITOR)));
        beside.filter(|path| path.exists()).unwrap_or_else(|| Path::new(LIBEXEC).join(MONITOR))
    }
}

/// Returns a path as one from the root, without asking the disk.
///
/// # Errors
/// When the working directory is gone.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io(format!("cannot find `{}`", path.display()), e))
}

fn data_home() -> Result<PathBuf> {
    variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share"))).ok_or_else(
        || {
            Error::new(ErrorKind::Unavailable, "cannot tell where your containers are: HOME is not set")
                .with_hint("set HOME, or give --lxcpath and KEIKI_STATE")
        },
    )
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
