//! One key at a time: got, set and cleared as LXC's library does it, every key of the table.
#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::fs;
use std::path::Path;
use std::process::Command;

use keiki_config::keys::{self, KEYS, Key, NETWORK_KEYS, Shape};
use keiki_config::{Change, ContainerConfig, with_changes, with_hardware_addresses};
use keiki_core::ErrorKind;

const FILE: &str = "/c/config";

fn parse(text: &str) -> ContainerConfig {
    ContainerConfig::parse(text.as_bytes(), Path::new(FILE)).map_err(|all| all.to_string()).unwrap()
}

fn changed(text: &str, changes: &[&str]) -> keiki_core::Result<String> {
    let changes =
        changes.iter().map(|change| Change::parse(change)).collect::<keiki_core::Result<Vec<_>>>()?;
    let text = with_changes(text.as_bytes(), Path::new(FILE), &changes)?;
    Ok(String::from_utf8(text).unwrap())
}

/// A whole key with the value of its example, and what must stand before it.
struct Example {
    key: &'static Key,
    before: String,
    name: String,
    value: &'static str,
}

fn examples() -> Vec<Example> {
    let whole = KEYS.iter().filter(|key| key.shape != Shape::Family).map(|key| Example {
        key,
        before: String::new(),
        name: format!("{}{}", key.name, key.example.0),
        value: key.example.1,
    });
    let interfaces = NETWORK_KEYS.iter().map(|key| Example {
        key,
        before: format!("lxc.net.0.type = {}\n", key.interface_type().unwrap_or("veth")),
        name: format!("lxc.net.0.{}", key.name),
        value: key.example.1,
    });
    whole.chain(interfaces).collect()
}

#[test]
fn every_key_has_an_example_that_is_read_got_set_and_cleared() {
    for Example { key, before, name, value } in examples() {
        assert!(!value.is_empty(), "{name}");
        if name == "lxc.include" {
            continue;
        }
        let config = parse(&format!("{before}{name} = {value}\n"));
        let text = config.item(&name).unwrap();
        assert!(!text.is_empty(), "{name}");
        let set = changed(&before, &[&format!("{name}={value}")]).unwrap();
        let again = parse(&set).item(&name).unwrap();
        // Each template of an address becomes another one.
        assert!(again == text || name.ends_with(".hwaddr"), "{name}");
        let cleared =
            with_changes(set.as_bytes(), Path::new(FILE), &[Change::clear(&name).unwrap()]).unwrap();
        let cleared = String::from_utf8(cleared).unwrap();
        if name != "lxc.net.0.type" {
            assert_eq!(cleared, before, "{name}");
            assert_eq!(parse(&cleared).item(&name).unwrap(), key.default, "{name}");
        }
        // A line that says nothing means the same.
        let emptied = parse(&format!("{set}{name} =\n"));
        assert_eq!(emptied.settings(), parse(&cleared).settings(), "{name}");
    }
}

/// What LXC 5.0.2 prints differently, and why: see the table of `item.rs`. The two of environment it does not know.
const OTHERWISE: [&str; 11] = [
    "lxc.net.0.ipvlan.mode",
    "lxc.include",
    "lxc.environment.hooks",
    "lxc.environment.runtime",
    "lxc.time.offset.boot",
    "lxc.time.offset.monotonic",
    "lxc.net.0.hwaddr",
    "lxc.net.0.type",
    "lxc.cgroup.dir",
    "lxc.rootfs.mount",
    "lxc.log.file",
];

/// Runs LXC's own `lxc-info -c`; `None` where it is not installed.
fn asked_of_lxc(directory: &Path, config: &str, name: &str) -> Option<String> {
    fs::create_dir_all(directory.join("c")).unwrap();
    fs::write(directory.join("c/config"), config).unwrap();
    let output =
        Command::new("lxc-info").arg("-P").arg(directory).args(["-n", "c", "-c", name]).output().ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_key_reads_as_in_lxc() {
    let directory = tempfile::tempdir().unwrap();
    if asked_of_lxc(directory.path(), "", "lxc.tty.max").is_none() {
        println!("skipped: needs Debian's lxc package");
        return;
    }
    let mut compared = 0;
    for Example { key, before, name, value } in examples() {
        if OTHERWISE.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        let config = format!("{before}{name} = {value}\n");
        let theirs = asked_of_lxc(directory.path(), &config, &name).unwrap();
        assert_eq!(theirs, format!("{name} = {}\n", parse(&config).item(&name).unwrap()), "{name} = {value}");
        compared += 1;
        let theirs = asked_of_lxc(directory.path(), &before, &name).unwrap();
        let ours = match key.default {
            "" => format!("{name} =\n"),
            default => format!("{name} = {default}\n"),
        };
        if !name.starts_with("lxc.namespace.share.") {
            assert_eq!(theirs, ours, "{name}, not set");
        }
    }
    println!("{compared} keys compared with LXC");
    assert!(compared > 90);
}

/// `lxc_container->get_keys(c, NULL)` of LXC 5.0.2, and the two that LXC 7 adds.
#[test]
fn every_key_that_lxc_names_is_named() {
    let lxc = "arch apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw autodev.tmpfs.size autodev \
        cap.drop cap.keep cgroup2 cgroup.dir.monitor.pivot cgroup.dir.monitor cgroup.dir.container.inner cgroup.dir.container \
        cgroup.dir cgroup.relative cgroup console.buffer.size console.logfile console.path console.rotate console.size sched.core \
        environment ephemeral execute.cmd group hook.autodev hook.clone hook.destroy hook.mount hook.post-stop hook.pre-mount \
        hook.pre-start hook.start hook.start-host hook.stop hook.version hook idmap include init.cmd init.gid init.groups init.uid \
        init.cwd keyring.session log.file log.level log.syslog monitor.unshare monitor.signal.pdeath mount.auto mount.entry \
        mount.fstab namespace.clone namespace.keep time.offset.boot time.offset.monotonic net no_new_privs prlimit pty.max \
        rootfs.managed rootfs.mount rootfs.options rootfs.path seccomp.allow_nesting seccomp.notify.cookie seccomp.notify.proxy \
        seccomp.profile selinux.context.keyring selinux.context signal.halt signal.reboot signal.stop start.auto start.delay \
        start.order tty.dir tty.max uts.name sysctl proc environment.runtime environment.hooks";
    let names = ContainerConfig::default().item_names(None).unwrap();
    for key in lxc.split_whitespace() {
        assert!(names.contains(&format!("lxc.{key}")), "{key}");
    }
    assert_eq!(names.len(), lxc.split_whitespace().count());
}

#[test]
fn names_of_an_interface_follow_its_type_and_those_of_a_family_what_is_set() {
    let config = parse(
        "lxc.net.0.type = veth\nlxc.net.1.type = empty\nlxc.net.2.type = ipvlan\nlxc.sysctl.net.ipv4.ip_forward = 1\n",
    );
    let names = |below| config.item_names(Some(below)).unwrap();
    assert!(
        names("lxc.net.0").contains(&"veth.pair".to_owned())
            && !names("lxc.net.0").contains(&"vlan.id".to_owned())
    );
    assert_eq!(names("lxc.net.1"), ["script.down", "script.up", "type"]);
    assert!(names("lxc.net.2").contains(&"ipvlan.isolation".to_owned()));
    assert_eq!(names("lxc.sysctl"), ["net.ipv4.ip_forward"]);
    assert_eq!(names("lxc.hook").len(), 11);
    assert_eq!(names("lxc.uts.name"), ["lxc.uts.name"]);
    assert_eq!(config.item_names(Some("lxc.net.9")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(config.item_names(Some("lxc.nope")).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// Every text was got from LXC 5.0.2 with `get_config_item`, but those with a remark.
#[test]
fn texts_are_those_of_lxc() {
    let config = parse(
        "lxc.net.1.type = macvlan\nlxc.net.0.type = veth\nlxc.cap.drop = sys_time mac_admin\nlxc.cap.drop = mknod\n\
         lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 0x10 65536\nlxc.init.groups = 1,2\nlxc.init.groups = 3\n\
         lxc.mount.auto = proc sys:rw\nlxc.mount.auto = cgroup:mixed:force\nlxc.mount.auto = cgroup-full\n\
         lxc.cgroup2.memory.max = 1G\nlxc.cgroup2.memory.max = 2G\nlxc.cgroup2.cpu.max = 1 2\nlxc.prlimit.cpu = 1: unlimited\n\
         lxc.hook.start = /x y\nlxc.hook.stop = /z\nlxc.rootfs.path = overlay:/a:/b\nlxc.arch = amd64\nlxc.group = a b\n\
         lxc.net.0.ipv4.address = 10.0.0.2/24 10.0.0.255\nlxc.net.0.ipv4.address = 10.0.0.3/24\n",
    );
    for (key, text) in [
        ("lxc.net", "veth\nmacvlan\n"),
        ("lxc.cap.drop", "sys_time\nmac_admin\nmknod\n"),
        ("lxc.idmap", "u 0 100000 65536\ng 0 16 65536"),
        ("lxc.init.groups", "1,2,3"),
        ("lxc.mount.auto", "proc:mixed sys:rw cgroup-full"),
        (
            "lxc.cgroup2",
            "lxc.cgroup2.memory.max = 1G\nlxc.cgroup2.memory.max = 2G\nlxc.cgroup2.cpu.max = 1 2\n",
        ),
        ("lxc.cgroup2.memory.max", "1G\n2G\n"),
        ("lxc.cgroup2.memory", ""),
        ("lxc.prlimit", "lxc.prlimit.cpu = 1:unlimited\n"),
        ("lxc.sysctl", ""),
        // LXC refuses to say.
        ("lxc.hook", "lxc.hook.start = /x y\nlxc.hook.stop = /z\n"),
        ("lxc.hook.start", "/x y\n"),
        ("lxc.rootfs.path", "/a:/b"),
        ("lxc.arch", "x86_64"),
        ("lxc.group", "a\nb\n"),
        ("lxc.net.0.ipv4.address", "10.0.0.2/24\n10.0.0.3/24"),
        ("lxc.net.1.macvlan.mode", "private"),
        ("lxc.monitor.signal.pdeath", "9"),
        ("lxc.uts.name", ""),
    ] {
        assert_eq!(config.item(key).unwrap(), text, "{key}");
    }
    for (key, kind) in [
        ("lxc.nope", ErrorKind::InvalidArgument),
        ("lxc.utsname", ErrorKind::InvalidArgument),
        ("lxc.net.0", ErrorKind::InvalidArgument),
        ("lxc.net.0.vlan.id", ErrorKind::InvalidArgument),
        ("lxc.net.7.type", ErrorKind::NotFound),
        ("lxc.include", ErrorKind::InvalidArgument),
    ] {
        assert_eq!(config.item(key).unwrap_err().kind(), kind, "{key}");
    }
}

#[test]
fn a_scalar_is_replaced_where_it_stands_and_a_list_grows_where_it_is() {
    let text =
        "# top\nlxc.cap.drop = sys_time # no comment\nlxc.tty.max = 4\nmartian\nlxc.tty.max = 5\n# end\n";
    let text = text.replace(" # no comment", "");
    let set = changed(&text, &["lxc.tty.max=6", "lxc.cap.drop=mknod"]).unwrap();
    assert_eq!(
        set,
        "# top\nlxc.cap.drop = sys_time\nlxc.cap.drop = mknod\nmartian\nlxc.tty.max = 6\n# end\n"
    );
    // At once: the list begins anew.
    let anew = changed(&set, &["lxc.cap.drop=", "lxc.cap.drop=chown"]).unwrap();
    assert_eq!(parse(&anew).item("lxc.cap.drop").unwrap(), "chown\n");
    assert!(anew.starts_with("# top\nmartian\nlxc.tty.max = 6\n# end\n"));
}

#[test]
fn what_an_include_says_is_overruled_or_cleared_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let included = directory.path().join("common.conf");
    fs::write(&included, "lxc.tty.max = 4\nlxc.cap.drop = sys_time\nlxc.sysctl.a.b = 1\n").unwrap();
    let text = format!("lxc.tty.max = 1\nlxc.include = {}\n# end\n", included.display());
    let set = changed(&text, &["lxc.tty.max=7", "lxc.cap.drop=", "lxc.sysctl="]).unwrap();
    let config = parse(&set);
    assert_eq!(config.item("lxc.tty.max").unwrap(), "7");
    assert_eq!(config.item("lxc.cap.drop").unwrap() + &config.item("lxc.sysctl").unwrap(), "");
    assert!(set.ends_with("# end\nlxc.tty.max = 7\nlxc.cap.drop =\nlxc.sysctl =\n"), "{set}");
    // Twice is once.
    assert_eq!(changed(&set, &["lxc.cap.drop=", "lxc.sysctl="]).unwrap(), set);
}

#[test]
fn families_are_cleared_whole_and_what_belongs_to_none_stays() {
    let text = "lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.net.1.type = empty\nlxc.hook.version = 1\nlxc.hook.start = x\n\
                lxc.cgroup2.cpu.max = 2\nlxc.cgroup.dir = a\nlxc.cgroup.devices.deny = a\n";
    let cleared = changed(text, &["lxc.net.0=", "lxc.hook=", "lxc.cgroup2=", "lxc.cgroup="]).unwrap();
    assert_eq!(cleared, "lxc.net.1.type = empty\nlxc.hook.version = 1\nlxc.cgroup.dir = a\n");
    assert_eq!(changed(text, &["lxc.net="]).unwrap().matches("lxc.net").count(), 0);
}

#[test]
fn changes_that_go_together_are_judged_together() {
    let text = "lxc.net.0.type = veth\nlxc.net.0.veth.pair = a\n";
    assert!(changed(text, &["lxc.net.0.type=macvlan"]).is_err());
    let set = changed(text, &["lxc.net.0.type=macvlan", "lxc.net.0.veth.pair="]).unwrap();
    assert_eq!(set, "lxc.net.0.type = macvlan\n");
}

#[test]
fn what_cannot_be_set_is_refused_and_says_why() {
    for (change, told) in [
        ("lxc.tty.max", "`lxc.tty.max` has no `=`"),
        ("lxc.tty.mxa=1", "there is no key `lxc.tty.mxa`"),
        ("lxc.tty.max=many", "`lxc.tty.max`: `many` is not a whole number"),
        ("lxc.hook=x", "`lxc.hook` can only be cleared, by an empty value"),
        ("lxc.uts.name=a\nlxc.hook.start = /bin/evil", "control character"),
        ("lxc.net.0.veth.pair=a", "/c/config:1:1: `lxc.net.0.type` must come before `lxc.net.0.veth.pair`"),
    ] {
        let error = changed("", &[change]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{change}");
        assert!(error.message().contains(told), "{change}: {error}");
    }
    assert_eq!(
        changed("lxc.nope = 1\n", &["lxc.tty.max=1"]).unwrap_err().message(),
        "/c/config:1:1: there is no key `lxc.nope`"
    );
    assert_eq!(Change::clear("lxc.utsname").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn templates_of_hardware_addresses_are_filled_once() {
    let text = "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n# 00:16:3e:xx:xx:xx\n";
    let filled = String::from_utf8(with_hardware_addresses(text.as_bytes()).unwrap()).unwrap();
    assert!(filled.starts_with("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:"));
    assert_eq!(filled.matches('x').count(), text.matches('x').count() - 6);
    assert_eq!(with_hardware_addresses(filled.as_bytes()), None);
    let set = changed("lxc.net.0.type = veth\n", &["lxc.net.0.hwaddr=10:66:6a:xx:xx:xx"]).unwrap();
    assert!(set.contains("lxc.net.0.hwaddr = 10:66:6a:") && !set.contains(":xx"));
}

#[test]
fn old_names_are_not_keys() {
    for (old, new) in keys::RENAMED {
        assert!(keys::find(old).is_none() && keys::find(new).is_some(), "{old}");
    }
    for (gone, _) in keys::REMOVED {
        assert!(keys::find(gone).is_none(), "{gone}");
    }
}
