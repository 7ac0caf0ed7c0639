//! The first process: what it is, as whom, with which variables, and which signals it takes.

use std::ffi::OsString;
use std::path::PathBuf;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid, number};

/// The first process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) host_name: String,
    pub(crate) init: Option<Vec<OsString>>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) halt_signal: Option<i32>,
    pub(crate) stop_signal: Option<i32>,
}

impl Program {
    pub(super) fn new(name: &str) -> Self {
        Self {
            host_name: name.to_owned(),
            init: None,
            cwd: None,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            environment: Vec::new(),
            halt_signal: None,
            stop_signal: None,
        }
    }
}

impl Part for Program {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.uts.name" => self.host_name.clone_from(&line.value),
            "lxc.init.cmd" => self.init = Some(words(&line.value)),
            "lxc.init.cwd" => self.cwd = Some(PathBuf::from(&line.value)),
            "lxc.init.uid" => self.uid = number(line)?,
            "lxc.init.gid" => self.gid = number(line)?,
            "lxc.init.groups" => self.groups = groups(line)?,
            // Those of hooks do not reach the program.
            "lxc.environment" | "lxc.environment.runtime" => self.environment.push(variable(line)?),
            "lxc.signal.halt" => self.halt_signal = Some(signal_of(line)?),
            "lxc.signal.stop" => self.stop_signal = Some(signal_of(line)?),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split_ascii_whitespace().map(OsString::from).collect()
}

fn groups(line: &Setting) -> Result<Vec<u32>> {
    let words = line.value.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| invalid(line, &format!("`{word}` is no group id")))).collect()
}

pub(super) fn variable(line: &Setting) -> Result<(OsString, OsString)> {
    if let Some((name, value)) = line.value.split_once('=') {
        return Ok((name.into(), value.into()));
    }
    let value = std::env::var_os(&line.value).ok_or_else(|| invalid(line, "the variable is not set here"))?;
    Ok((line.value.clone().into(), value))
}

fn signal_of(line: &Setting) -> Result<i32> {
    Ok(line.signal().ok_or_else(|| invalid(line, "this is no signal"))?.0)
}
