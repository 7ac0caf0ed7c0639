//! The cgroup of a container: its name, its limits and its devices.

pub(crate) mod devices;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken};
use devices::Devices;

/// Where a container's processes are accounted, and what they may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CgroupSettings {
    pub(crate) name: String,
    pub(crate) limits: Vec<Limit>,
    /// Read from all of the configuration at once: the two versions' keys say the same.
    pub(crate) devices: Option<Devices>,
}

/// A value that is written into the container's cgroup before anybody is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// The version 1 controller whose hierarchy is joined; `None` is the version 2 tree.
    pub(crate) controller: Option<String>,
    pub(crate) file: String,
    pub(crate) value: String,
    /// Where the configuration says it.
    pub(crate) place: String,
}

impl CgroupSettings {
    pub(super) fn new(name: &str) -> Self {
        Self { name: format!("lxc.payload.{name}"), limits: Vec::new(), devices: None }
    }
}

impl Part for CgroupSettings {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        let key = line.key.as_str();
        if key.starts_with("lxc.cgroup.dir") || key == "lxc.cgroup.relative" {
            return Ok(Taken::NotMine);
        }
        if key.starts_with("lxc.cgroup.devices.") || key.starts_with("lxc.cgroup2.devices.") {
            return Ok(Taken::Applied);
        }
        if let Some(file) = key.strip_prefix("lxc.cgroup2.") {
            self.limits.push(limit(None, file, line));
        } else if let Some(file) = key.strip_prefix("lxc.cgroup.") {
            let controller = file.split('.').next().unwrap_or(file);
            self.limits.push(limit(Some(controller), file, line));
        } else {
            return Ok(Taken::NotMine);
        }
        Ok(Taken::Applied)
    }
}

fn limit(controller: Option<&str>, file: &str, line: &Setting) -> Limit {
    Limit {
        controller: controller.map(str::to_owned),
        file: file.to_owned(),
        value: line.value.clone(),
        place: format!("{}: {}", line.place, line.key),
    }
}
