//! What a container sees of itself and of the host.

use keiki_core::context::Context;

use super::ground::{ground, options};

#[test]
fn namespaces_are_its_own_and_so_are_name_and_processes() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("spaces", "");
    let pid = ground.start_sleeper(&key);
    for name in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap();
        assert_ne!(link("self"), link(&pid.to_string()), "{name}");
    }
    assert_eq!(ground.output(&key, "hostname").trim(), key.name.as_str());
    assert_eq!(ground.output(&key, "readlink /proc/1/exe").trim(), "/bin/busybox");
    assert_eq!(ground.output(&key, "cat /proc/1/cgroup | grep ^0").trim(), "0::/");
    let links = ground.output(&key, "ip link");
    assert!(links.contains("LOOPBACK,UP"), "{links}");
    ground.kill(&key);
}

#[test]
fn devices_terminals_and_mounts_are_there_and_the_hosts_are_not() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "shared").unwrap();
    let lines = format!(
        "lxc.mount.entry = {0} mnt/dir none bind,ro,create=dir 0 0\n\
         lxc.mount.entry = {0}/file etc/shared none bind,create=file 0 0\n\
         lxc.mount.entry = none var/cache tmpfs size=1m,create=dir 0 0\n\
         lxc.mount.entry = /no/such srv none bind,optional,create=dir 0 0\n\
         lxc.environment = COLOUR=green\n",
        host.path().display()
    );
    let key = ground.create("devs", &lines);
    ground.start(&key, &["/bin/sh", "-c", "env > /env; touch /done; exec sleep 1000"]);
    ground.script(&key, "until test -e /done; do :; done");
    assert_eq!(ground.output(&key, "cat /mnt/dir/file /etc/shared").trim(), "sharedshared");
    assert_ne!(ground.script(&key, "touch /mnt/dir/new 2>/dev/null"), 0);
    for test in [
        "-c /dev/null",
        "-c /dev/urandom",
        "-c /dev/console",
        "-c /dev/tty1",
        "-c /dev/tty4",
        "-c /dev/pts/ptmx",
        "-d /dev/shm",
        "-d /sys/class/net/lo",
        "-e /sys/fs/cgroup/cgroup.procs",
        "-L /dev/fd",
    ] {
        assert_eq!(ground.script(&key, &format!("test {test}")), 0, "{test}");
    }
    assert_eq!(ground.script(&key, "echo x > /dev/null && echo y > /dev/console"), 0);
    for protected in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"] {
        assert_ne!(ground.script(&key, &format!("echo x 2>/dev/null > {protected}")), 0, "{protected}");
    }
    assert_eq!(ground.output(&key, "head -c 4 /proc/timer_list 2>/dev/null | wc -c").trim(), "0");
    let mounts = ground.output(&key, "cat /proc/mounts");
    assert!(mounts.contains("/var/cache tmpfs"), "{mounts}");
    assert!(!mounts.contains("/work"), "the host's mounts are seen: {mounts}");
    let environment = std::fs::read_to_string(key.home().join("rootfs/env")).unwrap();
    assert!(environment.contains("COLOUR=green") && environment.contains("container=lxc"), "{environment}");
    assert!(!environment.contains("CARGO"), "the caller's environment got in: {environment}");
    ground.kill(&key);
}

#[test]
fn no_descriptor_of_monitor_or_caller_gets_in() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("fds", "");
    // One that would be inherited: the caller may be any program.
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    ground.start(&key, &["/bin/sh", "-c", "ls -l /proc/self/fd > /first; touch /done; exec sleep 1000"]);
    ground.script(&key, "until test -e /done; do :; done");
    let first = std::fs::read_to_string(key.home().join("rootfs/first")).unwrap();
    let attached = ground.output(&key, "ls -l /proc/self/fd");
    for listing in [first, attached] {
        assert!(!listing.contains("passwd") && !listing.contains("memfd"), "{listing}");
        assert!(!listing.contains("socket"), "{listing}");
        // The standard three, and the directory that `ls` reads.
        let numbers = (4..64).filter(|number| listing.contains(&format!(" {number} ->")));
        assert_eq!(numbers.count(), 0, "{listing}");
    }
    ground.kill(&key);
}

#[test]
fn capabilities_limits_and_users_are_those_of_the_configuration() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create(
        "caps",
        "lxc.cap.drop = sys_time net_raw\nlxc.prlimit.nofile = 77:88\nlxc.no_new_privs = 1\nlxc.init.uid = 12\nlxc.init.gid = 13\n",
    );
    let script = "cat /proc/self/status; ulimit -n";
    let pid = ground.start(&key, &["/bin/sh", "-c", "exec sleep 1000"]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let bounding = u64::from_str_radix(field("CapBnd:").trim_start_matches("CapBnd:").trim(), 16).unwrap();
    for dropped in [13, 16, 17, 25, 32, 33] {
        assert_eq!(bounding & (1 << dropped), 0, "{dropped}");
    }
    assert_ne!(bounding & 1, 0);
    assert!(field("Uid:").contains("12\t12") && field("Gid:").contains("13\t13"));
    assert!(field("NoNewPrivs:").ends_with('1'));
    assert!(field("Groups:").trim_end().ends_with("Groups:"));
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max open files") && line.contains("77") && line.contains("88"))
    );
    let inside = ground.output(&key, script);
    assert!(
        inside.contains(field("CapBnd:").as_str()),
        "an attached program may more than the container: {inside}"
    );
    ground.kill(&key);
}

#[test]
fn a_dev_or_mount_target_that_points_at_the_host_is_refused_or_stays_inside() {
    let Some(mut ground) = ground() else { return };
    let canary = tempfile::tempdir().unwrap();
    let key = ground.create("evil", "lxc.mount.entry = none up/made tmpfs create=dir 0 0\n");
    let root = key.home().join("rootfs");
    std::os::unix::fs::symlink(canary.path(), root.join("up")).unwrap();
    // Inside, the absolute link names a place of the container that does not exist.
    let result = ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "1000"]));
    if result.is_ok() {
        ground.kill(&key);
    }
    std::fs::remove_dir(root.join("dev")).unwrap();
    std::os::unix::fs::symlink(canary.path(), root.join("dev")).unwrap();
    let error = ground.runtime.start(&Context::default(), &key, &options(&["/bin/true"])).unwrap_err();
    assert!(error.context().contains(&("path", "/dev".to_owned())), "{error:?}");
    assert_eq!(std::fs::read_dir(canary.path()).unwrap().count(), 0, "the host was written to");
}

#[test]
fn limits_of_version_1_are_set_and_their_cgroups_removed() {
    if !std::path::Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        println!("skipped: needs a version 1 hierarchy of `pids`");
        return;
    }
    let Some(mut ground) = ground() else { return };
    let key = ground.create("limits", "lxc.cgroup.pids.max = 33\n");
    ground.start_sleeper(&key);
    let made = super::ground::cgroups_of(key.name.as_str());
    let pids = made.iter().find(|path| path.starts_with("/sys/fs/cgroup/pids")).unwrap();
    assert_eq!(std::fs::read_to_string(pids.join("pids.max")).unwrap().trim(), "33");
    ground.kill(&key);
}

#[test]
fn what_is_not_applied_is_told_to_the_caller() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("warn", "lxc.apparmor.profile = generated\n");
    let started = ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "1000"])).unwrap();
    assert_eq!(started.warnings.len(), 1, "{:?}", started.warnings);
    assert!(started.warnings[0].contains("lxc.apparmor.profile"), "{:?}", started.warnings);
    ground.kill(&key);
}

#[test]
fn devices_that_the_configuration_does_not_allow_can_be_made_and_not_used() {
    if !keiki_sys::cgroup::layout().has_version_2() {
        println!("skipped: needs a cgroup tree of version 2");
        return;
    }
    let Some(mut ground) = ground() else { return };
    let key = ground.create("nodes", "");
    ground.start_sleeper(&key);
    assert_eq!(ground.script(&key, "mknod /kmsg c 1 11 && mknod /zero c 1 5"), 0);
    assert_eq!(ground.script(&key, "head -c 1 /zero > /dev/null"), 0);
    assert_ne!(ground.script(&key, "head -c 1 /kmsg > /dev/null 2>&1"), 0);
    ground.kill(&key);
}

#[test]
fn what_is_mounted_below_a_shared_directory_inside_is_not_seen_outside() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    let _shared = SharedMount::at(host.path());
    std::fs::create_dir(host.path().join("below")).unwrap();
    let lines = format!("lxc.mount.entry = {} mnt none rbind,create=dir 0 0\n", host.path().display());
    let key = ground.create("unseen", &lines);
    ground.start_sleeper(&key);
    assert_eq!(ground.script(&key, "mount -t tmpfs none /mnt/below && touch /mnt/below/inside"), 0);
    assert!(!host.path().join("below/inside").exists());
    ground.kill(&key);
}

/// A file system in memory whose mount events travel, as every mount's do where systemd is the init.
struct SharedMount(std::path::PathBuf);

impl SharedMount {
    fn at(place: &std::path::Path) -> Self {
        let shared = Self(place.to_owned());
        shared.run(&["mount", "-t", "tmpfs", "none"]);
        shared.run(&["mount", "--make-shared"]);
        shared
    }

    fn run(&self, words: &[&str]) {
        let status = std::process::Command::new(words[0]).args(&words[1..]).arg(&self.0).status().unwrap();
        assert!(status.success() || std::thread::panicking(), "{words:?}");
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        self.run(&["umount", "-R"]);
    }
}
