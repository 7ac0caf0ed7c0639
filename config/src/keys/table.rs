//! The table: every key of a container's configuration.

use super::{Applied, Key, family, list, prefix, prefix_list, scalar};
use crate::value::ValueKind::*;

/// The keys, sorted by name; those of interfaces are in [`NETWORK_KEYS`](super::NETWORK_KEYS).
pub const KEYS: [Key; 92] = [
    scalar("lxc.apparmor.allow_incomplete", Flag, "start even where the kernel cannot confine mounts")
        .or("0")
        .example("1")
        .applied(Applied::Unused),
    scalar("lxc.apparmor.allow_nesting", Flag, "widen the generated profile for containers inside")
        .or("0")
        .example("1"),
    scalar("lxc.apparmor.profile", Text, "the AppArmor profile, `unconfined`, `unchanged` or `generated`")
        .example("generated")
        .applied(Applied::NotYet),
    list("lxc.apparmor.raw", Text, "lines for the generated profile")
        .example("mount options=(ro),")
        .applied(Applied::NotYet),
    scalar("lxc.arch", Architecture, "the architecture that uname reports")
        .example("x86_64")
        .applied(Applied::Unused),
    scalar("lxc.autodev", Flag, "mount and fill a /dev").or("1").example("1"),
    scalar("lxc.autodev.tmpfs.size", LongNumber, "the size of that /dev in bytes; 500000 without one")
        .or("0")
        .example("1000000"),
    list("lxc.cap.drop", Capabilities, "capabilities taken away").example("sys_module mac_admin"),
    list("lxc.cap.keep", CapabilitiesOrNone, "the only capabilities kept; `none` keeps none")
        .example("chown net_bind_service"),
    family("lxc.cgroup", "all values of cgroup v1; can only be cleared"),
    prefix_list("lxc.cgroup.", Text, "a value for a file of cgroup v1")
        .example_below("memory.limit_in_bytes", "512M"),
    scalar("lxc.cgroup.dir", PathInside, "the cgroup below which the container gets its own")
        .example("tenants/a")
        .applied(Applied::NotYet),
    scalar("lxc.cgroup.dir.container", PathInside, "the cgroup of the container")
        .example("tenants/a/payload")
        .applied(Applied::NotYet),
    scalar(
        "lxc.cgroup.dir.container.inner",
        PathComponent,
        "the cgroup in which the cgroup namespace begins",
    )
    .example("inner")
    .applied(Applied::NotYet),
    scalar("lxc.cgroup.dir.monitor", PathInside, "the cgroup of the monitor")
        .example("tenants/a/monitor")
        .applied(Applied::NotYet),
    scalar("lxc.cgroup.dir.monitor.pivot", PathInside, "the cgroup in which the monitor waits for its end")
        .example("tenants/pivot")
        .applied(Applied::NotYet),
    scalar("lxc.cgroup.relative", Flag, "stay below the cgroup of the caller")
        .or("0")
        .example("1")
        .applied(Applied::NotYet),
    family("lxc.cgroup2", "all values of cgroup v2; can only be cleared"),
    prefix_list("lxc.cgroup2.", Text, "a value for a file of cgroup v2").example_below("memory.max", "512M"),
    scalar("lxc.console.buffer.size", Size, "the console buffer in memory; 0 for none")
        .or("0")
        .example("auto")
        .applied(Applied::NotYet),
    scalar("lxc.console.logfile", Path, "where the console is written to")
        .example("/var/log/lxc/web1.console"),
    scalar("lxc.console.path", Path, "the device that is the console, or `none`")
        .example("none")
        .applied(Applied::NotYet),
    scalar("lxc.console.rotate", Flag, "rotate the console log when asked")
        .or("0")
        .example("1")
        .applied(Applied::NotYet),
    scalar("lxc.console.size", Size, "the limit of the console log")
        .or("0")
        .example("1MB")
        .applied(Applied::NotYet),
    list("lxc.environment", Environment, "a variable for init and hooks").example("LANG=C.UTF-8"),
    list("lxc.environment.hooks", Environment, "a variable for hooks").example("STAGE=test"),
    list("lxc.environment.runtime", Environment, "a variable for init").example("APP=web"),
    scalar("lxc.ephemeral", Flag, "destroy the container when it stops").or("0").example("1"),
    scalar("lxc.execute.cmd", Text, "the command of lxc-execute")
        .example("/usr/bin/true")
        .applied(Applied::Unused),
    list("lxc.group", Words, "groups for lxc-autostart").example("web onboot").applied(Applied::Elsewhere),
    family("lxc.hook", "all hooks; can only be cleared"),
    list("lxc.hook.autodev", Text, "a command that fills /dev, inside")
        .example("/usr/share/lxc/hooks/nvidia"),
    list("lxc.hook.clone", Text, "a command that runs when the container is cloned")
        .example("/usr/share/lxc/hooks/clonehostname")
        .applied(Applied::Unused),
    list("lxc.hook.destroy", Text, "a command that runs when the container is destroyed")
        .example("/usr/local/bin/forget")
        .applied(Applied::Unused),
    list("lxc.hook.mount", Text, "a command that runs after the mounts, inside")
        .example("/usr/local/bin/mounted"),
    list("lxc.hook.post-stop", Text, "a command that runs after the container, on the host")
        .example("/usr/local/bin/stopped"),
    list("lxc.hook.pre-mount", Text, "a command that runs before the mounts, inside")
        .example("/usr/local/bin/unlock"),
    list("lxc.hook.pre-start", Text, "a command that runs before the container, on the host")
        .example("/usr/local/bin/prepare"),
    list("lxc.hook.start", Text, "a command that runs before init, inside").example("/usr/local/bin/inside"),
    list("lxc.hook.start-host", Text, "a command that runs before init, on the host")
        .example("/usr/share/lxc/hooks/dhclient"),
    list("lxc.hook.stop", Text, "a command that runs when the container is dead, on the host")
        .example("/usr/share/lxc/hooks/dhclient"),
    scalar("lxc.hook.version", OneOf(&["0", "1"]), "how hooks get their arguments").or("0").example("1"),
    list("lxc.idmap", IdMap, "ids inside and outside").example("u 0 100000 65536"),
    list("lxc.include", Path, "another file, or a directory of *.conf files")
        .example("/usr/share/lxc/config/common.conf")
        .applied(Applied::Elsewhere),
    scalar("lxc.init.cmd", Text, "what runs as process 1").example("/sbin/init"),
    scalar("lxc.init.cwd", Path, "the working directory of init").example("/srv"),
    scalar("lxc.init.gid", Number, "the group of init").or("0").example("1000"),
    list("lxc.init.groups", Groups, "further groups of init").example("27,100"),
    scalar("lxc.init.uid", Number, "the user of init").or("0").example("1000"),
    scalar("lxc.keyring.session", Flag, "a session keyring of its own")
        .or("0")
        .example("1")
        .applied(Applied::NotYet),
    scalar("lxc.log.file", Path, "where the log goes").example("/var/log/lxc/web1.log"),
    scalar("lxc.log.level", LogLevel, "how much is logged").or("NOTSET").example("INFO"),
    scalar("lxc.log.syslog", Facility, "the facility of syslog").example("daemon").applied(Applied::NotYet),
    scalar("lxc.monitor.signal.pdeath", Signal, "what init gets when the monitor dies")
        .or("9")
        .example("SIGTERM")
        .applied(Applied::NotYet),
    scalar("lxc.monitor.unshare", Flag, "a mount namespace for the monitor")
        .or("0")
        .example("1")
        .applied(Applied::NotYet),
    list("lxc.mount.auto", AutoMounts, "standard mounts: proc, sys, cgroup …")
        .example("proc:mixed sys:ro cgroup:mixed"),
    list("lxc.mount.entry", Mount, "a mount, as a line of fstab")
        .example("/srv/data srv/data none bind,create=dir 0 0"),
    scalar("lxc.mount.fstab", Path, "a file of mounts").example("/var/lib/lxc/web1/fstab"),
    list("lxc.namespace.clone", Namespaces, "the only namespaces that are made")
        .example("mnt pid uts ipc")
        .applied(Applied::NotYet),
    list("lxc.namespace.keep", Namespaces, "namespaces that are not made")
        .example("net")
        .applied(Applied::NotYet),
    prefix("lxc.namespace.share.", Text, "a namespace of another process or container")
        .example_below("net", "web1")
        .applied(Applied::NotYet),
    family("lxc.net", "all interfaces; can only be cleared"),
    scalar("lxc.no_new_privs", Flag, "programs inside gain no privileges").or("0").example("1"),
    family("lxc.prlimit", "all resource limits; can only be cleared"),
    prefix("lxc.prlimit.", Limit, "a resource limit of init: soft[:hard]")
        .example_below("nofile", "1024:4096"),
    family("lxc.proc", "all values of /proc/PID; can only be cleared"),
    prefix("lxc.proc.", Text, "a value for a file of /proc/PID")
        .example_below("oom_score_adj", "100")
        .applied(Applied::NotYet),
    scalar("lxc.pty.max", Number, "how many pseudo terminals").or("0").example("1024"),
    scalar("lxc.rootfs.managed", Flag, "whether the root filesystem is ours to destroy")
        .or("1")
        .example("0")
        .applied(Applied::Elsewhere),
    scalar("lxc.rootfs.mount", Path, "where the root filesystem is mounted while it is prepared")
        .example("/var/lib/lxc/rootfs"),
    scalar("lxc.rootfs.options", RootOptions, "mount options of the root filesystem")
        .example("idmap=container"),
    scalar("lxc.rootfs.path", Text, "the root filesystem: STORE:PLACE, or a path")
        .example("dir:/var/lib/lxc/web1/rootfs"),
    scalar("lxc.sched.core", Flag, "a core scheduling domain of its own")
        .or("0")
        .example("1")
        .applied(Applied::NotYet),
    scalar("lxc.seccomp.allow_nesting", Flag, "filters on top of a filter")
        .or("0")
        .example("1")
        .applied(Applied::Unused),
    scalar("lxc.seccomp.notify.cookie", Text, "a word for the seccomp proxy")
        .example("web1")
        .applied(Applied::NotYet),
    scalar("lxc.seccomp.notify.proxy", Socket, "the socket of the seccomp proxy")
        .example("unix:/run/proxy.sock")
        .applied(Applied::NotYet),
    scalar("lxc.seccomp.profile", Path, "the seccomp policy").example("/usr/share/lxc/config/common.seccomp"),
    scalar("lxc.selinux.context", Text, "the SELinux context of init")
        .example("system_u:system_r:lxc_t:s0")
        .applied(Applied::NotYet),
    scalar("lxc.selinux.context.keyring", Text, "the SELinux context of the keyring")
        .example("system_u:system_r:lxc_t:s0")
        .applied(Applied::NotYet),
    scalar(
        "lxc.signal.halt",
        Signal,
        "what asks init to power off; SIGPWR without one, or SIGRTMIN+3 where init blocks that",
    )
    .or("0")
    .example("SIGRTMIN+3"),
    scalar("lxc.signal.reboot", Signal, "what asks init to reboot; SIGINT without one")
        .or("0")
        .example("SIGINT")
        .applied(Applied::Unused),
    scalar("lxc.signal.stop", Signal, "what kills init; SIGKILL without one").or("0").example("SIGKILL"),
    scalar("lxc.start.auto", Flag, "start with the host").or("0").example("1").applied(Applied::Elsewhere),
    scalar("lxc.start.delay", Number, "seconds to wait after it")
        .or("0")
        .example("5")
        .applied(Applied::Elsewhere),
    scalar("lxc.start.order", SignedNumber, "its place in the order")
        .or("0")
        .example("10")
        .applied(Applied::Elsewhere),
    family("lxc.sysctl", "all values below /proc/sys; can only be cleared"),
    prefix("lxc.sysctl.", Text, "a value below /proc/sys, inside").example_below("net.ipv4.ip_forward", "1"),
    scalar("lxc.time.offset.boot", TimeOffset, "how far its boot clock is off")
        .or("0s")
        .example("1h")
        .applied(Applied::NotYet),
    scalar("lxc.time.offset.monotonic", TimeOffset, "how far its monotonic clock is off")
        .or("0s")
        .example("30m")
        .applied(Applied::NotYet),
    scalar("lxc.tty.dir", PathInside, "the directory below /dev for ttys")
        .example("lxc")
        .applied(Applied::NotYet),
    scalar("lxc.tty.max", Number, "how many ttys").or("0").example("4"),
    scalar("lxc.uts.name", HostName, "the host name").example("web1"),
];
