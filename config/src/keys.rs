//! Every key of a container's configuration: its shape, the form of its value, and what it means. The one table that
//! the parser, the checks, completion and the documentation read.
//!
//! Source: lxc.container.conf(5) of LXC 5 to 7.

use crate::value::{LIMITS, NAMESPACES, ValueKind};

/// How often a key may occur and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The last one counts.
    Scalar,
    /// All count, in order; an empty value clears what came before.
    List,
    /// The name goes on with something of the kernel's: `lxc.sysctl.net.ipv4.ip_forward`. The last one of a name counts.
    Prefix,
    /// The same, and all of a name count, in order: a cgroup's file can be written to more than once.
    PrefixList,
    /// Every key below; takes no value but the empty one, which clears them.
    Family,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name; of a prefix, up to and with the last point.
    pub name: &'static str,
    /// How often it may occur.
    pub shape: Shape,
    /// The form of its value.
    pub kind: ValueKind,
    /// What it means, in one line.
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, kind: ValueKind, doc: &'static str) -> Key {
    Key { name, shape, kind, doc }
}

const ARCHITECTURES: [&str; 31] = [
    "arm",
    "armel",
    "armhf",
    "armv7l",
    "athlon",
    "i386",
    "i486",
    "i586",
    "i686",
    "linux32",
    "mips",
    "mipsel",
    "ppc",
    "powerpc",
    "x32",
    "x86",
    "aarch64",
    "amd64",
    "arm64",
    "linux64",
    "loongarch64",
    "loong64",
    "mips64",
    "mips64el",
    "ppc64",
    "ppc64el",
    "ppc64le",
    "powerpc64",
    "riscv64",
    "s390x",
    "x86_64",
];

/// The keys, sorted by name; those of interfaces are in [`NETWORK_KEYS`].
pub const KEYS: [Key; 92] = [
    key(
        "lxc.apparmor.allow_incomplete",
        Shape::Scalar,
        ValueKind::Flag,
        "start even where the kernel cannot confine mounts",
    ),
    key(
        "lxc.apparmor.allow_nesting",
        Shape::Scalar,
        ValueKind::Flag,
        "widen the generated profile for containers inside",
    ),
    key(
        "lxc.apparmor.profile",
        Shape::Scalar,
        ValueKind::Text,
        "the AppArmor profile, `unconfined`, `unchanged` or `generated`",
    ),
    key("lxc.apparmor.raw", Shape::List, ValueKind::Text, "lines for the generated profile"),
    key("lxc.arch", Shape::Scalar, ValueKind::OneOf(&ARCHITECTURES), "the architecture that uname reports"),
    key("lxc.autodev", Shape::Scalar, ValueKind::Flag, "mount and fill a /dev"),
    key("lxc.autodev.tmpfs.size", Shape::Scalar, ValueKind::LongNumber, "the size of that /dev in bytes"),
    key("lxc.cap.drop", Shape::List, ValueKind::Capabilities, "capabilities taken away"),
    key(
        "lxc.cap.keep",
        Shape::List,
        ValueKind::CapabilitiesOrNone,
        "the only capabilities kept; `none` keeps none",
    ),
    key("lxc.cgroup", Shape::Family, ValueKind::Text, "all values of cgroup v1; can only be cleared"),
    key("lxc.cgroup.", Shape::PrefixList, ValueKind::Text, "a value for a file of cgroup v1"),
    key(
        "lxc.cgroup.dir",
        Shape::Scalar,
        ValueKind::PathInside,
        "the cgroup below which the container gets its own",
    ),
    key("lxc.cgroup.dir.container", Shape::Scalar, ValueKind::PathInside, "the cgroup of the container"),
    key(
        "lxc.cgroup.dir.container.inner",
        Shape::Scalar,
        ValueKind::PathComponent,
        "the cgroup in which the cgroup namespace begins",
    ),
    key("lxc.cgroup.dir.monitor", Shape::Scalar, ValueKind::PathInside, "the cgroup of the monitor"),
    key(
        "lxc.cgroup.dir.monitor.pivot",
        Shape::Scalar,
        ValueKind::PathInside,
        "the cgroup in which the monitor waits for its end",
    ),
    key("lxc.cgroup.relative", Shape::Scalar, ValueKind::Flag, "stay below the cgroup of the caller"),
    key("lxc.cgroup2", Shape::Family, ValueKind::Text, "all values of cgroup v2; can only be cleared"),
    key("lxc.cgroup2.", Shape::PrefixList, ValueKind::Text, "a value for a file of cgroup v2"),
    key(
        "lxc.console.buffer.size",
        Shape::Scalar,
        ValueKind::Size,
        "the console buffer in memory; 0 for none",
    ),
    key("lxc.console.logfile", Shape::Scalar, ValueKind::Path, "where the console is written to"),
    key("lxc.console.path", Shape::Scalar, ValueKind::Path, "the device that is the console, or `none`"),
    key("lxc.console.rotate", Shape::Scalar, ValueKind::Flag, "rotate the console log when asked"),
    key("lxc.console.size", Shape::Scalar, ValueKind::Size, "the limit of the console log"),
    key("lxc.environment", Shape::List, ValueKind::Environment, "a variable for init and hooks"),
    key("lxc.environment.hooks", Shape::List, ValueKind::Environment, "a variable for hooks"),
    key("lxc.environment.runtime", Shape::List, ValueKind::Environment, "a variable for init"),
    key("lxc.ephemeral", Shape::Scalar, ValueKind::Flag, "destroy the container when it stops"),
    key("lxc.execute.cmd", Shape::Scalar, ValueKind::Text, "the command of lxc-execute"),
    key("lxc.group", Shape::List, ValueKind::Words, "groups for lxc-autostart"),
    key("lxc.hook", Shape::Family, ValueKind::Text, "all hooks; can only be cleared"),
    key("lxc.hook.autodev", Shape::List, ValueKind::Text, "a command that fills /dev, inside"),
    key("lxc.hook.clone", Shape::List, ValueKind::Text, "a command that runs when the container is cloned"),
    key(
        "lxc.hook.destroy",
        Shape::List,
        ValueKind::Text,
        "a command that runs when the container is destroyed",
    ),
    key("lxc.hook.mount", Shape::List, ValueKind::Text, "a command that runs after the mounts, inside"),
    key(
        "lxc.hook.post-stop",
        Shape::List,
        ValueKind::Text,
        "a command that runs after the container, on the host",
    ),
    key("lxc.hook.pre-mount", Shape::List, ValueKind::Text, "a command that runs before the mounts, inside"),
    key(
        "lxc.hook.pre-start",
        Shape::List,
        ValueKind::Text,
        "a command that runs before the container, on the host",
    ),
    key("lxc.hook.start", Shape::List, ValueKind::Text, "a command that runs before init, inside"),
    key("lxc.hook.start-host", Shape::List, ValueKind::Text, "a command that runs before init, on the host"),
    key(
        "lxc.hook.stop",
        Shape::List,
        ValueKind::Text,
        "a command that runs when the container is dead, on the host",
    ),
    key("lxc.hook.version", Shape::Scalar, ValueKind::OneOf(&["0", "1"]), "how hooks get their arguments"),
    key("lxc.idmap", Shape::List, ValueKind::IdMap, "ids inside and outside"),
    key("lxc.include", Shape::List, ValueKind::Path, "another file, or a directory of *.conf files"),
    key("lxc.init.cmd", Shape::Scalar, ValueKind::Text, "what runs as process 1"),
    key("lxc.init.cwd", Shape::Scalar, ValueKind::Path, "the working directory of init"),
    key("lxc.init.gid", Shape::Scalar, ValueKind::Number, "the group of init"),
    key("lxc.init.groups", Shape::List, ValueKind::Groups, "further groups of init"),
    key("lxc.init.uid", Shape::Scalar, ValueKind::Number, "the user of init"),
    key("lxc.keyring.session", Shape::Scalar, ValueKind::Flag, "a session keyring of its own"),
    key("lxc.log.file", Shape::Scalar, ValueKind::Path, "where the log goes"),
    key("lxc.log.level", Shape::Scalar, ValueKind::LogLevel, "how much is logged"),
    key("lxc.log.syslog", Shape::Scalar, ValueKind::Facility, "the facility of syslog"),
    key(
        "lxc.monitor.signal.pdeath",
        Shape::Scalar,
        ValueKind::Signal,
        "what init gets when the monitor dies",
    ),
    key("lxc.monitor.unshare", Shape::Scalar, ValueKind::Flag, "a mount namespace for the monitor"),
    key("lxc.mount.auto", Shape::List, ValueKind::AutoMounts, "standard mounts: proc, sys, cgroup …"),
    key("lxc.mount.entry", Shape::List, ValueKind::Mount, "a mount, as a line of fstab"),
    key("lxc.mount.fstab", Shape::Scalar, ValueKind::Path, "a file of mounts"),
    key("lxc.namespace.clone", Shape::List, ValueKind::Namespaces, "the only namespaces that are made"),
    key("lxc.namespace.keep", Shape::List, ValueKind::Namespaces, "namespaces that are not made"),
    key(
        "lxc.namespace.share.",
        Shape::Prefix,
        ValueKind::Text,
        "a namespace of another process or container",
    ),
    key("lxc.net", Shape::Family, ValueKind::Text, "all interfaces; can only be cleared"),
    key("lxc.no_new_privs", Shape::Scalar, ValueKind::Flag, "programs inside gain no privileges"),
    key("lxc.prlimit", Shape::Family, ValueKind::Text, "all resource limits; can only be cleared"),
    key("lxc.prlimit.", Shape::Prefix, ValueKind::Limit, "a resource limit of init: soft[:hard]"),
    key("lxc.proc", Shape::Family, ValueKind::Text, "all values of /proc/PID; can only be cleared"),
    key("lxc.proc.", Shape::Prefix, ValueKind::Text, "a value for a file of /proc/PID"),
    key("lxc.pty.max", Shape::Scalar, ValueKind::Number, "how many pseudo terminals"),
    key(
        "lxc.rootfs.managed",
        Shape::Scalar,
        ValueKind::Flag,
        "whether the root filesystem is ours to destroy",
    ),
    key(
        "lxc.rootfs.mount",
        Shape::Scalar,
        ValueKind::Path,
        "where the root filesystem is mounted while it is prepared",
    ),
    key("lxc.rootfs.options", Shape::Scalar, ValueKind::Text, "mount options of the root filesystem"),
    key("lxc.rootfs.path", Shape::Scalar, ValueKind::Text, "the root filesystem: STORE:PLACE, or a path"),
    key("lxc.sched.core", Shape::Scalar, ValueKind::Flag, "a core scheduling domain of its own"),
    key("lxc.seccomp.allow_nesting", Shape::Scalar, ValueKind::Flag, "filters on top of a filter"),
    key("lxc.seccomp.notify.cookie", Shape::Scalar, ValueKind::Text, "a word for the seccomp proxy"),
    key("lxc.seccomp.notify.proxy", Shape::Scalar, ValueKind::Text, "the socket of the seccomp proxy"),
    key("lxc.seccomp.profile", Shape::Scalar, ValueKind::Path, "the seccomp policy"),
    key("lxc.selinux.context", Shape::Scalar, ValueKind::Text, "the SELinux context of init"),
    key("lxc.selinux.context.keyring", Shape::Scalar, ValueKind::Text, "the SELinux context of the keyring"),
    key("lxc.signal.halt", Shape::Scalar, ValueKind::Signal, "what asks init to power off"),
    key("lxc.signal.reboot", Shape::Scalar, ValueKind::Signal, "what asks init to reboot"),
    key("lxc.signal.stop", Shape::Scalar, ValueKind::Signal, "what kills init"),
    key("lxc.start.auto", Shape::Scalar, ValueKind::Flag, "start with the host"),
    key("lxc.start.delay", Shape::Scalar, ValueKind::Number, "seconds to wait after it"),
    key("lxc.start.order", Shape::Scalar, ValueKind::SignedNumber, "its place in the order"),
    key("lxc.sysctl", Shape::Family, ValueKind::Text, "all values below /proc/sys; can only be cleared"),
    key("lxc.sysctl.", Shape::Prefix, ValueKind::Text, "a value below /proc/sys, inside"),
    key("lxc.time.offset.boot", Shape::Scalar, ValueKind::TimeOffset, "how far its boot clock is off"),
    key(
        "lxc.time.offset.monotonic",
        Shape::Scalar,
        ValueKind::TimeOffset,
        "how far its monotonic clock is off",
    ),
    key("lxc.tty.dir", Shape::Scalar, ValueKind::PathInside, "the directory below /dev for ttys"),
    key("lxc.tty.max", Shape::Scalar, ValueKind::Number, "how many ttys"),
    key("lxc.uts.name", Shape::Scalar, ValueKind::HostName, "the host name"),
];

/// `lxc.net.N` alone.
pub const NETWORK: Key =
    key("lxc.net.N", Shape::Family, ValueKind::Text, "one interface; can only be cleared");

/// What may follow `lxc.net.N.`.
pub const NETWORK_KEYS: [Key; 25] = [
    key("flags", Shape::Scalar, ValueKind::Text, "any value: the interface goes up"),
    key(
        "hwaddr",
        Shape::Scalar,
        ValueKind::HardwareAddress,
        "its hardware address; x stands for a random digit",
    ),
    key("ipv4.address", Shape::List, ValueKind::Ipv4, "an address"),
    key("ipv4.gateway", Shape::Scalar, ValueKind::Ipv4Gateway, "the gateway, `auto` or `dev`"),
    key("ipv6.address", Shape::List, ValueKind::Ipv6, "an address"),
    key("ipv6.gateway", Shape::Scalar, ValueKind::Ipv6Gateway, "the gateway, `auto` or `dev`"),
    key(
        "ipvlan.isolation",
        Shape::Scalar,
        ValueKind::OneOf(&["bridge", "private", "vepa"]),
        "who may talk to whom",
    ),
    key("ipvlan.mode", Shape::Scalar, ValueKind::OneOf(&["l3", "l3s", "l2"]), "the layer"),
    key("l2proxy", Shape::Scalar, ValueKind::Flag, "answer for its addresses on the link"),
    key("link", Shape::Scalar, ValueKind::Interface, "the host interface or bridge"),
    key(
        "macvlan.mode",
        Shape::Scalar,
        ValueKind::OneOf(&["private", "vepa", "bridge", "passthru"]),
        "who may talk to whom",
    ),
    key("mtu", Shape::Scalar, ValueKind::Number, "the largest packet"),
    key("name", Shape::Scalar, ValueKind::Interface, "its name inside"),
    key("script.down", Shape::Scalar, ValueKind::Path, "a program that runs when it goes"),
    key("script.up", Shape::Scalar, ValueKind::Path, "a program that runs when it comes"),
    key(
        "type",
        Shape::Scalar,
        ValueKind::OneOf(&["veth", "vlan", "macvlan", "ipvlan", "phys", "empty", "none"]),
        "its kind; stands first",
    ),
    key("veth.ipv4.route", Shape::List, ValueKind::Ipv4Route, "a route to it"),
    key("veth.ipv6.route", Shape::List, ValueKind::Ipv6Route, "a route to it"),
    key("veth.mode", Shape::Scalar, ValueKind::OneOf(&["bridge", "router"]), "how it is connected"),
    key("veth.n_rxqueues", Shape::Scalar, ValueKind::Number, "receive queues"),
    key("veth.n_txqueues", Shape::Scalar, ValueKind::Number, "send queues"),
    key("veth.pair", Shape::Scalar, ValueKind::Interface, "the name of the host end"),
    key("veth.vlan.id", Shape::Scalar, ValueKind::VlanOrNone, "the untagged VLAN, or `none`"),
    key("veth.vlan.tagged.id", Shape::List, ValueKind::Vlan, "a tagged VLAN"),
    key("vlan.id", Shape::Scalar, ValueKind::Vlan, "the VLAN"),
];

/// Names of LXC 1 and 2 with today's.
const RENAMED: [(&str, &str); 21] = [
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

/// Returns the key called `name`, with the number of the interface where it belongs to one.
#[must_use]
pub fn find(name: &str) -> Option<(&'static Key, Option<u32>)> {
    if let Some(rest) = name.strip_prefix("lxc.net.") {
        return find_network(rest).map(|(number, key)| (key, Some(number)));
    }
    let exact = KEYS.iter().find(|key| !key.is_prefix() && key.name == name);
    let prefix = || {
        KEYS.iter().find(|key| {
            key.is_prefix() && name.strip_prefix(key.name).is_some_and(|rest| may_follow(key.name, rest))
        })
    };
    exact.or_else(prefix).map(|key| (key, None))
}

fn find_network(rest: &str) -> Option<(u32, &'static Key)> {
    let (number, rest) = rest.split_once('.').map_or((rest, None), |(number, rest)| (number, Some(rest)));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let key = match rest {
        None => &NETWORK,
        Some(rest) => NETWORK_KEYS.iter().find(|key| key.name == rest)?,
    };
    Some((number.parse().ok()?, key))
}

/// Returns whether a prefix may go on so. The rest becomes the path of a file of the kernel's, points read as slashes: it must not
/// leave its directory.
fn may_follow(prefix: &str, rest: &str) -> bool {
    match prefix {
        "lxc.namespace.share." => NAMESPACES.contains(&rest),
        "lxc.prlimit." => LIMITS.contains(&rest),
        _ => {
            rest.split(['.', '/']).all(|part| !part.is_empty())
                && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
        }
    }
}

impl Key {
    /// Returns whether the name goes on with something of the kernel's.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        matches!(self.shape, Shape::Prefix | Shape::PrefixList)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_key_once() {
        for table in [&KEYS[..], &NETWORK_KEYS[..]] {
            let bare = |key: &Key| key.name.trim_end_matches('.').to_owned();
            assert!(
                table.windows(2).all(|pair| bare(&pair[0]) <= bare(&pair[1]) && pair[0].name != pair[1].name)
            );
        }
    }

    #[test]
    fn keys_are_found_with_prefixes_and_interfaces() {
        for (name, found) in [
            ("lxc.uts.name", Some("lxc.uts.name")),
            ("lxc.cgroup.dir", Some("lxc.cgroup.dir")),
            ("lxc.cgroup.memory.limit_in_bytes", Some("lxc.cgroup.")),
            ("lxc.sysctl.net.ipv4.ip_forward", Some("lxc.sysctl.")),
            ("lxc.net.0.veth.pair", Some("veth.pair")),
            ("lxc.net", Some("lxc.net")),
            ("lxc.sysctl.", None),
            ("lxc.sysctl", Some("lxc.sysctl")),
            ("lxc.sysctl.net.ipv4.conf.eth0/1.forwarding", Some("lxc.sysctl.")),
            ("lxc.sysctl.../../x", None),
            ("lxc.proc./etc/shadow", None),
            ("lxc.proc.attr/current", Some("lxc.proc.")),
            ("lxc.cgroup2.a b", None),
            ("lxc.prlimit.nofile", Some("lxc.prlimit.")),
            ("lxc.prlimit.nofiles", None),
            ("lxc.namespace.share.net", Some("lxc.namespace.share.")),
            ("lxc.namespace.share.foo", None),
            ("lxc.net.3", Some("lxc.net.N")),
            ("lxc.net.+3.type", None),
            ("lxc.net..type", None),
            ("lxc.net.4294967296.type", None),
            ("lxc.net.x.type", None),
            ("lxc.net.0.nope", None),
            ("lxc.nope", None),
        ] {
            assert_eq!(find(name).map(|(key, _)| key.name), found, "{name}");
        }
    }

    #[test]
    fn old_names_lead_to_new_ones() {
        for (old, new) in [
            ("lxc.utsname", "lxc.uts.name"),
            ("lxc.limit.nofile", "lxc.prlimit.nofile"),
            ("lxc.network.type", "lxc.net.0.type"),
            ("lxc.network.1.ipv4", "lxc.net.1.ipv4.address"),
            ("lxc.network.macvlan.mode", "lxc.net.0.macvlan.mode"),
            ("lxc.network", "lxc.net"),
        ] {
            assert_eq!(renamed(old).as_deref(), Some(new));
        }
    }
}
