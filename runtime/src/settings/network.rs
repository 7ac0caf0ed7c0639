//! Whose network a container sees.

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken};

/// A container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// Its own, with a loopback interface.
    Own,
    /// The host's (`lxc.net.0.type = none`).
    Host,
}

impl Part for Network {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        let Some(rest) = line.key.strip_prefix("lxc.net.") else { return Ok(Taken::NotMine) };
        match (rest.ends_with(".type"), line.value.as_str()) {
            // What is said further about an interface is told with its type.
            (false, _) | (true, "empty") => {}
            (true, "none") => *self = Self::Host,
            (true, _) => return Ok(Taken::NotApplied(ONLY_LOOPBACK)),
        }
        Ok(Taken::Applied)
    }
}

const ONLY_LOOPBACK: &str =
    "is not applied by this version of keiki: the container has a loopback interface only";
