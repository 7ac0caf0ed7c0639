//! Everything again on other file systems, each in a private mount namespace that takes its mounts along when it ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use keiki_tree::{
    CopyOptions, DescribeOptions, Means, Reflink, RemoveOptions, TreeError, copy_tree, describe_tree,
    measure_tree, probe, remove_tree,
};
use rustix::mount::mount_bind;

use crate::trees::{Trees, is_root};

/// Set in the runs that have a mount namespace of their own; its value is the file system's type.
const INSIDE: &str = "KEIKI_TEST_FILE_SYSTEM";

/// Makes and mounts `$1` below `$2`, and runs the program `$3` with its temporary files there.
const SCRIPT: &str = r#"
set -eu
if [ "$1" = tmpfs ]; then
    mount -t tmpfs tmpfs "$2"
else
    truncate -s 2G "$2.img"
    "mkfs.$1" -q "$2.img"
    mount -o loop "$2.img" "$2"
    rm "$2.img"
fi
TMPDIR=$2 KEIKI_TEST_FILE_SYSTEM=$1 exec "$3" --test-threads 2
"#;

fn run_on(system: &str) {
    if std::env::var_os(INSIDE).is_some() || !is_root() {
        return;
    }
    let tool = format!("/usr/sbin/mkfs.{system}");
    if system != "tmpfs" && !Path::new(&tool).exists() {
        println!("skipped: needs mkfs.{system}");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mount_point = place.path().join("mnt");
    fs::create_dir(&mount_point).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", system])
        .arg(&mount_point)
        .arg(std::env::current_exe().unwrap())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "on {system}:\n{out}\n{err}");
}

#[test]
fn everything_holds_on_xfs() {
    run_on("xfs");
}

#[test]
fn everything_holds_on_btrfs() {
    run_on("btrfs");
}

#[test]
fn everything_holds_on_ext4() {
    run_on("ext4");
}

#[test]
fn everything_holds_on_tmpfs() {
    run_on("tmpfs");
}

#[test]
fn reflinks_are_used_where_there_are_some_and_refused_clearly_where_there_are_none() {
    let trees = Trees::new();
    fs::write(trees.source("file"), vec![1; 1 << 20]).unwrap();
    let can = probe(trees.open("source").as_fd()).unwrap().reflink;
    match std::env::var(INSIDE).as_deref() {
        Ok("xfs" | "btrfs") => assert!(can),
        Ok(_) => assert!(!can),
        Err(_) => {}
    }
    let required = trees.try_copy(&CopyOptions { reflink: Reflink::Require, ..CopyOptions::default() });
    if can {
        let report = required.unwrap();
        assert_eq!((report.means(), report.reflinked_files, report.copied_bytes), (Means::Reflink, 1, 0));
    } else {
        let error = required.unwrap_err();
        assert!(matches!(error, TreeError::ReflinkRefused { .. }), "{error}");
        let report = Trees::new().copy();
        assert_eq!(report.means(), Means::Copy);
    }
}

#[test]
fn a_copy_to_another_file_system_is_equal() {
    let trees = Trees::new();
    fs::create_dir(trees.source("directory")).unwrap();
    fs::write(trees.source("directory/large"), vec![3; 3_000_000]).unwrap();
    fs::hard_link(trees.source("directory/large"), trees.source("link")).unwrap();
    File::create(trees.source("hole")).unwrap().set_len(1 << 30).unwrap();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: needs /dev/shm");
        return;
    };
    let target = File::open(other.path()).unwrap();
    let source = trees.open("source");
    copy_tree(source.as_fd(), target.as_fd(), &CopyOptions::default()).unwrap();
    let describe = |fd| describe_tree(fd, DescribeOptions::default()).unwrap();
    let differences = describe(source.as_fd()).diff(&describe(target.as_fd()));
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn mounts_in_a_tree_are_copied_as_empty_directories_and_never_emptied() {
    if std::env::var_os(INSIDE).is_none() {
        println!("skipped: needs a private mount namespace; runs within `everything_holds_on_…`");
        return;
    }
    let trees = Trees::new();
    let outside = trees.place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    fs::create_dir(trees.source("mnt")).unwrap();
    fs::write(trees.source("file"), "").unwrap();
    mount_bind(&outside, trees.source("mnt")).unwrap();
    mount_bind(outside.join("precious"), trees.source("file")).unwrap();
    trees.copy();
    assert_eq!(fs::read_dir(trees.target("mnt")).unwrap().count(), 0);
    assert_eq!(fs::metadata(trees.target("file")).unwrap().len(), 0);
    assert_eq!(measure_tree(trees.open("source").as_fd(), None).unwrap().entries, 2);
    let place = File::open(trees.place.path()).unwrap();
    let removed = remove_tree(place.as_fd(), OsStr::new("source"), &RemoveOptions::default());
    assert!(matches!(removed, Err(TreeError::MountPoint { .. })), "{removed:?}");
    assert!(outside.join("precious").exists());
}
