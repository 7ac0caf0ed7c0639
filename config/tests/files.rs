//! Whole files: includes, clearing, messages, and every configuration that LXC itself ships.

use std::fs;
use std::path::Path;

use keiki_config::{ContainerConfig, Flag};

fn messages(text: &str) -> Vec<String> {
    match ContainerConfig::parse(text.as_bytes(), Path::new("/c/config")) {
        Ok(_) => Vec::new(),
        Err(all) => all.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn everything_wrong_is_told_at_once_each_with_its_place() {
    let told = messages(
        "lxc.utsname = a\nlxc.tty.max = many\n  lxc.autodev = yes\nlxc.net.0.veth.pair = br0\nlxc.foo\n",
    );
    assert_eq!(
        told,
        [
            "/c/config:1:1: there is no key `lxc.utsname`",
            "/c/config:2:15: `lxc.tty.max`: `many` is not a whole number",
            "/c/config:3:17: `lxc.autodev`: `yes` is not 0 or 1",
            "/c/config:4:1: `lxc.net.0.type` must come before `lxc.net.0.veth.pair`",
            "/c/config:5:1: `lxc.foo` has no `=`",
        ]
    );
}

#[test]
fn the_last_scalar_counts_lists_add_up_and_an_empty_value_clears() {
    let text = "lxc.tty.max = 1\nlxc.tty.max = 4\nlxc.cap.drop = chown kill\nlxc.cap.drop = mknod\nlxc.environment = A=1\n\
                lxc.environment =\nlxc.net.0.type = veth\nlxc.net =\nlxc.hook.start = x\nlxc.hook.stop = y\nlxc.hook =\n";
    let config = ContainerConfig::parse(text.as_bytes(), Path::new("/c")).unwrap();
    assert_eq!(config.number("lxc.tty.max"), Some(4));
    assert_eq!(config.words("lxc.cap.drop"), ["chown", "kill", "mknod"]);
    assert_eq!(config.list("lxc.environment").count(), 0);
    assert!(config.networks().is_empty());
    assert_eq!(config.below("lxc.hook.").count(), 0);
    assert!(config.flag("lxc.autodev", Flag::On) && !config.flag("lxc.ephemeral", Flag::Off));
}

#[test]
fn includes_are_read_at_their_line_and_loops_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/2.conf"), "lxc.tty.max = 2\n").unwrap();
    fs::write(at("d/1.conf"), "lxc.tty.max = 1\n").unwrap();
    fs::write(at("d/ignored"), "nonsense = 1\nlxc.nonsense\n").unwrap();
    fs::write(at("config"), format!("lxc.include = {}\nlxc.pty.max = 3\n", at("d").display())).unwrap();
    let config = ContainerConfig::load(&at("config")).unwrap();
    assert_eq!((config.number("lxc.tty.max"), config.number("lxc.pty.max")), (Some(2), Some(3)));
    assert_eq!(config.files().len(), 2);

    fs::write(at("a"), format!("lxc.include = {}\n", at("b").display())).unwrap();
    fs::write(at("b"), format!("\nlxc.include = {}\n", at("a").display())).unwrap();
    let told = ContainerConfig::load(&at("a")).unwrap_err().to_string();
    assert!(told.contains("b:2:15: ") && told.contains("includes itself"), "{told}");

    fs::write(at("c"), "lxc.include = /does/not/exist\nlxc.include = /does/not/exist.d/\n").unwrap();
    let told = ContainerConfig::load(&at("c")).unwrap_err();
    assert_eq!(told.0.len(), 1, "{told}");
}

#[test]
fn a_file_that_lxc_1_had_for_each_distribution_is_answered_with_todays() {
    let directory = tempfile::tempdir().unwrap();
    let hint = |name: &str| {
        let text = format!("lxc.include = {}\n", directory.path().join(name).display());
        ContainerConfig::parse(text.as_bytes(), Path::new("/c")).unwrap_err().0[0].hint.clone()
    };
    assert_eq!(hint("debian.common.conf"), None);
    let common = directory.path().join("common.conf");
    fs::write(&common, "").unwrap();
    assert!(hint("debian.common.conf").unwrap().contains(&common.display().to_string()));
    assert_eq!((hint("debian.userns.conf"), hint("x.conf"), hint("x")), (None, None, None));
}

#[test]
fn every_configuration_that_lxc_ships_is_read() {
    let directory = Path::new("/usr/share/lxc/config");
    if !directory.is_dir() {
        println!("skipped: needs Debian's lxc package");
        return;
    }
    let shipped = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    for path in shipped.chain(["/etc/lxc/default.conf".into()]).filter(|path| path.is_file()) {
        if path.extension().is_some_and(|extension| extension == "conf") {
            ContainerConfig::load(&path).map_err(|all| all.to_string()).unwrap();
        }
    }
}

/// What LXC 5.0.2 says to the same text: `lxc-info -P DIR -n c -c lxc.uts.name`.
#[test]
fn what_lxc_loads_is_read_and_what_it_refuses_is_refused() {
    for (text, good) in [
        ("lxc.net.0.link = br0\nlxc.net.0.type = veth\n", true),
        ("lxc.net.0.type = veth\nlxc.net.0 =\n", true),
        ("lxc.net.0.type = veth\nlxc.net.00.veth.pair = a\n", true),
        ("lxc.net.0.veth.pair = a\nlxc.net.0.type = veth\n", false),
        ("lxc.net.0.type = veth\nlxc.net.0.macvlan.mode = bridge\n", false),
        ("lxc.net.0.type = veth\nlxc.net.0.vlan.id = 5\n", false),
        (
            "lxc.cgroup =\nlxc.cgroup2 =\nlxc.sysctl =\nlxc.prlimit =\nlxc.proc =\nlxc.net =\nlxc.hook =\n",
            true,
        ),
        ("lxc.net = a\n", false),
        ("lxc.hook = a\n", false),
        ("lxc.cap.drop = sys_time\nlxc.cap.keep = sys_time\n", false),
        ("lxc.cap.drop = sys_time\nlxc.cap.drop =\nlxc.cap.keep = sys_time\n", true),
        ("lxc.namespace.keep = net\nlxc.namespace.clone = pid\n", false),
        ("lxc.include =\n", true),
        ("lxc.tty.max = 4\r\nlxc.ephemeral = 01\r\n", true),
        ("lxc.rootfs = /x\n", false),
        ("lxcfoo = bar\nmartian\n", true),
    ] {
        assert_eq!(messages(text).is_empty(), good, "{text}: {:?}", messages(text));
    }
}

#[test]
fn clearing_a_family_clears_it_and_nothing_beside_it() {
    let text = "lxc.hook.version = 1\nlxc.hook.start = x\nlxc.hook =\nlxc.cgroup.dir = a\nlxc.cgroup.devices.deny = a\n\
                lxc.cgroup =\nlxc.net.0.type = veth\nlxc.net.00.link = a\nlxc.net.1.type = empty\nlxc.net.0 =\n\
                lxc.sysctl.a.b = 1\nlxc.sysctl.a.b = 2\nlxc.cgroup2.a = 1\nlxc.cgroup2.a = 2\n";
    let config = ContainerConfig::parse(text.as_bytes(), Path::new("/c")).unwrap();
    let left: Vec<String> =
        config.settings().iter().map(|set| format!("{}={}", set.key, set.value)).collect();
    assert_eq!(
        left,
        [
            "lxc.hook.version=1",
            "lxc.cgroup.dir=a",
            "lxc.net.1.type=empty",
            "lxc.sysctl.a.b=2",
            "lxc.cgroup2.a=1",
            "lxc.cgroup2.a=2",
        ]
    );
}

#[test]
fn includes_that_multiply_loop_by_another_name_or_never_end_are_refused_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let told = |path: &Path| ContainerConfig::load(path).unwrap_err();
    // Each level includes the next one twice: 2^20 files.
    for level in 0..20 {
        let next = at(&format!("level{}", level + 1));
        fs::write(
            at(&format!("level{level}")),
            format!("lxc.include = {0}\nlxc.include = {0}\n", next.display()),
        )
        .unwrap();
    }
    fs::write(at("level20"), "lxc.tty.max = 1\n").unwrap();
    assert!(told(&at("level0")).to_string().contains("more than 1000 files are included"));
    // Every file of a directory includes the directory.
    fs::create_dir(at("d")).unwrap();
    for number in 0..30 {
        fs::write(at(&format!("d/{number}.conf")), format!("lxc.include = {}\n", at("d").display())).unwrap();
    }
    assert!(told(&at("d/1.conf")).to_string().contains("includes itself"));
    // Itself, through a link.
    std::os::unix::fs::symlink(at("loop"), at("alias")).unwrap();
    fs::write(at("loop"), format!("lxc.include = {}\n", at("alias").display())).unwrap();
    assert_eq!(told(&at("loop")).0.len(), 1);
    for endless in ["/dev/zero", "/dev/tty", "/proc/self/mem"] {
        fs::write(at("c"), format!("lxc.include = {endless}\n")).unwrap();
        assert!(told(&at("c")).to_string().contains("cannot include"), "{endless}");
    }
    assert!(told(Path::new("/dev/zero")).to_string().contains("longer than 1 MiB"));
}

#[test]
fn a_configuration_that_is_all_wrong_is_told_in_time() {
    let text = format!("lxc.{} = 1\n", "x".repeat(1000)).repeat(1000) + &"lxc.uts.nmae = 1\n".repeat(10_000);
    assert_eq!(messages(&text).len(), 100);
}
