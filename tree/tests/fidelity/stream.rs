//! Streams of trees: what changed is enough, a cut stream continues, and no stream leads outside.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;

use keiki_tree::{
    Base, CopyOptions, Holes, PackOptions, PackReport, Position, TreeError, UnpackOptions, UnpackReport,
    copy_tree, pack_tree, unpack_tree,
};
use proptest::prelude::*;

use crate::random::{Item, item, make};
use crate::trees::Trees;

impl Trees {
    /// Copies the source to `name`, with everything.
    fn keep(&self, name: &str) {
        fs::create_dir(self.place.path().join(name)).unwrap();
        copy_tree(self.open("source").as_fd(), self.open(name).as_fd(), &CopyOptions::default()).unwrap();
    }

    fn changes(&self, base: &OwnedFd, from: Position) -> (Vec<u8>, PackReport) {
        let mut stream = Vec::new();
        let base = Some(Base { root: base.as_fd(), taken: None });
        let options = PackOptions { base, from, progress: None };
        let report = pack_tree(self.open("source").as_fd(), &mut stream, &options).unwrap();
        (stream, report)
    }

    fn apply(&self, name: &str, mut stream: &[u8], from: Position) -> Result<UnpackReport, TreeError> {
        unpack_tree(self.open(name).as_fd(), &mut stream, UnpackOptions { from, reached: None })
    }

    /// Sends the changes since `base` to `name`, which is equal to it, and compares.
    fn update(&self, base: &str, name: &str) -> PackReport {
        let (stream, report) = self.changes(&self.open(base), Position::default());
        assert_eq!(self.apply(name, &stream, Position::default()).unwrap().position, report.position);
        self.same("source", name, Holes::Ignore);
        report
    }
}

#[test]
fn only_what_changed_is_sent_and_the_result_is_equal() {
    let trees = Trees::new();
    for directory in ["same", "gone/deep", "changed"] {
        fs::create_dir_all(trees.source(directory)).unwrap();
    }
    let big = vec![7_u8; 3 << 20];
    for name in ["same/file", "gone/deep/file", "changed/file", "changed/touched", "becomes-directory"] {
        fs::write(trees.source(name), &big).unwrap();
    }
    symlink("old", trees.source("link")).unwrap();
    trees.keep("base");
    trees.keep("there");
    fs::remove_dir_all(trees.source("gone")).unwrap();
    let file = File::options().write(true).open(trees.source("changed/file")).unwrap();
    file.write_all_at(b"patched", 1 << 20).unwrap();
    xattr::set(trees.source("changed/touched"), "user.new", b"1").unwrap();
    fs::remove_file(trees.source("becomes-directory")).unwrap();
    fs::create_dir(trees.source("becomes-directory")).unwrap();
    fs::write(trees.source("becomes-directory/x"), "x").unwrap();
    fs::remove_file(trees.source("link")).unwrap();
    symlink("new", trees.source("link")).unwrap();
    let report = trees.update("base", "there");
    assert!(report.bytes <= 200 << 10, "{report:?}");
    let (stream, _) = trees.changes(&trees.open("there"), Position::default());
    assert!(stream.len() < 200, "nothing changed, yet {} bytes", stream.len());
}

#[test]
fn hard_links_that_part_and_meet_come_out_as_they_are() {
    let trees = Trees::new();
    for (file, link) in [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")] {
        fs::write(trees.source(file), file).unwrap();
        fs::hard_link(trees.source(file), trees.source(link)).unwrap();
    }
    trees.keep("base");
    trees.keep("there");
    let relink = |from: &str, to: &str| {
        fs::remove_file(trees.source(to)).unwrap();
        fs::hard_link(trees.source(from), trees.source(to)).unwrap();
    };
    // {a,b},{c,d} become {a,c},{b,d}; e and f part; h goes and i comes to g.
    let second = fs::read(trees.source("d")).unwrap();
    fs::remove_file(trees.source("b")).unwrap();
    fs::write(trees.source("b"), second).unwrap();
    relink("a", "c");
    relink("b", "d");
    fs::remove_file(trees.source("f")).unwrap();
    fs::write(trees.source("f"), "parted").unwrap();
    fs::remove_file(trees.source("h")).unwrap();
    fs::hard_link(trees.source("g"), trees.source("i")).unwrap();
    trees.update("base", "there");
}

#[test]
fn a_hole_that_was_punched_and_a_file_that_was_cut_arrive() {
    let trees = Trees::new();
    fs::write(trees.source("file"), vec![1_u8; 1 << 20]).unwrap();
    fs::write(trees.source("cut"), vec![1_u8; 1 << 20]).unwrap();
    trees.keep("base");
    trees.keep("there");
    let file = File::options().write(true).open(trees.source("file")).unwrap();
    let how = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    if rustix::fs::fallocate(&file, how, 1 << 18, 1 << 19).is_err() {
        println!("skipped: needs a file system with holes");
        return;
    }
    File::options().write(true).open(trees.source("cut")).unwrap().set_len(1000).unwrap();
    assert_eq!(trees.update("base", "there").bytes, 0);
    trees.same("source", "there", Holes::Compare);
}

/// Hands out so many bytes and then ends.
fn cut(stream: &[u8], length: usize) -> &[u8] {
    &stream[..length.min(stream.len())]
}

/// Unpacks a stream that is cut behind so many bytes, and continues it.
fn continue_behind(trees: &Trees, stream: &[u8], name: &str, base: Option<&OwnedFd>, length: usize) -> usize {
    let mut stopped = Position::default();
    let mut note = |position: Position, _: keiki_tree::Progress| -> io::Result<()> {
        stopped = position;
        Ok(())
    };
    let options = UnpackOptions { from: Position::default(), reached: Some(&mut note) };
    let error = unpack_tree(trees.open(name).as_fd(), &mut cut(stream, length), options).unwrap_err();
    assert_eq!(error.io_kind(), io::ErrorKind::UnexpectedEof, "{error}");
    let mut rest = Vec::new();
    let base = base.map(|root| Base { root: root.as_fd(), taken: None });
    let options = PackOptions { base, from: stopped, progress: None };
    let report = pack_tree(trees.open("source").as_fd(), &mut rest, &options).unwrap();
    assert_eq!(trees.apply(name, &rest, stopped).unwrap().position, report.position);
    trees.same("source", name, Holes::Ignore);
    rest.len()
}

#[test]
fn a_stream_cut_anywhere_continues_where_it_stopped() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source("a/b/c")).unwrap();
    fs::write(trees.source("a/b/c/file"), vec![3_u8; 600_000]).unwrap();
    fs::hard_link(trees.source("a/b/c/file"), trees.source("z")).unwrap();
    fs::write(trees.source("a/after"), "x").unwrap();
    fs::create_dir(trees.place.path().join("base")).unwrap();
    let empty = trees.open("base");
    let mut stream = Vec::new();
    pack_tree(trees.open("source").as_fd(), &mut stream, &PackOptions::default()).unwrap();
    for length in (0..stream.len()).step_by(9_001).chain(stream.len() - 60..stream.len()) {
        fs::create_dir(trees.place.path().join("there")).unwrap();
        let rest = continue_behind(&trees, &stream, "there", None, length);
        assert!(rest < stream.len() - length + 140_000, "{rest} bytes again after {length}");
        fs::remove_dir_all(trees.place.path().join("there")).unwrap();
    }
    drop(empty);
}

#[test]
fn a_tree_that_changed_since_is_not_continued() {
    let trees = Trees::new();
    fs::write(trees.source("a"), "1").unwrap();
    fs::write(trees.source("b"), "2").unwrap();
    let options = PackOptions { from: Position { records: 2, chain: [1; 32] }, ..PackOptions::default() };
    let error = pack_tree(trees.open("source").as_fd(), &mut io::sink(), &options).unwrap_err();
    assert!(matches!(error, TreeError::NotTheSame), "{error}");
}

#[test]
fn a_link_in_the_way_is_never_followed() {
    let trees = Trees::new();
    fs::create_dir(trees.source("directory")).unwrap();
    fs::write(trees.source("directory/file"), "theirs").unwrap();
    fs::write(trees.source("file"), "theirs").unwrap();
    let outside = trees.place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "ours").unwrap();
    symlink(&outside, trees.target("directory")).unwrap();
    symlink(outside.join("file"), trees.target("file")).unwrap();
    let mut stream = Vec::new();
    pack_tree(trees.open("source").as_fd(), &mut stream, &PackOptions::default()).unwrap();
    trees.apply("target", &stream, Position::default()).unwrap();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "ours");
    trees.same("source", "target", Holes::Ignore);
}

#[test]
fn a_tree_deeper_than_the_open_directories_is_sent_and_updated() {
    let trees = Trees::new();
    let mut path: PathBuf = trees.source("");
    for _ in 0..200 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("deep"), "x").unwrap();
    fs::write(trees.source("d/d/shallow"), "x").unwrap();
    trees.stream_equal();
    trees.keep("base");
    trees.keep("there");
    File::options().append(true).open(path.join("deep")).unwrap().write_all(b"y").unwrap();
    fs::remove_file(trees.source("d/d/shallow")).unwrap();
    trees.update("base", "there");
}

#[test]
fn an_unchanged_file_keeps_its_inode_and_access_time_is_sent_with_new_ones() {
    let trees = Trees::new();
    fs::write(trees.source("kept"), "x").unwrap();
    trees.keep("base");
    trees.keep("there");
    let inode = fs::metadata(trees.place.path().join("there/kept")).unwrap().ino();
    fs::write(trees.source("new"), "y").unwrap();
    trees.update("base", "there");
    assert_eq!(fs::metadata(trees.place.path().join("there/kept")).unwrap().ino(), inode);
    let atime = |name: &str| fs::metadata(trees.place.path().join(name)).unwrap().atime_nsec();
    assert_eq!(atime("source/new"), atime("there/new"));
}

fn grow(trees: &Trees, items: &[Item]) {
    let mut directories = vec![trees.source("")];
    let mut files = Vec::new();
    for item in items {
        // A name that is taken is no failure of ours.
        drop(make(item, &mut directories, &mut files));
    }
}

/// Removes, cuts and writes entries of the source by number.
fn disturb(trees: &Trees, choices: &[(usize, u8)]) {
    for (at, what) in choices {
        let mut entries: Vec<_> =
            fs::read_dir(trees.source("")).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        let Some(path) = entries.get(at % entries.len().max(1)) else { continue };
        let is_file = path.symlink_metadata().unwrap().is_file();
        match what % 3 {
            0 if path.symlink_metadata().unwrap().is_dir() => fs::remove_dir_all(path).unwrap(),
            0 => fs::remove_file(path).unwrap(),
            1 if is_file => {
                File::options().write(true).open(path).unwrap().write_all_at(b"changed", 5000).unwrap()
            }
            _ if is_file => drop(fs::hard_link(path, trees.source(&format!("again{at}")))),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_changes_of_any_tree_make_the_old_one_the_new_one(
        before in proptest::collection::vec(item(), 0..60),
        choices in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..20),
        after in proptest::collection::vec(item(), 0..60),
    ) {
        let trees = Trees::new();
        grow(&trees, &before);
        trees.keep("base");
        trees.keep("there");
        trees.keep("cut");
        disturb(&trees, &choices);
        grow(&trees, &after);
        trees.update("base", "there");
        let base = trees.open("base");
        let (stream, _) = trees.changes(&base, Position::default());
        continue_behind(&trees, &stream, "cut", Some(&base), stream.len() / 2);
    }

    #[test]
    fn a_stream_with_a_changed_byte_stays_inside_and_never_panics(at in any::<usize>(), byte in any::<u8>()) {
        let trees = Trees::new();
        fs::create_dir_all(trees.source("a/b")).unwrap();
        fs::write(trees.source("a/b/file"), "content").unwrap();
        fs::hard_link(trees.source("a/b/file"), trees.source("link")).unwrap();
        symlink("../../outside", trees.source("a/symlink")).unwrap();
        let mut stream = Vec::new();
        pack_tree(trees.open("source").as_fd(), &mut stream, &PackOptions::default()).unwrap();
        let at = at % stream.len();
        stream[at] = byte;
        let _any = trees.apply("target", &stream, Position::default());
        let names: Vec<_> = fs::read_dir(trees.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(names.len(), 2);
    }
}
