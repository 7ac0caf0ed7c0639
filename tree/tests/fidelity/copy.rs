//! What a copy must keep, item by item, and what removing must survive.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::trees::{Trees, is_root};
use keiki_tree::{
    CopyOptions, DescribeOptions, Reflink, RemoveOptions, TreeError, describe_tree, mark, measure_tree,
    remove_tree,
};
use rustix::fs::{
    AtFlags, CWD, FileType, IFlags, Mode, OFlags, Timespec, Timestamps, ioctl_getflags, ioctl_setflags,
    mkdirat, mknodat, openat, utimensat,
};

fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let access = Timespec { tv_sec: seconds - 7, tv_nsec: nanoseconds + 1 };
    let times = Timestamps {
        last_access: access,
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn modes_with_setuid_setgid_and_sticky_are_kept() {
    let trees = Trees::new();
    for mode in [0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o6711, 0o1777] {
        // Nobody but root can read a file that is closed to its owner.
        if mode & 0o400 == 0 && !is_root() {
            continue;
        }
        let file = trees.source(&format!("file-{mode:o}"));
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        if is_root() {
            let directory = trees.source(&format!("directory-{mode:o}"));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("inside"), "y").unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    trees.copy_equal();
    assert_eq!(fs::metadata(trees.target("file-6711")).unwrap().mode() & 0o7777, 0o6711);
    assert_eq!(fs::metadata(trees.target("directory-1777")).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn owners_are_kept_of_files_directories_links_and_the_root() {
    if !is_root() {
        return;
    }
    let trees = Trees::new();
    fs::write(trees.source("file"), "x").unwrap();
    fs::set_permissions(trees.source("file"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir(trees.source("directory")).unwrap();
    symlink("nowhere", trees.source("link")).unwrap();
    for (name, user) in [("file", 1000), ("directory", 100_000), ("link", 4_000_000_000), ("", 165_536)] {
        std::os::unix::fs::lchown(trees.source(name), Some(user), Some(user + 1)).unwrap();
    }
    fs::set_permissions(trees.source("file"), fs::Permissions::from_mode(0o4755)).unwrap();
    trees.copy_equal();
    assert_eq!(fs::symlink_metadata(trees.target("link")).unwrap().uid(), 4_000_000_000);
    assert_eq!(fs::metadata(trees.target("")).unwrap().gid(), 165_537);
}

#[test]
fn access_and_modification_times_are_kept_to_the_nanosecond_and_the_source_is_not_touched() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source("a/b/c")).unwrap();
    fs::write(trees.source("a/b/file"), "content").unwrap();
    symlink("file", trees.source("a/b/link")).unwrap();
    let names = ["a/b/file", "a/b/link", "a/b/c", "a/b", "a", ""];
    for (i, name) in (0_i64..).zip(names) {
        set_times(&trees.source(name), 1_000_000_000 + i, 123_456_789 + i);
    }
    trees.copy();
    for (i, name) in (0_i64..).zip(names) {
        for path in [trees.source(name), trees.target(name)] {
            // Nothing reads a link without touching it.
            if path == trees.source("a/b/link") {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000 + i, 123_456_789 + i), "{path:?}");
            assert_eq!((meta.atime(), meta.atime_nsec()), (999_999_993 + i, 123_456_790 + i), "{path:?}");
        }
    }
}

#[test]
fn times_before_1970_are_kept() {
    let trees = Trees::new();
    fs::write(trees.source("old"), "x").unwrap();
    set_times(&trees.source("old"), -1_000_000, 5);
    trees.copy_equal();
}

#[test]
fn extended_attributes_of_every_name_space_are_kept() {
    if !is_root() {
        return;
    }
    let trees = Trees::new();
    fs::write(trees.source("file"), "x").unwrap();
    fs::create_dir(trees.source("directory")).unwrap();
    symlink("file", trees.source("link")).unwrap();
    rustix::fs::mknodat(CWD, trees.source("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    // cap_net_raw+ep, revision 2
    let capability: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(trees.source("file"), "security.capability", &capability).unwrap();
    std::os::unix::fs::chown(trees.source("file"), Some(1), Some(1)).unwrap();
    xattr::set(trees.source("file"), "security.capability", &capability).unwrap();
    for name in ["file", "directory", ""] {
        xattr::set(trees.source(name), "user.note", b"\0binary\xff").unwrap();
        xattr::set(trees.source(name), "user.empty", b"").unwrap();
    }
    for name in ["file", "directory", "link", "pipe", ""] {
        xattr::set(trees.source(name), "trusted.overlay.opaque", b"y").unwrap();
    }
    trees.copy_equal();
    let kept = xattr::get(trees.target("file"), "security.capability").unwrap().unwrap();
    assert_eq!(kept, capability);
    assert_eq!(xattr::get(trees.target("link"), "trusted.overlay.opaque").unwrap().unwrap(), b"y");
}

#[test]
fn ownership_marks_are_neither_copied_nor_hashed() {
    let trees = Trees::new();
    mark::write_mark(trees.open("source").as_fd(), "0123").unwrap();
    trees.copy_equal();
    assert_eq!(mark::read_mark(trees.open("target").as_fd()).unwrap(), None);
}

/// An access or default ACL: version 2, then tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[test]
fn acls_are_kept_and_a_default_acl_of_the_target_is_not_handed_down() {
    const NONE: u32 = u32::MAX;
    let trees = Trees::new();
    let named = acl(&[(1, 7, NONE), (2, 7, 1234), (4, 4, NONE), (16, 7, NONE), (32, 0, NONE)]);
    fs::write(trees.source("file"), "x").unwrap();
    fs::create_dir(trees.source("directory")).unwrap();
    fs::write(trees.source("directory/plain"), "x").unwrap();
    xattr::set(trees.source("file"), "system.posix_acl_access", &named).unwrap();
    xattr::set(trees.source("directory"), "system.posix_acl_default", &named).unwrap();
    for kind in ["system.posix_acl_default", "system.posix_acl_access"] {
        xattr::set(trees.target(""), kind, &named).unwrap();
    }
    trees.copy_equal();
    assert_eq!(xattr::get(trees.target("file"), "system.posix_acl_access").unwrap().unwrap(), named);
    assert_eq!(xattr::get(trees.target("directory/plain"), "system.posix_acl_access").unwrap(), None);
    assert_eq!(xattr::get(trees.target(""), "system.posix_acl_default").unwrap(), None);
}

#[test]
fn hard_links_are_kept_across_directories_and_counted_once() {
    let trees = Trees::new();
    for i in 0..20 {
        fs::create_dir_all(trees.source(&format!("d{i}/e"))).unwrap();
    }
    for group in 0..10 {
        let first = trees.source(&format!("d{group}/first{group}"));
        fs::write(&first, vec![b'x'; 5000]).unwrap();
        for i in 0..20 {
            fs::hard_link(&first, trees.source(&format!("d{i}/e/link{group}"))).unwrap();
        }
    }
    if is_root() {
        mknodat(CWD, trees.source("null"), FileType::CharacterDevice, Mode::RUSR, 0x103).unwrap();
        fs::hard_link(trees.source("null"), trees.source("d1/null")).unwrap();
    }
    symlink("x", trees.source("link")).unwrap();
    fs::hard_link(trees.source("link"), trees.source("d2/link")).unwrap();
    let report = trees.copy_equal();
    assert!(report.hard_links >= 201);
    assert_eq!(report.bytes, 50_000);
    assert_eq!(fs::metadata(trees.target("d3/first3")).unwrap().nlink(), 21);
    let sizes = ["source", "target"].map(|root| {
        let size = measure_tree(trees.open(root).as_fd(), None).unwrap();
        (size.entries, size.allocated, size.apparent)
    });
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn a_file_whose_other_link_lies_outside_is_copied_alone() {
    let trees = Trees::new();
    fs::write(trees.source("file"), "x").unwrap();
    fs::hard_link(trees.source("file"), trees.place.path().join("outside")).unwrap();
    trees.copy_equal();
    assert_eq!(fs::metadata(trees.target("file")).unwrap().nlink(), 1);
}

#[test]
fn holes_are_kept() {
    let trees = Trees::new();
    let mut file = File::create(trees.source("sparse")).unwrap();
    for offset in [0_u64, 1 << 20, 5 << 20, 1 << 30] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&[7; 9000]).unwrap();
    }
    file.set_len(3 << 30).unwrap();
    File::create(trees.source("only-a-hole")).unwrap().set_len(1 << 40).unwrap();
    file.sync_all().unwrap();
    trees.copy_equal();
    for name in ["sparse", "only-a-hole"] {
        let (left, right) =
            (fs::metadata(trees.source(name)).unwrap(), fs::metadata(trees.target(name)).unwrap());
        // xfs gives a growing file more than it needs, and the copy does not grow.
        assert!(right.blocks() <= left.blocks(), "{name}: {} {}", right.blocks(), left.blocks());
        assert_eq!(left.len(), right.len());
    }
}

#[test]
fn large_and_small_contents_are_kept_byte_by_byte() {
    let trees = Trees::new();
    for size in [0_usize, 1, 4095, 4096, 131_072, 131_073, 3_000_001] {
        let content: Vec<u8> = (0_u8..251).cycle().step_by(31).take(size).collect();
        fs::write(trees.source(&size.to_string()), content).unwrap();
    }
    let report = trees.copy_equal();
    assert_eq!(report.reflinked_bytes + report.copied_bytes, report.bytes);
    let never = Trees::new();
    fs::write(never.source("file"), vec![1; 1 << 20]).unwrap();
    let report = never.try_copy(&CopyOptions { reflink: Reflink::Never, ..CopyOptions::default() }).unwrap();
    assert_eq!((report.copied_files, report.reflinked_files), (1, 0));
}

#[test]
fn devices_pipes_sockets_and_whiteouts_are_kept() {
    if !is_root() {
        return;
    }
    let trees = Trees::new();
    let all = Mode::from_raw_mode(0o4666);
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("whiteout", FileType::CharacterDevice, 0),
        ("disk", FileType::BlockDevice, rustix::fs::makedev(259, 70_000)),
        ("pipe", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        mknodat(CWD, trees.source(name), kind, all, device).unwrap();
        std::os::unix::fs::lchown(trees.source(name), Some(5), Some(6)).unwrap();
        fs::set_permissions(trees.source(name), fs::Permissions::from_mode(0o4666)).unwrap();
        set_times(&trees.source(name), 77, 88);
    }
    trees.copy_equal();
    assert_eq!(
        fs::metadata(trees.target("disk")).unwrap().rdev(),
        fs::metadata(trees.source("disk")).unwrap().rdev()
    );
    assert_eq!(fs::metadata(trees.target("pipe")).unwrap().mode() & 0o7777, 0o4666);
}

#[test]
fn symbolic_links_are_copied_as_text_and_never_followed() {
    let trees = Trees::new();
    let outside = trees.place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, trees.source("absolute")).unwrap();
    symlink("../outside", trees.source("relative")).unwrap();
    symlink("loop", trees.source("loop")).unwrap();
    symlink(OsStr::from_bytes(&[b'x'; 1000]), trees.source("long")).unwrap();
    symlink(OsStr::from_bytes(b"not\xffutf8\n"), trees.source("bytes")).unwrap();
    trees.copy_equal();
    let parent = trees.open("target");
    for name in ["absolute", "relative", "loop"] {
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new(name), &RemoveOptions::default()).unwrap(), 1);
    }
    assert!(outside.join("secret").exists());
}

#[test]
fn names_of_255_bytes_that_are_no_text_are_kept() {
    let trees = Trees::new();
    let name = |byte| OsString::from(OsStr::from_bytes(&[byte; 255]));
    let deep = trees.source("").join(name(0xff)).join(name(b'\n'));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join(name(b'\\')), "x").unwrap();
    trees.copy_equal();
}

/// Makes directories `depth` deep, each with a file, by descriptors only.
fn make_deep(root: &Path, depth: usize, name: &str) {
    let name = CString::new(name).unwrap();
    let mut directory: OwnedFd = File::open(root).unwrap().into();
    for _ in 0..depth {
        mkdirat(&directory, name.as_c_str(), Mode::RWXU).unwrap();
        directory =
            openat(&directory, name.as_c_str(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        openat(&directory, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        mkdirat(&directory, "side", Mode::RWXU).unwrap();
    }
}

#[test]
fn trees_deeper_than_a_path_can_name_are_copied_described_measured_and_removed() {
    let trees = Trees::new();
    make_deep(&trees.source(""), 40, &"n".repeat(250));
    make_deep(&trees.source(""), 3000, "d");
    trees.copy_equal();
    let size = measure_tree(trees.open("target").as_fd(), None).unwrap();
    assert_eq!(size.entries, 1 + 3 * 3040);
    let place: OwnedFd = File::open(trees.place.path()).unwrap().into();
    for name in ["source", "target"] {
        let removed = remove_tree(place.as_fd(), OsStr::new(name), &RemoveOptions::default()).unwrap();
        assert_eq!(removed, size.entries);
        assert!(!trees.place.path().join(name).exists());
    }
}

#[test]
fn directories_with_ten_thousand_entries_are_copied_and_removed() {
    let trees = Trees::new();
    fs::create_dir(trees.source("big")).unwrap();
    for i in 0..10_000 {
        fs::write(trees.source(&format!("big/{i}")), i.to_string()).unwrap();
    }
    for i in 0..500 {
        fs::create_dir(trees.source(&format!("d{i}"))).unwrap();
    }
    assert_eq!(trees.copy_equal().entries, 10_501);
    let place: OwnedFd = File::open(trees.place.path()).unwrap().into();
    let removed = remove_tree(place.as_fd(), OsStr::new("target"), &RemoveOptions::default()).unwrap();
    assert_eq!(removed, 10_502);
}

fn set_flags(path: &Path, flags: IFlags) -> bool {
    let file = File::open(path).unwrap();
    ioctl_getflags(&file).and_then(|old| ioctl_setflags(&file, old | flags)).is_ok()
}

#[test]
fn immutable_entries_are_copied_with_their_flags_and_removed_nevertheless() {
    if !is_root() {
        return;
    }
    let trees = Trees::new();
    fs::create_dir_all(trees.source("directory/inner")).unwrap();
    fs::write(trees.source("directory/file"), "x").unwrap();
    fs::hard_link(trees.source("directory/file"), trees.source("link")).unwrap();
    fs::write(trees.source("log"), "x").unwrap();
    let flagged =
        [("directory/file", IFlags::IMMUTABLE), ("directory", IFlags::IMMUTABLE), ("log", IFlags::APPEND)];
    for (name, flag) in flagged {
        if !set_flags(&trees.source(name), flag) {
            println!("skipped: needs a file system with inode flags");
            return;
        }
    }
    trees.copy_equal();
    for (name, flag) in flagged {
        let file = File::open(trees.target(name)).unwrap();
        assert!(ioctl_getflags(&file).unwrap().contains(flag), "{name}");
    }
    let place: OwnedFd = File::open(trees.place.path()).unwrap().into();
    for name in ["source", "target"] {
        remove_tree(place.as_fd(), OsStr::new(name), &RemoveOptions::default()).unwrap();
        assert!(!trees.place.path().join(name).exists());
    }
}

#[test]
fn removing_what_is_absent_succeeds() {
    let trees = Trees::new();
    let place = trees.open("source");
    assert_eq!(remove_tree(place.as_fd(), OsStr::new("nothing"), &RemoveOptions::default()).unwrap(), 0);
}

#[test]
fn names_below_the_root_can_be_left_out() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source("snaps/deep")).unwrap();
    fs::create_dir_all(trees.source("keep/snaps")).unwrap();
    let exclude = [OsStr::new("snaps")];
    trees.try_copy(&CopyOptions { exclude: &exclude, ..CopyOptions::default() }).unwrap();
    assert!(!trees.target("snaps").exists());
    assert!(trees.target("keep/snaps").exists());
}

#[test]
fn a_target_that_is_not_empty_is_refused_by_name() {
    let trees = Trees::new();
    fs::write(trees.source("file"), "new").unwrap();
    fs::write(trees.target("file"), "old").unwrap();
    let error = trees.try_copy(&CopyOptions::default()).unwrap_err();
    assert_eq!(error.io_kind(), std::io::ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("`file`"), "{error}");
    assert_eq!(fs::read_to_string(trees.target("file")).unwrap(), "old");
}

#[test]
fn a_source_that_is_written_during_the_copy_is_an_error_that_names_the_place() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source("a/b")).unwrap();
    // The first directory that is finished is `a/b`; `a` is not by then.
    let write = |_| fs::write(trees.source("a/new"), "x").unwrap();
    let error =
        trees.try_copy(&CopyOptions { progress: Some(&write), ..CopyOptions::default() }).unwrap_err();
    assert!(matches!(&error, TreeError::SourceChanged { path } if path == Path::new("a")), "{error}");
    assert_eq!(error.io_kind(), std::io::ErrorKind::ResourceBusy);
}

#[test]
fn a_source_that_never_stands_still_is_never_waited_for() {
    let trees = Trees::new();
    for i in 0..50 {
        fs::create_dir(trees.source(&format!("d{i}"))).unwrap();
        fs::write(trees.source(&format!("d{i}/file")), vec![1; 300_000]).unwrap();
    }
    let mut log = File::options().append(true).create(true).open(trees.source("d0/log")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in (0..50).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                let other = trees.source(&format!("d{i}/other"));
                fs::write(&other, "x").unwrap();
                log.write_all(&[1; 4096]).unwrap();
                fs::remove_file(&other).unwrap();
            }
        });
        let result = trees.try_copy(&CopyOptions::default());
        stop.store(true, Ordering::Relaxed);
        // Whether a write falls into the copy is up to the scheduler; what comes of it is not.
        assert!(matches!(result, Ok(_) | Err(TreeError::SourceChanged { .. })), "{result:?}");
    });
}

#[test]
fn progress_reaches_the_totals_of_the_report() {
    let trees = Trees::new();
    for i in 0..300 {
        fs::create_dir(trees.source(&format!("d{i}"))).unwrap();
        fs::write(trees.source(&format!("d{i}/f")), "12345").unwrap();
    }
    let last = std::sync::Mutex::new(keiki_tree::Progress::default());
    let listen = |progress: keiki_tree::Progress| {
        let mut last = last.lock().unwrap();
        last.entries = last.entries.max(progress.entries);
        last.bytes = last.bytes.max(progress.bytes);
    };
    let report = trees.try_copy(&CopyOptions { progress: Some(&listen), ..CopyOptions::default() }).unwrap();
    let last = last.into_inner().unwrap();
    assert_eq!((last.entries, last.bytes), (report.entries, report.bytes));
    assert_eq!((report.entries, report.directories, report.bytes), (600, 300, 1500));
}

#[test]
fn the_description_names_the_entry_and_the_fact_that_differ() {
    let trees = Trees::new();
    for name in ["a", "b", "c"] {
        fs::write(trees.source(name), "x").unwrap();
    }
    trees.copy_equal();
    fs::set_permissions(trees.target("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let file = File::options().write(true).open(trees.target("b")).unwrap();
    file.write_all_at(b"y", 0).unwrap();
    fs::remove_file(trees.target("c")).unwrap();
    fs::write(trees.target("d"), "x").unwrap();
    let describe = |name: &str| describe_tree(trees.open(name).as_fd(), DescribeOptions::default()).unwrap();
    let (left, right) = (describe("source"), describe("target"));
    assert_ne!(left.hash(), right.hash());
    let lines: Vec<_> = left.diff(&right).iter().map(ToString::to_string).collect();
    assert!(lines.contains(&"a: mode is 0600, was 0644".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("b: content is ")), "{lines:?}");
    assert!(lines.contains(&"c: entry is (none), was file".to_owned()), "{lines:?}");
    assert!(lines.contains(&"d: entry is file, was (none)".to_owned()), "{lines:?}");
}

#[test]
fn a_tree_is_not_copied_into_itself() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source("a/b/target")).unwrap();
    fs::write(trees.source("a/file"), "x").unwrap();
    let source = File::open(trees.source(".")).unwrap();
    for (name, met) in [("a/b/target", "a/b/target"), (".", ".")] {
        let target = File::open(trees.source(name)).unwrap();
        let error =
            keiki_tree::copy_tree(source.as_fd(), target.as_fd(), &CopyOptions::default()).unwrap_err();
        assert!(
            matches!(&error, TreeError::TargetInside { path } if path == Path::new(met)),
            "{name}: {error}"
        );
    }
}
