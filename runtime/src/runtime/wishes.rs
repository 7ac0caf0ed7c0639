//! Which containers shall run from boot on: what their configurations say of it (`lxc.start.*`, `lxc.group`).

use std::path::Path;
use std::time::Duration;

use keiki_config::ContainerConfig;
use keiki_core::Result;
use keiki_core::engine::ContainerKey;

use super::Runtime;

/// What a container's configuration says about its start at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartWish {
    /// The container.
    pub key: ContainerKey,
    /// `lxc.start.auto`.
    pub is_automatic: bool,
    /// Whether it runs now.
    pub is_running: bool,
    /// `lxc.start.order`: lower ones start first.
    pub order: i32,
    /// `lxc.start.delay`: how long to wait behind its start.
    pub delay: Duration,
    /// `lxc.group`.
    pub groups: Vec<String>,
}

impl Runtime {
    /// Returns what the containers of an lxcpath say about their start at boot, sorted by name.
    ///
    /// # Errors
    /// As [`Self::statuses`]; `InvalidArgument` with its place for a configuration that cannot be read.
    pub fn start_wishes(&self, lxcpath: &Path) -> Result<Vec<StartWish>> {
        let statuses = self.statuses(lxcpath)?;
        statuses.into_iter().map(|status| self.wish(status.record.key, status.state.is_alive())).collect()
    }

    fn wish(&self, key: ContainerKey, is_running: bool) -> Result<StartWish> {
        let config = self.engine.read_config(&key)?;
        let config = ContainerConfig::parse(&config, &key.home().join("config"))?;
        let number = |name: &str| config.number(name).unwrap_or(0);
        let groups = config.list("lxc.group").flat_map(|line| line.value.split([',', ' ']));
        Ok(StartWish {
            is_automatic: number("lxc.start.auto") == 1,
            is_running,
            order: config.text("lxc.start.order").and_then(|order| order.parse().ok()).unwrap_or(0),
            delay: Duration::from_secs(number("lxc.start.delay")),
            groups: groups.filter(|group| !group.is_empty()).map(str::to_owned).collect(),
            key,
        })
    }
}
