//! Real archives made by tar: fidelity, damage, device nodes.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use keiki_core::context::Context;
use keiki_core::engine::Fill;
use keiki_core::{Error, ErrorKind};
use keiki_images::{Devices, Local};

pub(crate) fn sh(script: &str) {
    assert!(Command::new("/bin/bash").arg("-ec").arg(script).status().unwrap().success(), "{script}");
}

pub(crate) fn unpack(archive: &Path, devices: Devices) -> Result<tempfile::TempDir, Error> {
    let target = tempfile::tempdir().unwrap();
    let root = File::open(target.path()).unwrap();
    Local::new(archive, devices)?.fill(&Context::default(), root.as_fd())?;
    Ok(target)
}

pub(crate) fn hash(path: &Path) -> String {
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

#[test]
fn every_format_that_tar_writes_is_read() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    let long = "n".repeat(45);
    sh(&format!(
        "cd {} && mkdir -p {long}/{long}/{long} && echo y > {long}/{long}/{long}/deep && echo x > {long}/{long}/file && ln {long}/{long}/file {long}/hard && \
         ln -s {long}/{long}/file soft && mkfifo pipe && touch -- $'line\\nbreak' 'bl ank ' 'a\\b' '-rf' && \
         truncate -s 9M sparse && for at in $(seq 0 60); do printf x | dd of=sparse bs=1 seek=$((at * 131072)) \
         conv=notrunc status=none; done && find . -exec touch -h -d @1000000000 {{}} +",
        source.display()
    ));
    for options in [
        "--format=gnu",
        "--format=oldgnu",
        "--format=ustar",
        "--format=posix",
        "--format=gnu --sparse",
        "--format=oldgnu --sparse",
        "--format=posix --sparse",
        "--format=posix --label=name",
        "--format=gnu --label=name",
        "--format=posix --pax-option=comment=c,exthdr.name=%d/%f",
        "--format=gnu --blocking-factor=1",
        "--format=gnu --mtime=@1000000000 --owner=4000000000 --group=0",
    ] {
        let archive = work.path().join("a.tar");
        sh(&format!("cd {} && tar {options} -cf {} .", source.display(), archive.display()));
        let target =
            unpack(&archive, Devices::Refuse).map_err(|error| format!("{options}: {error:?}")).unwrap();
        if !options.contains("owner") {
            assert_eq!(hash(target.path()), hash(&source), "{options}");
        }
    }
    // GNU's first forms of sparse members: read by nobody but tar itself.
    for version in ["0.0", "0.1"] {
        let archive = work.path().join("a.tar");
        sh(&format!(
            "cd {} && tar --format=posix --sparse-version={version} -cf {} .",
            source.display(),
            archive.display()
        ));
        let error = unpack(&archive, Devices::Refuse).unwrap_err();
        assert!(error.full_message().contains("not supported"), "{error:?}");
    }
}

#[test]
fn a_directory_that_holds_the_new_root_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("a/target");
    fs::create_dir_all(&target).unwrap();
    let root = File::open(&target).unwrap();
    let error = Local::new(work.path(), Devices::Refuse)
        .unwrap()
        .fill(&Context::default(), root.as_fd())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}
