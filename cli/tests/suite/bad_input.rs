//! Bad input: a clear message, an exit code, nothing changed.

use crate::harness::Bed;
use crate::need_host;

#[test]
fn a_missing_origin_is_not_found() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("clone --snapshot nobody x"), @r"
    --- stderr
    error: cannot clone `nobody`: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("snapshot create nobody"), @r"
    --- stderr
    error: cannot take a snapshot of `nobody`: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
    bed.assert_clean();
}

#[test]
fn a_missing_snapshot_is_not_found() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("snapshot restore base snap0"), @r"
    --- stderr
    error: cannot restore `base@snap0`: container `base` has no snapshot `snap0`
    hint: `keiki snapshot list base` shows what there is
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("clone base@snap0 x"), @r"
    --- stderr
    error: cannot clone `base@snap0`: container `base` has no snapshot `snap0`
    hint: `keiki snapshot list base` shows what there is
    --- exit 3
    ");
    assert_eq!(bed.names(), "base\n");
}

#[test]
fn a_taken_name_is_a_conflict() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("create base --template busybox"), @r"
    --- stderr
    error: container `base` exists
    hint: choose another name, or `keiki destroy base` first
    --- exit 4
    ");
    bed.line("clone --copy base other").ok();
    insta::assert_snapshot!(bed.line("rename other base"), @r"
    --- stderr
    error: cannot rename `other`: container `base` exists
    hint: choose another name, or `keiki destroy base` first
    --- exit 4
    ");
    std::fs::create_dir(bed.lxcpath().join("mine")).unwrap();
    std::fs::write(bed.lxcpath().join("mine/thesis"), "x").unwrap();
    assert_eq!(bed.line("create mine --template busybox").code, 4);
    assert_eq!(std::fs::read_to_string(bed.lxcpath().join("mine/thesis")).unwrap(), "x");
}

#[test]
fn an_option_that_the_store_does_not_take_is_refused() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create x --template busybox --bdev dir --zfsroot tank"), @r"
    --- stderr
    error: the dir store has no option `zfsroot`
    hint: its only option is `dir`, the directory to use instead of `rootfs`
    --- exit 2
    ");
    bed.assert_clean();
}

#[test]
fn a_corrupt_tarball_leaves_nothing() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("rootfs.tar.gz"), b"\x1f\x8bgarbage").unwrap();
    insta::assert_snapshot!(bed.line("create x --template local -- --rootfs rootfs.tar.gz"), @r"
    --- stderr
    error: cannot create container `x`: the archive `rootfs.tar.gz` is refused: at byte 0: the archive cannot be read: unexpected end of file
    --- exit 2
    ");
    assert_eq!(bed.names(), "");
    bed.assert_clean();
}

#[test]
fn bad_configuration_is_refused_with_its_place() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("bad.conf"), "lxc.uts.name = x\nlxc.frobnicate = 1\n").unwrap();
    insta::assert_snapshot!(bed.line("create x --template busybox -f bad.conf"), @r"
    --- stderr
    error: bad.conf:2:1: there is no key `lxc.frobnicate`
    --- exit 2
    ");
    assert_eq!(bed.names(), "");
    bed.assert_clean();
}

#[test]
fn a_missing_configuration_or_root_filesystem_is_not_found() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create x --template busybox -f none.conf"), @r"
    --- stderr
    error: cannot read the configuration `none.conf`: No such file or directory
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("create x --template local -- --rootfs none"), @r"
    --- stderr
    error: cannot use `none` as a root filesystem: No such file or directory
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("create x --template debian"), @r"
    --- stderr
    error: there is no template `debian`
    hint: templates: busybox, local, none
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("create x --template busybox -- --frobnicate"), @r"
    --- stderr
    error: unexpected argument '--frobnicate' found

    Usage: keiki create NAME --template busybox -- [OPTIONS]

    For more information, try '--help'.
    --- exit 2
    ");
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
    insta::assert_snapshot!(bed.run(command), @r"
    --- stderr
    error: no store that was asked for is available
      store: dir: cannot write in `$BED/lxc`: Read-only file system
    hint: choose a writable lxcpath with --lxcpath
    --- exit 9
    ");
    assert_eq!(bed.names(), "");
}

#[test]
fn a_create_that_fails_or_dies_at_any_step_leaves_nothing_and_the_next_one_works() {
    need_host!();
    let bed = Bed::new();
    for step in ["staging", "volume", "fill", "config", "sync", "publish"] {
        for failure in ["error", "enospc", "kill"] {
            let mut command = bed.command();
            command.env("KEIKI_FAILPOINT", format!("create.{step}:{failure}"));
            command.args(["create", "x", "--template", "busybox", "-P", "lxc"]);
            let run = bed.run(command);
            assert_ne!(run.code, 0, "{step}:{failure}: {run}");
            assert_eq!(run.stdout, "", "{step}:{failure}");
            assert_eq!(bed.names(), "", "{step}:{failure}");
            bed.assert_clean();
        }
    }
    bed.line("create x --template busybox").ok();
}
