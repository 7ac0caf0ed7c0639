//! Random trees: whatever is in them, a copy is equal, and removing leaves nothing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use keiki_tree::{RemoveOptions, remove_tree};
use proptest::prelude::*;

use crate::trees::Trees;

/// One entry to make in a directory that was made before, chosen by number.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    directory: usize,
    name: OsString,
    what: What,
    mode: u32,
    xattr: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    /// Stretches of data: offset and length in units of 1,000 bytes, and the byte.
    File(Vec<(u64, usize, u8)>),
    Symlink(OsString),
    /// To a file made before, chosen by number.
    Link(usize),
}

fn name() -> impl Strategy<Value = OsString> {
    let byte = prop_oneof![Just(b'a'), any::<u8>()].prop_filter("no separator", |b| *b != b'/' && *b != 0);
    proptest::collection::vec(byte, 1..40)
        .prop_filter("no special name", |name| name != b"." && name != b"..")
        .prop_map(OsString::from_vec)
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => Just(What::Directory),
        4 => proptest::collection::vec((0_u64..300, 0_usize..20, any::<u8>()), 0..4).prop_map(What::File),
        1 => name().prop_map(What::Symlink),
        1 => any::<usize>().prop_map(What::Link),
    ]
}

pub(crate) fn item() -> impl Strategy<Value = Item> {
    let xattr = proptest::option::weighted(0.2, proptest::collection::vec(any::<u8>(), 0..100));
    (any::<usize>(), name(), what(), 0_u32..0o10000, xattr)
        .prop_map(|(directory, name, what, mode, xattr)| Item { directory, name, what, mode, xattr })
}

/// Makes an entry; one that cannot be made (its name is taken) is passed over.
pub(crate) fn make(
    item: &Item,
    directories: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let path = directories[item.directory % directories.len()].join(&item.name);
    match &item.what {
        What::Directory => {
            fs::create_dir(&path)?;
            directories.push(path.clone());
        }
        What::File(stretches) => {
            let file = fs::File::create_new(&path)?;
            for (offset, length, byte) in stretches {
                file.write_all_at(&vec![*byte; length * 1000], offset * 1000)?;
            }
            files.push(path.clone());
        }
        What::Symlink(text) => return symlink(text, &path),
        What::Link(_) if files.is_empty() => return Ok(()),
        What::Link(file) => return fs::hard_link(&files[file % files.len()], &path),
    }
    if let Some(value) = &item.xattr {
        xattr::set(&path, "user.random", value)?;
    }
    set_mode(&path, item.mode)
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    // Only root can go on working below a directory that is closed to its owner.
    let root = rustix::process::geteuid().is_root();
    fs::set_permissions(path, fs::Permissions::from_mode(if root { mode } else { mode | 0o700 }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_of_any_tree_is_equal_to_it_and_removing_it_leaves_nothing(
        items in proptest::collection::vec(item(), 0..120),
    ) {
        let trees = Trees::new();
        let mut directories = vec![trees.source("")];
        let mut files = Vec::new();
        for item in &items {
            // A name that is taken is no failure of ours.
            drop(make(item, &mut directories, &mut files));
        }
        trees.copy_equal();
        let place = fs::File::open(trees.place.path()).unwrap();
        for name in ["source", "target"] {
            remove_tree(place.as_fd(), OsStr::new(name), &RemoveOptions::default()).unwrap();
            prop_assert!(!trees.place.path().join(name).exists());
        }
    }
}
