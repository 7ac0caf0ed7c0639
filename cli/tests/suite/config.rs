//! `keiki config`: what is told, what is changed, and what is left alone.

use std::fs;

use crate::harness::Bed;
use crate::need_host;

/// A bed with a container that holds nothing but this configuration.
fn bed(config: &str) -> Bed {
    let bed = Bed::new();
    let home = bed.lxcpath().join("web1");
    fs::create_dir_all(home.join("rootfs")).unwrap();
    let text = config.replace("$BED", &bed.path().to_string_lossy());
    fs::write(home.join("config"), text).unwrap();
    bed
}

fn config(bed: &Bed) -> String {
    fs::read_to_string(bed.lxcpath().join("web1/config")).unwrap()
}

const PLAIN: &str = "\
# web1, by hand
lxc.rootfs.path = dir:$BED/lxc/web1/rootfs
lxc.uts.name = web1
lxc.tty.max = 4
lxc.cap.drop = sys_time
lxc.net.0.type = empty
";

#[test]
fn check_tells_everything_with_its_place_and_fails() {
    let bed = bed(&format!(
        "{PLAIN}lxc.utsname = x\nlxc.tty.mxa = 4\n  lxc.cap.drop = sys_time sys_tme\nlxc.arch = x86_64\n"
    ));
    insta::assert_snapshot!(bed.line("config check web1"), @r"
    error: $BED/lxc/web1/config:7:1: there is no key `lxc.utsname`
      LXC calls it `lxc.uts.name` since 2.1; `keiki config migrate` rewrites the file
    error: $BED/lxc/web1/config:8:1: there is no key `lxc.tty.mxa`
      did you mean `lxc.tty.max`?
    error: $BED/lxc/web1/config:9:27: `lxc.cap.drop`: `sys_tme` is not a capability
    configurations checked: 1; errors: 3, warnings: 0
    --- exit 1
    ");
    insta::assert_snapshot!(bed.line("config check web1 --format json"), @r#"
    [
      {
        "file": "$BED/lxc/web1/config",
        "line": 7,
        "column": 1,
        "severity": "error",
        "message": "there is no key `lxc.utsname`",
        "hint": "LXC calls it `lxc.uts.name` since 2.1; `keiki config migrate` rewrites the file"
      },
      {
        "file": "$BED/lxc/web1/config",
        "line": 8,
        "column": 1,
        "severity": "error",
        "message": "there is no key `lxc.tty.mxa`",
        "hint": "did you mean `lxc.tty.max`?"
      },
      {
        "file": "$BED/lxc/web1/config",
        "line": 9,
        "column": 27,
        "severity": "error",
        "message": "`lxc.cap.drop`: `sys_tme` is not a capability",
        "hint": null
      }
    ]
    --- exit 1
    "#);
    fs::write(bed.path().join("good.conf"), "lxc.tty.max = 4\nlxc.arch = x86_64\nlxc.sched.core = 1\n")
        .unwrap();
    insta::assert_snapshot!(bed.line("config check ./good.conf"), @r"
    warning: $BED/good.conf:2:12: lxc.arch is not applied by this version of keiki
    warning: $BED/good.conf:3:18: lxc.sched.core is not applied by this version of keiki
    configurations checked: 1; errors: 0, warnings: 2
    --- exit 0
    ");
}

#[test]
fn check_without_targets_looks_at_everything() {
    let bed = bed(PLAIN);
    fs::write(bed.path().join("lxc.conf"), "lxc.cgroup.use = @all\n").unwrap();
    fs::create_dir(bed.lxcpath().join("old")).unwrap();
    fs::write(bed.lxcpath().join("old/config"), "lxc.rootfs = /x\n").unwrap();
    insta::assert_snapshot!(bed.line("config check"), @r"
    warning: $BED/lxc.conf:1:1: `lxc.cgroup.use` is not applied by this version of keiki
    error: $BED/lxc/old/config:1:1: there is no key `lxc.rootfs`
      LXC calls it `lxc.rootfs.path` since 2.1; `keiki config migrate` rewrites the file
    configurations checked: 2; errors: 1, warnings: 1
    --- exit 1
    ");
    fs::write(bed.path().join("lxc.conf"), "").unwrap();
    assert_eq!(bed.line("config migrate old").code, 0);
    insta::assert_snapshot!(bed.line("config check"), @r"
    configurations checked: 2; errors: 0, warnings: 0
    --- exit 0
    ");
}

#[test]
fn show_and_get_read_what_is_in_force() {
    let bed = bed(&format!("{PLAIN}lxc.include = $BED/more.conf\n"));
    fs::write(bed.path().join("more.conf"), "lxc.tty.max = 0x10\nlxc.signal.halt = SIGPWR\n").unwrap();
    insta::assert_snapshot!(bed.line("config show web1"), @r"
    KEY              VALUE                                          FILE                                       LINE
    lxc.rootfs.path  dir:$BED/lxc/web1/rootfs  $BED/lxc/web1/config     2
    lxc.uts.name     web1                                           $BED/lxc/web1/config     3
    lxc.cap.drop     sys_time                                       $BED/lxc/web1/config     5
    lxc.net.0.type   empty                                          $BED/lxc/web1/config     6
    lxc.tty.max      0x10                                           $BED/more.conf           1
    lxc.signal.halt  SIGPWR                                         $BED/more.conf           2
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("config show web1 --format csv"), @r"
    key,value,file,line,column,applied
    lxc.rootfs.path,dir:$BED/lxc/web1/rootfs,$BED/lxc/web1/config,2,19,start
    lxc.uts.name,web1,$BED/lxc/web1/config,3,16,start
    lxc.cap.drop,sys_time,$BED/lxc/web1/config,5,16,start
    lxc.net.0.type,empty,$BED/lxc/web1/config,6,18,start
    lxc.tty.max,0x10,$BED/more.conf,1,15,start
    lxc.signal.halt,SIGPWR,$BED/more.conf,2,19,start
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("config get web1 lxc.tty.max lxc.cap.drop lxc.signal.halt lxc.autodev lxc.net lxc.group"), @r"
    16
    sys_time
    30
    1
    empty
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("config get web1 lxc.tty.max lxc.group --format json"), @r#"
    [
      {
        "key": "lxc.tty.max",
        "value": "16",
        "default": "0"
      },
      {
        "key": "lxc.group",
        "value": null,
        "default": null
      }
    ]
    --- exit 0
    "#);
    insta::assert_snapshot!(bed.line("config get web1 lxc.uts.nmae"), @r"
    --- stderr
    error: there is no key `lxc.uts.nmae`
    hint: did you mean `lxc.uts.name`?
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("config get web1 lxc.net.3.type"), @r"
    --- stderr
    error: there is no interface 3
    hint: `lxc.net.3.type = veth` makes one
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("config get nobody lxc.uts.name"), @r"
    --- stderr
    error: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("config get ./none.conf lxc.uts.name"), @r"
    --- stderr
    error: cannot read the configuration `$BED/none.conf`: No such file or directory
    --- exit 3
    ");
}

#[test]
fn set_and_clear_change_only_what_they_name() {
    let bed = bed(PLAIN);
    let before = config(&bed);
    insta::assert_snapshot!(bed.line("config set web1 lxc.tty.max=6 lxc.cap.drop=mknod lxc.arch=i686"), @r"
    configured web1
    --- stderr
    warning: lxc.arch is not applied by this version of keiki
    --- exit 0
    ");
    let expected = before
        .replace("tty.max = 4", "tty.max = 6")
        .replace("sys_time\n", "sys_time\nlxc.cap.drop = mknod\n");
    assert_eq!(config(&bed), format!("{expected}lxc.arch = i686\n"));
    insta::assert_snapshot!(bed.line("config set web1 lxc.tty.max=6"), @r"
    web1 is configured so already
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("config clear web1 lxc.arch lxc.cap.drop"), @r"
    configured web1
    --- exit 0
    ");
    assert_eq!(
        config(&bed),
        before.replace("tty.max = 4", "tty.max = 6").replace("lxc.cap.drop = sys_time\n", "")
    );
    assert_eq!(bed.line("config set web1 lxc.net.0.type=veth lxc.net.0.hwaddr=10:66:6a:xx:xx:xx").code, 0);
    assert!(config(&bed).contains("lxc.net.0.hwaddr = 10:66:6a:") && !config(&bed).contains(":xx"));
}

#[test]
fn bad_changes_are_refused_and_change_nothing() {
    let bed = bed(PLAIN);
    let before = config(&bed);
    for line in [
        "config set web1 lxc.tty.max=many",
        "config set web1 lxc.tty.mxa=4",
        "config set web1 lxc.tty.max=5 lxc.cap.keep=chown",
        "config set web1 lxc.tty.max",
        "config set web1 lxc.rootfs.path=dir:/elsewhere",
        "config clear web1 lxc.rootfs.path",
        "config clear web1 lxc.utsname",
        "config set nobody lxc.tty.max=4",
    ] {
        let run = bed.line(line);
        assert!(run.code == 2 || run.code == 3 && line.contains("nobody"), "{line}: {run}");
        assert_eq!(config(&bed), before, "{line}");
    }
    insta::assert_snapshot!(bed.line("config set web1 lxc.tty.max=5 lxc.cap.keep=chown"), @r"
    --- stderr
    error: cannot configure `web1`: $BED/lxc/web1/config:7:16: `lxc.cap.keep` cannot stand beside `lxc.cap.drop` of $BED/lxc/web1/config:5:16
    hint: clear the other one first: `lxc.cap.drop =`
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("config set web1 lxc.rootfs.path=dir:/elsewhere"), @r"
    --- stderr
    error: cannot configure `web1`: the root filesystem of a container stays where it is: `dir:$BED/lxc/web1/rootfs`
    hint: `keiki clone` and `keiki rename` make and move root filesystems
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("config set web1 lxc.tty.max=many"), @r"
    --- stderr
    error: `lxc.tty.max`: `many` is not a whole number
    --- exit 2
    ");
}

#[test]
fn a_change_that_fails_or_dies_leaves_the_old_file_and_the_next_one_works() {
    let bed = bed(PLAIN);
    let before = config(&bed);
    for failure in ["error", "enospc", "kill"] {
        let mut command = bed.command();
        command.env("KEIKI_FAILPOINT", format!("config.replace:{failure}"));
        command.args(["config", "set", "web1", "lxc.tty.max=9", "-P", "lxc"]);
        assert_ne!(bed.run(command).code, 0, "{failure}");
        assert_eq!(config(&bed), before, "{failure}");
    }
    bed.line("config set web1 lxc.tty.max=9").ok();
    bed.assert_clean();
}

#[test]
fn migrate_rewrites_once_and_keeps_the_old_file() {
    let bed =
        bed("# lxc.utsname was here\nlxc.utsname = web1\nlxc.rootfs = $BED/lxc/web1/rootfs\nlxc.kmsg = 0\n\
                   lxc.network.type = empty\nlxc.cap.drop = sys_time\n");
    let before = config(&bed);
    insta::assert_snapshot!(bed.line("config migrate web1 --dry-run"), @r"
    $BED/lxc/web1/config:2: lxc.utsname → lxc.uts.name
    $BED/lxc/web1/config:3: lxc.rootfs → lxc.rootfs.path
    $BED/lxc/web1/config:4: lxc.kmsg is gone
    $BED/lxc/web1/config:5: lxc.network.type → lxc.net.0.type
    --- exit 0
    ");
    assert_eq!(config(&bed), before);
    insta::assert_snapshot!(bed.line("config migrate web1"), @r"
    $BED/lxc/web1/config:2: lxc.utsname → lxc.uts.name
    $BED/lxc/web1/config:3: lxc.rootfs → lxc.rootfs.path
    $BED/lxc/web1/config:4: lxc.kmsg is gone
    $BED/lxc/web1/config:5: lxc.network.type → lxc.net.0.type
    --- stderr
    migrated web1 (4 lines); the old file is $BED/lxc/web1/config.backup
    --- exit 0
    ");
    assert_eq!(fs::read_to_string(bed.lxcpath().join("web1/config.backup")).unwrap(), before);
    let after = config(&bed);
    assert!(
        after.starts_with("# lxc.utsname was here\nlxc.uts.name = web1\nlxc.rootfs.path = dir:"),
        "{after}"
    );
    insta::assert_snapshot!(bed.line("config migrate web1"), @r"
    --- stderr
    web1 has no old names
    --- exit 0
    ");
    assert_eq!(config(&bed), after);
    assert_eq!(bed.names(), "web1\n");
    // What is wrong besides is told; another backup is not lost.
    fs::write(bed.lxcpath().join("web1/config"), format!("{after}lxc.tty = 4\nlxc.nope = 1\n")).unwrap();
    insta::assert_snapshot!(bed.line("config migrate web1"), @r"
    --- stderr
    error: cannot migrate `web1`: `$BED/lxc/web1/config.backup` exists and is the backup of another text
    hint: move it away
    --- exit 4
    ");
    fs::remove_file(bed.lxcpath().join("web1/config.backup")).unwrap();
    insta::assert_snapshot!(bed.line("config migrate web1 --format csv"), @r"
    file,line,old,new
    $BED/lxc/web1/config,6,lxc.tty,lxc.tty.max
    --- stderr
    migrated web1 (1 line); the old file is $BED/lxc/web1/config.backup
    warning: $BED/lxc/web1/config:7:1: there is no key `lxc.nope`
    --- exit 1
    ");
}

#[test]
fn a_root_filesystem_that_is_somebody_elses_is_not_destroyed() {
    let bed = bed(&format!("{PLAIN}lxc.rootfs.managed = 0\n"));
    fs::write(bed.lxcpath().join("web1/rootfs/data"), "precious").unwrap();
    insta::assert_snapshot!(bed.line("destroy web1"), @r"
    --- stderr
    error: the root filesystem of `web1` is not keiki's to destroy: lxc.rootfs.managed is 0
    hint: `keiki config set web1 lxc.rootfs.managed=1` makes it so, and the destroy removes it
    --- exit 2
    ");
    assert!(bed.lxcpath().join("web1/rootfs/data").exists());
    bed.line("config set web1 lxc.rootfs.managed=1").ok();
    bed.line("destroy web1").ok();
    assert_eq!(bed.names(), "");
}

#[test]
fn keys_are_described() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("config keys lxc.start"), @r"
    KEY              DEFAULT  APPLIED    MEANING
    lxc.start.auto   0        elsewhere  start with the host
    lxc.start.delay  0        elsewhere  seconds to wait after it
    lxc.start.order  0        elsewhere  its place in the order
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("config keys lxc.net.0.macvlan --format json"), @r#"
    [
      {
        "key": "lxc.net.N.macvlan.mode",
        "takes": "one of private, vepa, bridge, passthru",
        "many": false,
        "default": "private",
        "example": "lxc.net.N.macvlan.mode = bridge",
        "applied": "start",
        "meaning": "who may talk to whom"
      }
    ]
    --- exit 0
    "#);
    let names = bed.line("config keys -1").ok();
    assert!(names.lines().count() > 110 && names.lines().is_sorted(), "{names}");
}

#[test]
fn a_new_container_has_an_address_of_its_own() {
    need_host!();
    let bed = Bed::new();
    fs::write(bed.path().join("net.conf"), "lxc.net.0.type = empty\nlxc.net.0.hwaddr = 10:66:6a:xx:xx:xx\n")
        .unwrap();
    bed.line("create web1 --template none -f net.conf").ok();
    assert!(config(&bed).contains("lxc.net.0.hwaddr = 10:66:6a:") && !config(&bed).contains(":xx"));
}
