//! Containers with ids of their own, started by root.

use std::os::unix::fs::MetadataExt;

use keiki_runtime::AttachCommand;

use super::ground::{Ground, command, ground};

const MAP: &str =
    "lxc.idmap = u 0 700000 65536\nlxc.idmap = g 0 800000 65536\nlxc.rootfs.options = idmap=container\n";

fn mapped(ground: &mut Ground, stem: &str) -> keiki_core::engine::ContainerKey {
    ground.create(stem, MAP)
}

#[test]
fn roots_processes_are_nobody_on_the_host_and_its_files_keep_their_own_numbers() {
    let Some(mut ground) = ground() else { return };
    let key = mapped(&mut ground, "mapped");
    let pid = ground.start_sleeper(&key);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t700000\t700000\t700000\t700000\n"), "{status}");
    assert!(status.contains("Gid:\t800000\t800000\t800000\t800000\n"), "{status}");
    assert_eq!(ground.output(&key, "id -u; id -g; stat -c %u /bin/busybox").trim(), "0\n0\n0");
    assert_eq!(ground.script(&key, "touch /made"), 0);
    let made = std::fs::metadata(key.home().join("rootfs/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
    ground.kill(&key);
}

#[test]
fn it_owns_its_network_its_devices_work_and_the_hosts_parameters_are_out_of_reach() {
    let Some(mut ground) = ground() else { return };
    let key = mapped(&mut ground, "owns");
    let pid = ground.start_sleeper(&key);
    let links = ground.output(&key, "ip link");
    assert!(links.contains("LOOPBACK,UP"), "{links}");
    assert_eq!(ground.output(&key, "stat -c %u /sys/class/net/lo/mtu").trim(), "0");
    assert_eq!(ground.script(&key, "echo x > /dev/null && echo y > /dev/console && test -c /dev/tty1"), 0);
    assert_ne!(ground.script(&key, "mknod /d b 8 0 2>/dev/null"), 0);
    assert_ne!(ground.script(&key, "echo x 2>/dev/null > /proc/sys/kernel/hostname"), 0);
    for name in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap();
        assert_ne!(link("self"), link(&pid.to_string()), "{name}");
    }
    ground.kill(&key);
}

#[test]
fn it_may_divide_its_cgroup_and_not_widen_it() {
    let Some(mut ground) = ground() else { return };
    let key = mapped(&mut ground, "divides");
    ground.start_sleeper(&key);
    assert_eq!(ground.output(&key, "cat /proc/1/cgroup | grep ^0").trim(), "0::/");
    if std::path::Path::new("/sys/fs/cgroup/unified").exists() {
        assert_eq!(ground.script(&key, "/bin/busybox mkdir /sys/fs/cgroup/inner"), 0);
        assert_ne!(ground.script(&key, "echo 1 2>/dev/null > /sys/fs/cgroup/cgroup.freeze"), 0);
    }
    ground.kill(&key);
}

#[test]
fn attached_programs_are_users_of_the_container() {
    let Some(mut ground) = ground() else { return };
    let key = mapped(&mut ground, "enters");
    ground.start_sleeper(&key);
    let program = command(&["/bin/sh", "-c", "test \"$(id -u):$(id -g)\" = 33:34 && exec sleep 0"]);
    let program = AttachCommand { user: Some((33, 34)), ..program };
    assert_eq!(ground.runtime.attach(&key, &program).unwrap(), 0);
    ground.kill(&key);
}

#[test]
fn what_the_host_shows_by_an_entry_is_found_though_the_container_could_not_look_there() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("shown")).unwrap();
    std::fs::write(host.path().join("shown/file"), "shared").unwrap();
    let lines = format!(
        "{MAP}lxc.mount.entry = {}/shown mnt none bind,create=dir 0 0\n\
         lxc.mount.entry = none var/cache tmpfs size=1m,create=dir 0 0\n\
         lxc.prlimit.nofile = 4096\n",
        host.path().display()
    );
    let key = ground.create("shown", &lines);
    let pid = ground.start_sleeper(&key);
    assert_eq!(ground.output(&key, "cat /mnt/file; touch /var/cache/x").trim(), "shared");
    assert_ne!(ground.script(&key, "touch /mnt/new 2>/dev/null"), 0);
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max open files            4096")), "{limits}");
    ground.kill(&key);
}

#[test]
fn a_root_whose_files_nobody_inside_owns_is_told() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("strange", "lxc.idmap = u 0 700000 65536\nlxc.idmap = g 0 800000 65536\n");
    let options = super::ground::options(&["/bin/sleep", "1"]);
    let error = ground.runtime.start(&keiki_core::context::Context::default(), &key, &options).unwrap_err();
    let text = format!("{} {:?}", error.full_message(), error.hints());
    assert!(text.contains("idmap=container"), "{text}");
}

#[test]
fn a_shared_directory_shows_the_containers_own_numbers_when_asked() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    let lines = format!(
        "{MAP}lxc.mount.entry = {} mnt none bind,idmap=container,create=dir 0 0\n",
        host.path().display()
    );
    let key = ground.create("owners", &lines);
    ground.start_sleeper(&key);
    assert_eq!(ground.output(&key, "stat -c %u /mnt; touch /mnt/made").trim(), "0");
    assert_eq!(std::fs::metadata(host.path().join("made")).unwrap().uid(), 0);
    ground.kill(&key);
}
