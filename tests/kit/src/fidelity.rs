//! What a root filesystem can be made of, a function a feature.
//!
//! Each builds below an empty directory and sets every time itself, so that equal trees are equal. Whoever runs them is
//! root; names are resolved against the directory given, whatever it is called.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, makedev, mkdirat, mknodat, openat, utimensat,
};

/// One thing that a tree can hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    /// Its name, which is the case's name.
    pub(crate) name: &'static str,
    /// Builds it below an empty directory.
    pub(crate) build: fn(&Path) -> io::Result<()>,
}

/// Every feature.
pub(crate) const FEATURES: &[Feature] = &[
    Feature { name: "modes_of_files_are_kept", build: modes },
    Feature { name: "setuid_setgid_and_sticky_are_kept", build: special_modes },
    Feature { name: "modes_of_directories_are_kept", build: directory_modes },
    Feature { name: "owners_are_kept", build: owners },
    Feature { name: "owners_beyond_65535_are_kept", build: large_owners },
    Feature { name: "setuid_survives_another_owner", build: setuid_of_another },
    Feature { name: "nanosecond_times_are_kept", build: times },
    Feature { name: "times_before_1970_are_kept", build: early_times },
    Feature { name: "times_of_links_are_kept", build: link_times },
    Feature { name: "times_of_directories_are_kept", build: directory_times },
    Feature { name: "user_attributes_are_kept", build: user_attributes },
    Feature { name: "trusted_attributes_are_kept", build: trusted_attributes },
    Feature { name: "file_capabilities_are_kept", build: file_capabilities },
    Feature { name: "access_acls_are_kept", build: access_acls },
    Feature { name: "default_acls_are_kept", build: default_acls },
    Feature { name: "hard_links_stay_one_file", build: hard_links },
    Feature { name: "hard_links_across_directories_stay_one_file", build: hard_links_across },
    Feature { name: "holes_read_as_zeros", build: holes },
    Feature { name: "a_file_that_is_one_hole_is_kept", build: one_hole },
    Feature { name: "fifos_are_kept", build: fifos },
    Feature { name: "sockets_are_kept", build: sockets },
    Feature { name: "devices_are_kept", build: devices },
    Feature { name: "symbolic_links_are_kept_and_not_followed", build: links },
    Feature { name: "long_link_targets_are_kept", build: long_links },
    Feature { name: "empty_files_and_directories_are_kept", build: empty },
    Feature { name: "names_of_255_bytes_are_kept", build: long_names },
    Feature { name: "names_that_are_not_utf8_are_kept", build: odd_names },
    Feature { name: "paths_beyond_path_max_are_kept", build: deep_paths },
    Feature { name: "a_directory_of_ten_thousand_entries_is_kept", build: wide },
    Feature { name: "content_of_every_size_is_kept", build: sizes },
    Feature { name: "the_roots_own_mode_and_owner_are_kept", build: root_itself },
];

/// Builds every feature, each in a directory of its own.
pub(crate) fn everything(root: &Path) -> io::Result<()> {
    for feature in
        FEATURES.iter().filter(|f| !f.name.contains("ten_thousand") && !f.name.contains("roots_own"))
    {
        let directory = root.join(feature.name);
        fs::create_dir(&directory)?;
        (feature.build)(&directory)?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn modes(root: &Path) -> io::Result<()> {
    [0o000, 0o400, 0o644, 0o755, 0o777, 0o222]
        .iter()
        .try_for_each(|mode| write(&root.join(format!("{mode:04o}")), b"x", *mode))
}

fn special_modes(root: &Path) -> io::Result<()> {
    [0o4755, 0o2755, 0o6711, 0o1644, 0o4222]
        .iter()
        .try_for_each(|mode| write(&root.join(format!("{mode:04o}")), b"x", *mode))
}

fn directory_modes(root: &Path) -> io::Result<()> {
    for mode in [0o700, 0o1777, 0o2775, 0o000, 0o555] {
        let directory = root.join(format!("{mode:04o}"));
        fs::create_dir(&directory)?;
        fs::write(directory.join("inside"), "x")?;
        fs::set_permissions(&directory, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn owners(root: &Path) -> io::Result<()> {
    own(root, &[(1, 2), (1000, 0), (0, 33)])
}

fn large_owners(root: &Path) -> io::Result<()> {
    own(root, &[(65_536, 65_537), (1_000_000, 1_065_535), (4_000_000_000, 3_999_999_999)])
}

fn own(root: &Path, owners: &[(u32, u32)]) -> io::Result<()> {
    for (user, group) in owners {
        let file = root.join(format!("{user}.{group}"));
        fs::write(&file, "x")?;
        chown(&file, Some(*user), Some(*group))?;
        let directory = root.join(format!("d{user}.{group}"));
        fs::create_dir(&directory)?;
        chown(&directory, Some(*user), Some(*group))?;
        let link = root.join(format!("l{user}.{group}"));
        symlink("nowhere", &link)?;
        lchown(&link, Some(*user), Some(*group))?;
    }
    Ok(())
}

/// A change of owner clears setuid and capabilities; whoever copies must set them afterwards.
fn setuid_of_another(root: &Path) -> io::Result<()> {
    let file = root.join("setuid");
    fs::write(&file, "x")?;
    chown(&file, Some(1000), Some(1000))?;
    xattr::set(&file, "security.capability", CAPABILITY)?;
    fs::set_permissions(&file, Permissions::from_mode(0o6755))
}

fn touch(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let moment = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: moment, last_modification: moment };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(root: &Path) -> io::Result<()> {
    for (seconds, nanoseconds) in [(1_000_000_000, 123_456_789), (1_700_000_000, 999_999_999), (0, 1)] {
        let file = root.join(format!("{seconds}.{nanoseconds}"));
        fs::write(&file, "x")?;
        touch(&file, seconds, nanoseconds)?;
    }
    Ok(())
}

fn early_times(root: &Path) -> io::Result<()> {
    fs::write(root.join("moon"), "x")?;
    touch(&root.join("moon"), -14_182_916, 500_000_000)
}

fn link_times(root: &Path) -> io::Result<()> {
    symlink("nowhere", root.join("link"))?;
    touch(&root.join("link"), 1_234_567_890, 987_654_321)
}

fn directory_times(root: &Path) -> io::Result<()> {
    let directory = root.join("directory");
    fs::create_dir_all(directory.join("inner"))?;
    fs::write(directory.join("file"), "x")?;
    touch(&directory.join("inner"), 1_111_111_111, 11)?;
    touch(&directory, 1_222_222_222, 22)
}

fn user_attributes(root: &Path) -> io::Result<()> {
    let file = root.join("file");
    fs::write(&file, "x")?;
    xattr::set(&file, "user.text", b"value")?;
    xattr::set(&file, "user.empty", b"")?;
    xattr::set(&file, "user.binary", &[0, 255, 1, 254])?;
    xattr::set(&file, "user.large", &vec![0x41; 2000])?;
    fs::create_dir(root.join("directory"))?;
    xattr::set(root.join("directory"), "user.text", b"value of a directory")
}

fn trusted_attributes(root: &Path) -> io::Result<()> {
    fs::write(root.join("file"), "x")?;
    xattr::set(root.join("file"), "trusted.text", b"value")?;
    symlink("nowhere", root.join("link"))?;
    xattr::set(root.join("link"), "trusted.text", b"value of a link")
}

/// `cap_net_raw=ep`, version 2.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn file_capabilities(root: &Path) -> io::Result<()> {
    write(&root.join("ping"), b"x", 0o755)?;
    xattr::set(root.join("ping"), "security.capability", CAPABILITY)
}

/// The kernel's form of an ACL: version 2, then tag, permissions and id of each entry.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// `u::rw-,u:1000:rwx,g::r--,g:70000:r-x,m::rwx,o::---`
fn rich_acl() -> Vec<u8> {
    let nobody = u32::MAX;
    acl(&[(1, 6, nobody), (2, 7, 1000), (4, 4, nobody), (8, 5, 70_000), (16, 7, nobody), (32, 0, nobody)])
}

fn access_acls(root: &Path) -> io::Result<()> {
    fs::write(root.join("file"), "x")?;
    xattr::set(root.join("file"), "system.posix_acl_access", &rich_acl())?;
    fs::create_dir(root.join("directory"))?;
    xattr::set(root.join("directory"), "system.posix_acl_access", &rich_acl())
}

/// What is made below a directory with a default ACL inherits it; a copy must not.
fn default_acls(root: &Path) -> io::Result<()> {
    let directory = root.join("directory");
    fs::create_dir(&directory)?;
    fs::write(directory.join("made_before"), "x")?;
    fs::create_dir(directory.join("made_before.d"))?;
    xattr::set(&directory, "system.posix_acl_default", &rich_acl())?;
    fs::write(directory.join("made_after"), "x")
}

fn hard_links(root: &Path) -> io::Result<()> {
    fs::write(root.join("a"), "one file")?;
    fs::hard_link(root.join("a"), root.join("b"))?;
    fs::hard_link(root.join("a"), root.join("c"))
}

fn hard_links_across(root: &Path) -> io::Result<()> {
    for directory in ["x", "y/z", "w"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("x/a"), "one file")?;
    fs::hard_link(root.join("x/a"), root.join("y/z/b"))?;
    symlink("link", root.join("w/link"))?;
    fs::hard_link(root.join("w/link"), root.join("x/same_link"))?;
    mknodat(CWD, root.join("w/fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    fs::hard_link(root.join("w/fifo"), root.join("x/same_fifo"))
}

fn holes(root: &Path) -> io::Result<()> {
    let file = File::create(root.join("sparse"))?;
    file.write_all_at(b"front", 0)?;
    file.write_all_at(b"middle", 8 << 20)?;
    file.set_len(64 << 20)
}

fn one_hole(root: &Path) -> io::Result<()> {
    File::create(root.join("hole"))?.set_len(1 << 30)
}

fn fifos(root: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o620), 0)?)
}

fn sockets(root: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, root.join("socket"), FileType::Socket, Mode::from_raw_mode(0o666), 0)?)
}

fn devices(root: &Path) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, root.join("null"), FileType::CharacterDevice, mode, makedev(1, 3))?;
    mknodat(CWD, root.join("large"), FileType::CharacterDevice, mode, makedev(240, 200_000))?;
    Ok(mknodat(CWD, root.join("disk"), FileType::BlockDevice, mode, makedev(8, 1))?)
}

fn links(root: &Path) -> io::Result<()> {
    fs::write(root.join("file"), "x")?;
    for (name, target) in [
        ("relative", "file"),
        ("dangling", "nowhere"),
        ("absolute", "/etc/shadow"),
        ("up", "../../../../etc"),
        ("itself", "itself"),
    ] {
        symlink(target, root.join(name))?;
    }
    Ok(())
}

fn long_links(root: &Path) -> io::Result<()> {
    symlink("t".repeat(1000), root.join("1000"))?;
    symlink("a/".repeat(500), root.join("deep"))
}

fn empty(root: &Path) -> io::Result<()> {
    File::create(root.join("file"))?;
    fs::create_dir_all(root.join("a/b/c"))
}

fn long_names(root: &Path) -> io::Result<()> {
    fs::write(root.join("n".repeat(255)), "x")?;
    fs::create_dir(root.join("d".repeat(255)))?;
    fs::write(root.join("d".repeat(255)).join("m".repeat(255)), "x")
}

fn odd_names(root: &Path) -> io::Result<()> {
    for name in [&b"\xff\xfe"[..], b"new\nline", b"a:b,c\\d", b"-rf", b" ", b"...", b".hidden", b"\"'$(x)`"] {
        fs::write(root.join(OsStr::from_bytes(name)), "x")?;
    }
    Ok(())
}

/// Thirty directories with names of 200 bytes: 6,000 bytes of path.
fn deep_paths(root: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = openat(CWD, root, flags, Mode::empty())?;
    let name = "deep".repeat(50);
    for _ in 0..30 {
        mkdirat(&directory, &name, Mode::from_raw_mode(0o755))?;
        directory = openat(directory.as_fd(), &name, flags, Mode::empty())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    File::from(openat(&directory, "bottom", flags, Mode::from_raw_mode(0o644))?).write_all(b"far down")
}

fn wide(root: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let directory = File::open(root)?;
    for n in 0..10_000 {
        openat(&directory, format!("entry{n:05}"), flags, Mode::from_raw_mode(0o644))?;
    }
    Ok(())
}

fn sizes(root: &Path) -> io::Result<()> {
    for size in [1_usize, 4095, 4096, 4097, 65_536, 1_048_577, 3_000_000] {
        let pattern: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        fs::write(root.join(size.to_string()), pattern)?;
    }
    Ok(())
}

fn root_itself(root: &Path) -> io::Result<()> {
    fs::write(root.join("file"), "x")?;
    fs::set_permissions(root, Permissions::from_mode(0o1750))?;
    chown(root, Some(100_000), Some(100_001))?;
    fs::set_permissions(root, Permissions::from_mode(0o1750))?;
    // The root may be reached by a magic link, which must be followed.
    xattr::set_deref(root, "user.of_the_root", b"value")
}
