//! Hostile archives made by hand: each is refused, and nothing was written.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::engine::Fill;
use keiki_core::{Error, ErrorKind};
use keiki_images::{Devices, Local};

use crate::forge::{archive, global, header, long, padded, pax, record, separated};

/// Tries an archive; returns the error, if any, and the names that came out.
fn attempt(bytes: &[u8], devices: Devices) -> (Option<Error>, Vec<String>) {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("evil.tar");
    fs::write(&path, bytes).unwrap();
    let target = tempfile::tempdir().unwrap();
    let root = File::open(target.path()).unwrap();
    let error = Local::new(&path, devices).unwrap().fill(&Context::default(), root.as_fd()).err();
    let entries = fs::read_dir(target.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    (error, names)
}

fn assert_refused(cases: Vec<(&str, Vec<Vec<u8>>)>) {
    for (at, (reason, blocks)) in cases.into_iter().enumerate() {
        // A first member, so that every one of them is told from "not an archive".
        let (error, names) =
            attempt(&archive(&[vec![header(b"first", b'0').done()], blocks].concat()), Devices::Refuse);
        let error = error.unwrap_or_else(|| panic!("{at}: {reason}: it was unpacked: {names:?}"));
        assert!(error.full_message().contains(reason), "{at}: {reason}: {error:?}");
        assert_eq!(names, [""; 0], "{at}: {reason}");
    }
}

fn device() -> Vec<u8> {
    header(b"EVIL", b'3').device().done()
}

#[test]
fn what_leads_out_of_the_tree_is_refused() {
    let escape = || header(b"etc", b'2').link(b"/etc").done();
    assert_refused(vec![
        ("absolute", vec![header(b"/tmp/evil", b'0').done()]),
        ("contains `..`", vec![header(b"a/../../evil", b'0').done()]),
        ("hard link to", vec![header(b"x", b'1').link(b"/etc/shadow").done()]),
        ("hard link to", vec![header(b"x", b'1').link(b"../../etc/shadow").done()]),
        ("through the symbolic link", vec![escape(), header(b"etc/passwd", b'0').done()]),
        ("through the symbolic link", vec![escape(), header(b".//etc/./x/passwd", b'5').done()]),
        ("hard link through", vec![escape(), header(b"x", b'1').link(b"etc/shadow").done()]),
        ("link out of the tree", vec![header(b"a/x", b'2').link(b"../../etc").done()]),
        ("nothing that there could be", vec![header(b"a", b'2').done()]),
        // A hard link to a symbolic link is one.
        (
            "through the symbolic link",
            vec![escape(), header(b"m", b'1').link(b"./etc").done(), header(b"m/passwd", b'0').done()],
        ),
        ("device node", vec![device()]),
        ("unknown kind", vec![header(b"x", b'M').done()]),
        ("unknown kind", vec![header(b"x", b'D').done()]),
        ("longer than a path", vec![long(b'L', &[b'a'; 5000]), header(b"x", b'0').done()]),
        ("absolute", vec![header(b"evil", b'0').at(345, b"/tmp").done()]),
        ("absolute", vec![pax(&record("path", "/evil")), header(b"harmless", b'0').done()]),
        ("contains `..`", vec![long(b'L', b"../evil"), header(b"x", b'0').done()]),
        ("hard link to", vec![long(b'K', b"../evil"), header(b"x", b'1').link(b"fine").done()]),
        ("hard link to", vec![pax(&record("linkpath", "../evil")), header(b"x", b'1').link(b"fine").done()]),
    ]);
}

/// GNU tar 1.34 was seen to unpack `EVIL` out of each of these, while a reader that is a little more naive sees another name or no
/// member there.
#[test]
fn what_two_readers_would_read_differently_is_refused() {
    let sparse = [record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0")].concat();
    let evil = || header(b"EVIL", b'0').done();
    let fine = || header(b"fine", b'0').done();
    let region = |length: &str| format!("00000000000\0{length}\0");
    assert_refused(vec![
        // Is this content, or a member?
        ("has content", vec![header(b"d/", b'0').size(512).done(), device()]),
        ("has content", vec![pax(&record("size", "512")), header(b"d", b'5').done(), device()]),
        (
            "has content",
            vec![pax(&record("size", "512")), header(b"d", b'2').link(b"first").done(), device()],
        ),
        (
            "has content",
            vec![pax(&record("size", "512")), header(b"d", b'1').link(b"first").done(), device()],
        ),
        ("has content", vec![pax(&record("size", "512")), header(b"d", b'6').done(), device()]),
        ("device node", vec![header(b"d", b'5').size(512).done(), device()]),
        ("device node", vec![header(b"d", b'2').link(b"first").size(512).done(), device()]),
        ("device node", vec![header(b"d", b'1').link(b"first").size(512).done(), device()]),
        ("no number", vec![pax(&record("size", "+512")), fine(), device()]),
        ("no number", vec![header(b"a", b'0').at(124, b"+0000001000\0").done(), padded(b"c")]),
        ("no number", vec![header(b"a", b'0').at(124, b"\x0000000001000").done(), device()]),
        // Which name counts?
        (
            "contains `..`",
            vec![
                pax(&[record("GNU.sparse.name", "../EVIL"), record("path", "fine"), sparse.clone()].concat()),
                fine(),
            ],
        ),
        ("two extension headers", vec![pax(&record("path", "EVIL")), long(b'L', b"fine"), fine()]),
        ("two extension headers", vec![long(b'L', b"fine"), pax(&record("path", "EVIL")), fine()]),
        ("two extension headers", vec![long(b'L', b"fine"), long(b'L', b"EVIL"), fine()]),
        ("two extension headers", vec![long(b'K', b"fine"), long(b'K', b"EVIL"), fine()]),
        ("two extension headers", vec![pax(&record("path", "fine")), pax(&record("comment", "c")), evil()]),
        ("two extension headers", vec![pax(&record("path", "fine")), header(b"label", b'V').done(), evil()]),
        ("for all members", vec![global(&record("path", "fine")), global(&record("comment", "c")), evil()]),
        ("for all members", vec![global(&record("size", "512")), fine(), device()]),
        ("damaged", vec![pax(&separated(" ", " path", "EVIL")), fine()]),
        ("damaged", vec![pax(&separated(" ", "\tpath", "EVIL")), fine()]),
        ("damaged", vec![pax(&separated("\t", "path", "EVIL")), fine()]),
        ("damaged", vec![pax(&record("path\0x", "EVIL")), fine()]),
        ("zero byte", vec![pax(&record("path", "EVIL\0x")), fine()]),
        ("zero byte", vec![pax(&record("linkpath", "..\0x")), header(b"l", b'2').link(b"q").done()]),
        ("damaged", vec![pax("999 path=x\n"), fine()]),
        // Where does a sparse file end?
        ("damaged", vec![header(b"s", b'S').at(482, b"\x01").done(), device()]),
        (
            "damaged",
            vec![
                header(b"s", b'S').gnu().at(482, b"\x01").at(386, region("00000000000").as_bytes()).done(),
                device(),
            ],
        ),
        (
            "does not fit",
            vec![
                header(b"s", b'S').gnu().size(512).at(386, region("00000002000").as_bytes()).done(),
                padded(b"content"),
                header(b"f", b'0').with(&[device(), padded(b"x")].concat()),
            ],
        ),
        (
            "does not fit",
            vec![
                pax(&sparse),
                header(b"s", b'0').with(&[padded(b"1\n0\n1024\n"), b"c".to_vec()].concat()),
                header(b"f", b'0').with(&[device(), padded(b"x")].concat()),
            ],
        ),
        ("not supported", vec![pax(&record("GNU.sparse.realsize", "99999")), fine(), device()]),
        ("not supported", vec![pax(&record("GNU.sparse.map", "0,512")), fine(), device()]),
        ("not supported", vec![pax(&record("GNU.dumpdir", "Dx")), fine()]),
        // Where does the archive end?
        ("follows the end", vec![vec![0; 512], evil()]),
        ("follows the end", vec![vec![0; 1024], evil()]),
    ]);
}

#[test]
fn damage_is_told_and_never_panics() {
    let cut = header(b"x", b'0').size(5000).done();
    for (reason, bytes) in [
        ("cut off", [header(b"first", b'0').done(), cut, padded(b"short")].concat()),
        ("cut off", header(b"first", b'0').done()),
        ("cut off", header(b"first", b'0').with(&[1; 512])),
        ("empty", archive(&[header(b"label", b'V').done()])),
        ("checksum", archive(&[header(b"first", b'0').done(), vec![7; 512]])),
        ("larger than a megabyte", archive(&[header(b"pax", b'x').size(2 << 20).done()])),
        (
            "room",
            archive(&[header(b"a", b'0').at(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").done()]),
        ),
        ("not an archive", vec![0x80; 4096]),
        ("not an archive", Vec::new()),
        ("not an archive", vec![0; 10240]),
    ] {
        let (error, names) = attempt(&bytes, Devices::Refuse);
        let error = error.unwrap_or_else(|| panic!("{reason}: it was unpacked"));
        assert!(error.full_message().contains(reason), "{reason}: {error:?}");
        assert_eq!(names, [""; 0], "{reason}");
    }
}

#[test]
fn an_archive_that_holds_more_than_there_is_room_for_is_refused_before_it_is_read_to_its_end() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("bomb.tar.zst");
    // 8 EiB less a little, of which not a byte is there.
    let huge = header(b"bomb", b'0').at(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xf0\0").done();
    fs::write(&path, archive(&[huge])).unwrap();
    let target = tempfile::tempdir().unwrap();
    let root = File::open(target.path()).unwrap();
    let error =
        Local::new(&path, Devices::Refuse).unwrap().fill(&Context::default(), root.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
}

#[test]
fn device_nodes_with_odd_names_are_left_out_and_nothing_else() {
    let parts = |name: &[u8]| {
        archive(&[
            header(b"a", b'0').done(),
            header(b"b", b'0').done(),
            header(name, b'3').device().done(),
            header(b"bc", b'0').done(),
        ])
    };
    for name in [&b"x "[..], b"c\na", b"*", b"[a-z]", b"-x", b"a\\", b"./d", b".//d/"] {
        let (error, names) = attempt(&parts(name), Devices::Skip);
        assert!(error.is_none(), "{}: {error:?}", name.escape_ascii());
        assert_eq!(names, ["a", "b", "bc"], "{}", name.escape_ascii());
    }
    // The file would be left out as well: nobody decides which of the two was meant.
    for name in [&b"b"[..], b"./bc"] {
        let (error, _) = attempt(&parts(name), Devices::Skip);
        assert!(error.is_some(), "{}", name.escape_ascii());
    }
}

#[test]
fn what_can_be_read_only_once_is_refused_at_once() {
    let target = tempfile::tempdir().unwrap();
    let root = File::open(target.path()).unwrap();
    let pipe = target.path().join("pipe");
    crate::archives::sh(&format!("mkfifo {}", pipe.display()));
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let error =
            Local::new(path, Devices::Refuse).unwrap().fill(&Context::default(), root.as_fd()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
