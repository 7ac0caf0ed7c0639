//! Bad input: a clear message, an exit code, nothing changed.

use crate::harness::Bed;
use crate::need_host;

#[test]
fn a_missing_origin_is_not_found() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("clone --snapshot nobody x"), @"");
    insta::assert_snapshot!(bed.line("snapshot create nobody"), @"");
    bed.assert_clean();
}

#[test]
fn a_missing_snapshot_is_not_found() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("snapshot restore base snap0"), @"");
    insta::assert_snapshot!(bed.line("clone base@snap0 x"), @"");
    assert_eq!(bed.names(), "base\n");
}

#[test]
fn a_taken_name_is_a_conflict() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("create base --template busybox"), @"");
    bed.line("clone --copy base other").ok();
    insta::assert_snapshot!(bed.line("rename other base"), @"");
    std::fs::create_dir(bed.lxcpath().join("mine")).unwrap();
    std::fs::write(bed.lxcpath().join("mine/thesis"), "x").unwrap();
    assert_eq!(bed.line("create mine --template busybox").code, 4);
    assert_eq!(std::fs::read_to_string(bed.lxcpath().join("mine/thesis")).unwrap(), "x");
}

#[test]
fn an_option_that_the_store_does_not_take_is_refused() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create x --template busybox --bdev dir --zfsroot tank"), @"");
    bed.assert_clean();
}

#[test]
fn a_corrupt_tarball_leaves_nothing() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("rootfs.tar.gz"), b"\x1f\x8bgarbage").unwrap();
    insta::assert_snapshot!(bed.line("create x --template local -- --rootfs rootfs.tar.gz"), @"");
    assert_eq!(bed.names(), "");
    bed.assert_clean();
}

#[test]
fn bad_configuration_is_refused_with_its_place() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("bad.conf"), "lxc.uts.name = x\nlxc.frobnicate = 1\n").unwrap();
    insta::assert_snapshot!(bed.line("create x --template busybox -f bad.conf"), @"");
    assert_eq!(bed.names(), "");
    bed.assert_clean();
}

#[test]
fn a_missing_configuration_or_root_filesystem_is_not_found() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create x --template busybox -f none.conf"), @"");
    insta::assert_snapshot!(bed.line("create x --template local -- --rootfs none"), @"");
    insta::assert_snapshot!(bed.line("create x --template debian"), @"");
    insta::assert_snapshot!(bed.line("create x --template busybox -- --frobnicate"), @"");
    bed.assert_clean();
}

#[test]
fn a_read_only_lxcpath_is_named() {
    need_host!();
    let bed = Bed::new();
    let script = "mount --bind lxc lxc && mount -o remount,bind,ro lxc && exec \"$0\" create x --template busybox -P lxc";
    let mut command = std::process::Command::new("unshare");
    let keiki = bed.command();
    command
        .args(["--mount", "sh", "-c", script])
        .arg(keiki.get_program())
        .env_clear()
        .current_dir(bed.path());
    command.envs(keiki.get_envs().filter_map(|(name, value)| Some((name, value?))));
    insta::assert_snapshot!(bed.run(command), @"");
    assert_eq!(bed.names(), "");
}

#[test]
fn every_failing_effect_of_create_leaves_nothing_and_the_next_one_works() {
    need_host!();
    let bed = Bed::new();
    let mut command = bed.command();
    command.env("KEIKI_FAILPOINT", "create.commit:error");
    command.args(["create", "x", "--template", "busybox", "-P", "lxc"]);
    insta::assert_snapshot!(bed.run(command), @"");
    bed.assert_clean();
    bed.line("create x --template busybox").ok();
}
