//! Real archives made by tar, and hostile ones made by hand.
#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use keiki_core::context::Context;
use keiki_core::engine::Fill;
use keiki_core::{Error, ErrorKind};
use keiki_images::{Devices, Local};

fn sh(script: &str) {
    assert!(Command::new("/bin/bash").arg("-ec").arg(script).status().unwrap().success(), "{script}");
}

fn unpack(archive: &Path, devices: Devices) -> Result<tempfile::TempDir, Error> {
    let target = tempfile::tempdir().unwrap();
    let root = File::open(target.path()).unwrap();
    Local::new(archive, devices)?.fill(&Context::default(), root.as_fd())?;
    Ok(target)
}

fn hash(path: &Path) -> String {
    let root = File::open(path).unwrap();
    format!("{:?}", keiki_tree::hash_tree(root.as_fd(), keiki_tree::DescribeOptions::default()).unwrap())
}

/// A tree with everything that a root filesystem is made of.
fn tree(at: &Path) {
    sh(&format!(
        "cd {} && mkdir -p a/b 'sp ace' && echo one > a/one && ln a/one a/b/hard && ln -s ../one a/b/soft && \
         ln -s /etc/passwd absolute && mkfifo pipe && chmod 4755 a/one && chown 100000:7 a/b && \
         truncate -s 3M sparse && printf x | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none && \
         setfattr -n user.k -v v a/one && setfattr -n trusted.t -v $'line\\nbreak' a && setfacl -m u:5:r a/one && \
         setcap cap_net_raw+ep sparse 2>/dev/null || true; mknod null c 1 3; touch -d '2001-02-03 04:05:06.789012345' 'sp ace'",
        at.display()
    ));
}

#[test]
fn everything_survives_every_compression() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    tree(&source);
    let options = "--format=posix --numeric-owner --xattrs --xattrs-include='*' --acls --sparse";
    for (name, filter) in [("a.tar", "cat"), ("a.tar.gz", "gzip"), ("b.odd", "xz"), ("c", "zstd -q")] {
        let archive = work.path().join(name);
        sh(&format!("tar -C {} {options} -cf - . | {filter} > {}", source.display(), archive.display()));
        let target = unpack(&archive, Devices::Make).unwrap();
        assert_eq!(hash(target.path()), hash(&source), "{name}");
    }
}

#[test]
fn device_nodes_are_refused_skipped_or_made_as_asked() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    sh(&format!(
        "cd {} && mkdir dev && mknod 'dev/nu ll' c 1 3 && mknod 'dev/a*' b 7 0 && touch dev/ab",
        source.display()
    ));
    let archive = work.path().join("a.tar");
    sh(&format!("tar -C {} -cf {} .", source.display(), archive.display()));
    let error = unpack(&archive, Devices::Refuse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(
        error.full_message().contains("device node") && error.hints()[0].contains("--devices"),
        "{error:?}"
    );
    let skipped = unpack(&archive, Devices::Skip).unwrap();
    let names: Vec<_> =
        fs::read_dir(skipped.path().join("dev")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ab"]);
    let made = unpack(&archive, Devices::Make).unwrap();
    assert_eq!(fs::read_dir(made.path().join("dev")).unwrap().count(), 3);
}

/// One header with a right checksum.
fn header(name: &[u8], kind: u8, link: &[u8], size: usize) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

fn content(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

fn record(key: &str, value: &str) -> String {
    let body = format!(" {key}={value}\n");
    let mut length = body.len() + 1;
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    format!("{length}{body}")
}

fn pax(records: &str) -> Vec<u8> {
    [header(b"pax", b'x', b"", records.len()), content(records.as_bytes())].concat()
}

#[test]
fn hostile_archives_are_refused_before_anything_is_written() {
    let escape = header(b"etc", b'2', b"/etc", 0);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("absolute", vec![header(b"/tmp/evil", b'0', b"", 0)]),
        ("contains `..`", vec![header(b"a/../../evil", b'0', b"", 0)]),
        ("hard link to", vec![header(b"x", b'1', b"/etc/shadow", 0)]),
        ("hard link to", vec![header(b"x", b'1', b"../../etc/shadow", 0)]),
        ("through the symbolic link", vec![escape.clone(), header(b"etc/passwd", b'0', b"", 0)]),
        ("hard link through", vec![escape.clone(), header(b"x", b'1', b"etc/shadow", 0)]),
        ("link out of the tree", vec![header(b"a/x", b'2', b"../../etc", 0)]),
        ("device node", vec![header(b"sda", b'4', b"", 0)]),
        ("unknown kind", vec![header(b"x", b'M', b"", 0)]),
        ("absolute", vec![pax(&record("path", "/evil")), header(b"harmless", b'0', b"", 0)]),
        (
            "contains `..`",
            vec![pax(&record("GNU.sparse.name", "../evil")), header(b"harmless", b'0', b"", 0)],
        ),
        ("hard link to", vec![pax(&record("linkpath", "../evil")), header(b"x", b'1', b"fine", 0)]),
        ("pax record is damaged", vec![pax("999 path=x\n"), header(b"x", b'0', b"", 0)]),
        (
            "contains `..`",
            vec![header(b"././@LongLink", b'L', b"", 8), content(b"../evil\0"), header(b"x", b'0', b"", 0)],
        ),
        ("cut off", vec![header(b"x", b'0', b"", 5000), content(b"short")]),
        ("empty", vec![vec![0; 512]]),
    ];
    for (reason, blocks) in cases {
        let work = tempfile::tempdir().unwrap();
        let archive = work.path().join("evil.tar");
        // A first member, so that every one of them is told from "not an archive".
        let mut bytes =
            if reason == "empty" { header(b"label", b'V', b"", 0) } else { header(b"first", b'0', b"", 0) };
        bytes.extend(blocks.concat());
        if reason != "cut off" {
            bytes.extend([0; 1024]);
        }
        fs::write(&archive, bytes).unwrap();
        let target = tempfile::tempdir().unwrap();
        let root = File::open(target.path()).unwrap();
        let error = Local::new(&archive, Devices::Refuse)
            .unwrap()
            .fill(&Context::default(), root.as_fd())
            .unwrap_err();
        assert!(error.full_message().contains(reason), "{reason}: {error:?}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "{reason}");
    }
}

#[test]
fn damaged_archives_are_told_with_the_place() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    sh(&format!("cd {} && head -c 300000 /dev/urandom > a && cp a b", source.display()));
    let archive = work.path().join("a.tar");
    sh(&format!("tar -C {} -cf {} a b", source.display(), archive.display()));
    let whole = fs::read(&archive).unwrap();
    for (cut, reason) in [(200_000, "cut off"), (300_544 + 700, "cut off")] {
        fs::write(&archive, &whole[..cut]).unwrap();
        let error = unpack(&archive, Devices::Refuse).unwrap_err();
        assert!(
            error.full_message().contains(reason) && error.full_message().contains("at byte"),
            "{error:?}"
        );
    }
    for filter in ["gzip", "xz", "zstd -q"] {
        let packed = work.path().join("packed");
        sh(&format!(
            "tar -C {} -cf - a b | {filter} | head -c 200000 > {}",
            source.display(),
            packed.display()
        ));
        let error = unpack(&packed, Devices::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{filter}: {error:?}");
    }
    fs::write(&archive, b"just some text").unwrap();
    assert!(unpack(&archive, Devices::Refuse).unwrap_err().message().contains("is not an archive"));
    fs::write(&archive, b"BZh91AY").unwrap();
    assert_eq!(unpack(&archive, Devices::Refuse).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(
        Local::new(Path::new("/does/not/exist"), Devices::Refuse).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn attributes_that_would_speak_to_us_or_to_overlayfs_do_not_come_from_an_archive() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    sh(&format!(
        "cd {} && mkdir d && setfattr -n trusted.overlay.opaque -v y d && setfattr -n trusted.keiki.id -v x d && \
         setfattr -n user.fine -v 1 d && tar --xattrs --xattrs-include='*' -cf ../a.tar d",
        source.display()
    ));
    let target = unpack(&work.path().join("a.tar"), Devices::Refuse).unwrap();
    let shown =
        Command::new("getfattr").args(["-m", "-", "-d"]).arg(target.path().join("d")).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("user.fine") && !shown.contains("overlay") && !shown.contains("keiki"), "{shown}");
}

#[test]
fn a_directory_is_copied_whole() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    tree(&source);
    let target = unpack(&source, Devices::Refuse).unwrap();
    assert_eq!(hash(target.path()), hash(&source));
}
