//! The configuration that a new container begins with.

use keiki_core::name::ContainerName;

/// Returns a configuration for a new container, which LXC 5 understands as well.
///
/// # Behavior
/// The engine adds `lxc.rootfs.path` and `lxc.uts.name`; the name is for the comment only.
#[must_use]
pub fn default_config(name: &ContainerName) -> Vec<u8> {
    format!(
        "\
# Container {name}, made by keiki. See lxc.container.conf(5).
lxc.tty.max = 4
lxc.pty.max = 1024
lxc.autodev = 1
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio
lxc.cgroup2.devices.deny = a
lxc.cgroup2.devices.allow = c *:* m
lxc.cgroup2.devices.allow = b *:* m
lxc.cgroup2.devices.allow = c 1:3 rwm
lxc.cgroup2.devices.allow = c 1:5 rwm
lxc.cgroup2.devices.allow = c 1:7 rwm
lxc.cgroup2.devices.allow = c 1:8 rwm
lxc.cgroup2.devices.allow = c 1:9 rwm
lxc.cgroup2.devices.allow = c 5:0 rwm
lxc.cgroup2.devices.allow = c 5:1 rwm
lxc.cgroup2.devices.allow = c 5:2 rwm
lxc.cgroup2.devices.allow = c 136:* rwm
lxc.net.0.type = empty
"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_default_is_applied_without_a_warning() {
        let name = ContainerName::parse("web1").unwrap();
        let (settings, warnings) =
            crate::settings::read(&default_config(&name), Path::new("config"), name.as_str()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(settings.confinement.capabilities.count_zeros(), 5);
    }
}
