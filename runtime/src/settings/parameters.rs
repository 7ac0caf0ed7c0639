//! Parameters of the kernel for a container: of its namespaces, and of its processes.

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid};

/// `lxc.sysctl.*` and `lxc.prlimit.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) sysctls: Vec<(String, String)>,
}

/// One line of `lxc.prlimit.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimit {
    pub(crate) name: String,
    /// `None` is unlimited.
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

impl Part for Parameters {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        let key = line.key.as_str();
        if let Some(name) = key.strip_prefix("lxc.prlimit.") {
            self.rlimits.push(rlimit(name, line)?);
        } else if let Some(name) = key.strip_prefix("lxc.sysctl.") {
            self.sysctls.push((name.to_owned(), line.value.clone()));
        } else {
            return Ok(Taken::NotMine);
        }
        Ok(Taken::Applied)
    }
}

fn rlimit(name: &str, line: &Setting) -> Result<Rlimit> {
    let parse = |text: &str| match text.trim() {
        "unlimited" | "-1" => Ok(None),
        number => number.parse().map(Some).map_err(|_| invalid(line, "this is no limit")),
    };
    let (soft, hard) = line.value.split_once(':').unwrap_or((&line.value, &line.value));
    Ok(Rlimit { name: name.to_owned(), soft: parse(soft)?, hard: parse(hard)? })
}
