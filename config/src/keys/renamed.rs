//! What keys were called before LXC 2.1. LXC 3 and later refuse these names, and so does keiki, naming the new ones.

use super::find;

/// Names of LXC 1 and 2 with today's.
pub const RENAMED: [(&str, &str); 21] = [
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.utsname", "lxc.uts.name"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.rootfs", "lxc.rootfs.path"),
];

/// Keys of LXC 1 and 2 that have no successor, with what became of them.
pub const REMOVED: [(&str, &str); 3] = [
    ("lxc.rootfs.backend", "the store is written before the path in `lxc.rootfs.path`"),
    ("lxc.pivotdir", "the old root needs no directory any more"),
    ("lxc.kmsg", "a container has no /dev/kmsg of its own any more"),
];

/// Returns today's name of a key of LXC 1 or 2.
#[must_use]
pub fn renamed(name: &str) -> Option<String> {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Some((*new).to_owned());
    }
    if let Some(limit) = name.strip_prefix("lxc.limit.") {
        return Some(format!("lxc.prlimit.{limit}"));
    }
    if name == "lxc.network" {
        return Some("lxc.net".to_owned());
    }
    let rest = name.strip_prefix("lxc.network.")?;
    let (number, rest) = match rest.split_once('.') {
        Some((number, rest)) if number.parse::<u32>().is_ok() => (number, rest),
        _ => ("0", rest),
    };
    let rest = match rest {
        "ipv4" => "ipv4.address",
        "ipv6" => "ipv6.address",
        other => other,
    };
    // Only what exists today is worth a hint.
    find(&format!("lxc.net.{number}.{rest}")).map(|_| format!("lxc.net.{number}.{rest}"))
}
