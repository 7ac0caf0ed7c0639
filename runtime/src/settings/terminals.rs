//! Consoles and terminals of a container.

use std::path::PathBuf;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, number};

/// How many terminals there are, and where the console is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terminals {
    pub(crate) count: u32,
    /// The most pseudo-terminals; 0 is no limit but the kernel's.
    pub(crate) pty_max: u32,
    pub(crate) console_log: Option<PathBuf>,
}

impl Part for Terminals {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.tty.max" => self.count = number(line)?,
            "lxc.pty.max" => self.pty_max = number(line)?,
            "lxc.console.logfile" => self.console_log = Some(PathBuf::from(&line.value)),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}
