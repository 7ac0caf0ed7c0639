//! LXC's global configuration: where containers and volumes go, what new containers begin with, and what is wrong with it.

use crate::harness::Bed;
use crate::need_host;

fn bed(lxc_conf: &str) -> Bed {
    let bed = Bed::new();
    let text = lxc_conf.replace("$BED", &bed.path().to_string_lossy());
    std::fs::write(bed.path().join("lxc.conf"), text).unwrap();
    bed
}

/// The defaults that `keiki stores` shows for a store.
fn defaults(bed: &Bed, store: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&bed.line("stores --format json").ok()).unwrap();
    let row = json.as_array().unwrap().iter().find(|row| row["name"] == store).unwrap().clone();
    serde_json::from_value(row["defaults"].clone()).unwrap()
}

#[test]
fn stores_show_the_defaults_of_lxc_and_those_of_its_configuration() {
    let plain = bed("");
    assert_eq!(defaults(&plain, "lvm"), ["--vgname lxc"]);
    assert_eq!(defaults(&plain, "zfs"), ["--zfsroot lxc"]);
    assert_eq!(defaults(&plain, "dir"), Vec::<String>::new());
    let said = bed("lxc.bdev.lvm.vg = vg0\nlxc.bdev.lvm.thin_pool = pool\nlxc.bdev.zfs.root = tank/lxc\n");
    assert_eq!(defaults(&said, "lvm"), ["--thinpool pool", "--vgname vg0"]);
    assert_eq!(defaults(&said, "zfs"), ["--zfsroot tank/lxc"]);
    let text = said.line("stores").ok();
    assert!(
        text.contains("lvm makes volumes with --thinpool pool --vgname vg0, unless told otherwise"),
        "{text}"
    );
}

#[test]
fn a_broken_line_is_told_with_its_place_and_nothing_is_made() {
    let bed = bed("# ours\nlxc.bdev.lvm.gv = vg0\n  lxc.lxcpath /srv\n");
    for line in ["ls", "stores", "create x --template none"] {
        let run = bed.line(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}");
    }
    insta::assert_snapshot!(bed.line("create x --template none"), @r"
    --- stderr
    error: $BED/lxc.conf:2:1: `lxc.conf` has no key `lxc.bdev.lvm.gv`
      also: $BED/lxc.conf:3:3: `lxc.lxcpath /srv` has no `=`
    hint: did you mean `lxc.bdev.lvm.vg`?
    hint: write `key = value`
    --- exit 2
    ");
    assert_eq!(std::fs::read_dir(bed.lxcpath()).unwrap().count(), 0);
}

#[test]
fn lxcpath_is_where_the_configuration_says_unless_the_command_line_names_another() {
    let bed = bed("lxc.lxcpath = $BED/containers//\n");
    let mut create = bed.command();
    create.args(["create", "x", "--template", "none"]);
    bed.run(create).ok();
    assert!(bed.path().join("containers/x/config").exists());
    assert_eq!(bed.names(), "", "-P wins");
}

#[test]
fn a_new_container_begins_with_the_default_configuration_unless_another_is_given() {
    let bed = bed("lxc.default_config = $BED/default.conf\n");
    std::fs::write(bed.path().join("default.conf"), "lxc.tty.max = 7\n").unwrap();
    std::fs::write(bed.path().join("own.conf"), "lxc.pty.max = 8\n").unwrap();
    bed.line("create a --template none").ok();
    bed.line("create b --template none -f own.conf").ok();
    let config = |name: &str| std::fs::read_to_string(bed.lxcpath().join(name).join("config")).unwrap();
    assert!(config("a").contains("lxc.tty.max = 7\n"), "{}", config("a"));
    assert!(!config("b").contains("lxc.tty.max = 7\n"), "{}", config("b"));
    assert!(config("b").contains("lxc.pty.max = 8\n"), "{}", config("b"));
}

#[test]
fn a_default_configuration_that_is_not_there_is_an_error() {
    insta::assert_snapshot!(bed("lxc.default_config = $BED/no.conf\n").line("create a --template none"), @r"
    --- stderr
    error: cannot read the configuration `$BED/no.conf`: No such file or directory
    --- exit 3
    ");
}

#[test]
fn what_is_not_applied_is_a_warning_at_start() {
    need_host!();
    let bed = bed("lxc.cgroup.use = @all\n");
    bed.base("dir");
    let run = bed.line("start base -- sleep 60");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("lxc.conf:1:1: `lxc.cgroup.use` is not applied"), "{run}");
}

#[test]
fn a_configuration_that_was_named_and_is_not_there_is_an_error() {
    let bed = Bed::new();
    let mut command = bed.command();
    command.env("KEIKI_LXC_CONF", bed.path().join("none.conf")).arg("ls");
    insta::assert_snapshot!(bed.run(command), @r"
    --- stderr
    error: cannot read the configuration `$BED/none.conf`: No such file or directory
    --- exit 3
    ");
}
