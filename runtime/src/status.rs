//! What a container does right now, in LXC's words.

use std::fmt;
use std::str::FromStr;

use keiki_core::engine::ContainerRecord;
use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The state of a container, as LXC names and numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerState {
    /// No process of it exists.
    Stopped,
    /// Its first process is being set up.
    Starting,
    /// Its first process runs.
    Running,
    /// It was asked to shut down.
    Stopping,
    /// Its start failed and is being undone.
    Aborting,
    /// Its processes are being suspended.
    Freezing,
    /// All its processes are suspended.
    Frozen,
    /// Its processes are being resumed.
    Thawed,
}

impl ContainerState {
    /// Every state, in LXC's numbering.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Aborting,
        Self::Freezing,
        Self::Frozen,
        Self::Thawed,
    ];

    /// Returns the word that LXC prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Aborting => "ABORTING",
            Self::Freezing => "FREEZING",
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    /// Returns LXC's number of the state.
    #[must_use]
    pub fn number(self) -> u8 {
        // The order of the variants is LXC's; a test holds it.
        self as u8
    }

    /// Returns whether processes of the container exist.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self != Self::Stopped
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ContainerState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|state| state.as_str()).collect();
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a state of a container"))
                .with_hint(format!("states: {}", known.join(", ")))
        })
    }
}

/// Whose monitor runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// Keiki's.
    Keiki,
    /// One of LXC's own tools.
    Lxc,
}

/// One container: what the catalogue knows, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerStatus {
    /// What the catalogue knows.
    pub record: ContainerRecord,
    /// What it does.
    pub state: ContainerState,
    /// Its first process, as the host sees it; `None` for one that is stopped, or that LXC runs.
    pub pid: Option<u32>,
    /// Who runs it; `None` for one that is stopped.
    pub manager: Option<Manager>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_numbered_and_read_as_lxc_does() {
        for (number, state) in ContainerState::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.number()), number);
            assert_eq!(state.to_string().parse::<ContainerState>().unwrap(), state);
            assert_eq!(state.to_string().to_lowercase().parse::<ContainerState>().unwrap(), state);
        }
        let error = "ASLEEP".parse::<ContainerState>().unwrap_err();
        assert!(error.hints()[0].contains("RUNNING"));
    }
}
