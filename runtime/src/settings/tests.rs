use super::mounts::Automount;
use super::mounts::entry::{Bind, Create, Events, Owners};
use super::*;

fn read_text(text: &str) -> Result<(Settings, Vec<String>)> {
    read(text.as_bytes(), Path::new("/c/config"), "web")
}

#[test]
fn the_busybox_template_of_lxc_is_understood() {
    let text = "\
lxc.rootfs.path = dir:/c/rootfs
lxc.signal.halt = SIGUSR1
lxc.signal.reboot = SIGTERM
lxc.uts.name = \"b1\"
lxc.tty.max = 5
lxc.pty.max = 1
lxc.cap.drop = sys_module mac_admin mac_override sys_time
# When using LXC with apparmor
lxc.mount.auto = cgroup:mixed proc:mixed sys:ro
lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0
lxc.mount.entry = /lib lib none ro,bind 0 0
lxc.net.0.type = empty
";
    let (settings, warnings) = read_text(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(
        (settings.program.host_name.as_str(), settings.terminals.count, settings.program.halt_signal),
        ("b1", 5, Some(10))
    );
    assert_eq!((settings.mounts.proc, settings.mounts.sys), (Automount::Mixed, Automount::ReadOnly));
    assert_eq!(settings.confinement.capabilities.count_zeros(), 4);
    assert_eq!(settings.mounts.entries[0].create, Create::Directory);
    assert_eq!((settings.mounts.entries[1].bind, settings.mounts.entries[1].attributes), (Bind::Single, 1));
}

#[test]
fn what_is_not_applied_is_warned_about_once_by_name_and_place() {
    let text = "lxc.apparmor.raw = a\nlxc.apparmor.raw = b\nlxc.namespace.clone = net\n";
    let (_, warnings) = read_text(text).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("/c/config:1:20: lxc.apparmor.raw "), "{warnings:?}");
    assert!(warnings[0].ends_with("(2 lines)"));
    assert!(warnings[1].contains("lxc.namespace.clone"));
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let table = [
        ("\n  lxc.nope = 1", "/c/config:2:3: "),
        ("lxc.tty.max = many", "/c/config:1:"),
        ("lxc.signal.halt = SIGNOPE", "/c/config:1:"),
        ("lxc.mount.entry = a ../b none bind", "no place below"),
        ("lxc.mount.auto = proc:maybe", "/c/config:1:"),
        ("lxc.idmap = u 0 100000 65536", "no group 0"),
    ];
    for (text, expected) in table {
        let error = read_text(text).unwrap_err().full_message();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn an_empty_value_clears_and_martian_lines_are_passed_over() {
    let text = "foo\nlxc.cap.drop = sys_time\nlxc.cap.drop =\nlxc.environment = A=1\n";
    let (settings, _) = read_text(text).unwrap();
    assert_eq!(settings.confinement.capabilities, u64::MAX);
    assert_eq!(settings.program.environment, [("A".into(), "1".into())]);
}

#[test]
fn limits_name_their_hierarchy() {
    let (settings, _) =
        read_text("lxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup2.memory.max = 64M").unwrap();
    let controllers: Vec<_> =
        settings.cgroup.limits.iter().map(|limit| limit.controller.as_deref()).collect();
    assert_eq!(controllers, [Some("memory"), None]);
    assert_eq!(settings.cgroup.limits[0].file, "memory.limit_in_bytes");
}

#[test]
fn device_rules_become_one_default_with_exceptions() {
    let text = "lxc.cgroup.devices.deny = a\nlxc.cgroup2.devices.allow = c 9:9 r\nlxc.cgroup2.devices.deny = a\n\
                lxc.cgroup2.devices.allow = c 1:3 rwm\nlxc.cgroup2.devices.allow = b *:* m\n\
                lxc.cgroup2.devices.deny = b *:* m\n";
    let (settings, warnings) = read_text(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let devices = settings.cgroup.devices.unwrap();
    assert!(!devices.allows);
    assert_eq!(devices.exceptions.len(), 1);
    assert_eq!((devices.exceptions[0].major, devices.exceptions[0].minor), (Some(1), Some(3)));
    assert!(
        read_text("lxc.cgroup2.devices.allow = c 1 rwm").unwrap_err().full_message().contains("MAJOR:MINOR")
    );
}

#[test]
fn values_are_read_as_lxc_reads_them() {
    let (settings, warnings) = read_text(
        "lxc.tty.max = 010\nlxc.pty.max = 0x10\nlxc.ephemeral = 01\nlxc.signal.halt = sigpwr\nlxc.prlimit.core = -1\n",
    )
    .unwrap();
    assert_eq!((settings.terminals.count, settings.terminals.pty_max, settings.ephemeral), (8, 16, true));
    assert_eq!(
        (settings.program.halt_signal, settings.parameters.rlimits[0].soft, warnings.len()),
        (Some(30), None, 0)
    );
}

#[test]
fn an_entry_says_how_events_travel_and_whose_its_files_are() {
    let text = "lxc.idmap = u 0 100000 10\nlxc.idmap = g 0 100000 10\n\
                lxc.mount.entry = /srv srv none rbind,rslave,idmap=container 0 0\n\
                lxc.mount.entry = /opt opt none bind,idmap=/proc/1/ns/user\n";
    let (settings, _) = read_text(text).unwrap();
    let [first, second] = &settings.mounts.entries[..] else { panic!("{:?}", settings.mounts.entries) };
    assert_eq!((first.events, first.owners.clone()), (Events::Slave, Some(Owners::Container)));
    assert_eq!(second.events, Events::Private);
    assert_eq!(second.owners, Some(Owners::Namespace("/proc/1/ns/user".into())));
    let unmapped = read_text("lxc.mount.entry = /srv srv none bind,idmap=container").unwrap_err();
    assert!(unmapped.full_message().contains("there is no lxc.idmap"), "{}", unmapped.full_message());
}

#[test]
fn the_lines_of_an_fstab_come_first_and_its_mistakes_have_their_own_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fstab");
    std::fs::write(&file, "# a comment\n\n/srv srv none bind 0 0\n/a ../b none bind\n").unwrap();
    let text = format!("lxc.mount.entry = /opt opt none bind\nlxc.mount.fstab = {}\n", file.display());
    let error = read_text(&text).unwrap_err().full_message();
    assert!(error.contains(&format!("{}:4:1", file.display())), "{error}");
    std::fs::write(&file, "/srv srv none bind 0 0\n").unwrap();
    let (settings, _) = read_text(&text).unwrap();
    let targets: Vec<_> =
        settings.mounts.entries.iter().map(|entry| entry.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["srv", "opt"]);
    std::fs::remove_file(&file).unwrap();
    assert!(read_text(&text).unwrap_err().full_message().contains("/c/config:2:"));
}

/// What the table says is what a start does: whoever applies a key changes its word there, and the reference with it.
#[test]
fn the_table_of_keys_says_what_is_applied() {
    let whole = keys::KEYS.iter().filter(|key| key.shape != keys::Shape::Family && key.name != "lxc.include");
    let whole = whole.map(|key| (key, format!("{}{} = {}\n", key.name, key.example.0, key.example.1)));
    let interfaces = keys::NETWORK_KEYS.iter().map(|key| {
        let kind = key.interface_type().unwrap_or("veth");
        let first = format!("lxc.net.0.type = {kind}\nlxc.net.0.link = br0\n");
        (key, format!("{first}lxc.net.0.{} = {}\n", key.name, key.example.1))
    });
    for (key, text) in whole.chain(interfaces) {
        let warnings = match read_text(&text) {
            Ok((_, warnings)) => warnings,
            // A file that is not there, a mapping that is half of one: it is refused, and so not passed over.
            Err(error) => {
                assert!(
                    key.applied == Applied::AtStart && error.kind() != ErrorKind::Internal,
                    "{text}: {error}"
                );
                continue;
            }
        };
        assert_eq!(!warnings.is_empty(), key.applied == Applied::NotYet, "{text}: {warnings:?}");
    }
}
