//! Two directories, and a copy between them that must be equal.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use keiki_tree::{
    CopyOptions, CopyReport, DescribeOptions, Holes, PackOptions, RemoveOptions, TreeError, UnpackOptions,
    copy_tree, describe_tree, pack_tree, remove_tree, unpack_tree,
};

pub(crate) struct Trees {
    pub(crate) place: tempfile::TempDir,
}

impl Trees {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("source")).unwrap();
        fs::create_dir(place.path().join("target")).unwrap();
        Self { place }
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.place.path().join("source").join(name)
    }

    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.place.path().join("target").join(name)
    }

    pub(crate) fn open(&self, name: &str) -> OwnedFd {
        File::open(self.place.path().join(name)).unwrap().into()
    }

    pub(crate) fn try_copy(&self, options: &CopyOptions<'_>) -> Result<CopyReport, TreeError> {
        copy_tree(self.open("source").as_fd(), self.open("target").as_fd(), options)
    }

    pub(crate) fn copy(&self) -> CopyReport {
        self.try_copy(&CopyOptions::default()).unwrap()
    }

    /// Copies, and fails the test with every difference.
    pub(crate) fn copy_equal(&self) -> CopyReport {
        let report = self.copy();
        let options = DescribeOptions { holes: Holes::Compare, ..DescribeOptions::default() };
        let left = describe_tree(self.open("source").as_fd(), options).unwrap();
        let right = describe_tree(self.open("target").as_fd(), options).unwrap();
        let differences: Vec<_> = left.diff(&right).iter().map(ToString::to_string).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert_eq!(left.hash(), right.hash());
        assert_eq!(report.entries + 1, left.len() as u64);
        self.stream_equal();
        report
    }
}

impl Trees {
    /// Packs the source and unpacks it beside; fails the test with every difference.
    pub(crate) fn stream_equal(&self) {
        fs::create_dir(self.place.path().join("streamed")).unwrap();
        let mut stream = Vec::new();
        let packed = pack_tree(self.open("source").as_fd(), &mut stream, &PackOptions::default()).unwrap();
        let streamed = self.open("streamed");
        let unpacked =
            unpack_tree(streamed.as_fd(), &mut stream.as_slice(), UnpackOptions::default()).unwrap();
        assert_eq!(packed.position, unpacked.position);
        self.same("source", "streamed", Holes::Compare);
        let parent = File::open(self.place.path()).unwrap();
        remove_tree(parent.as_fd(), "streamed".as_ref(), &RemoveOptions::default()).unwrap();
    }

    /// Fails the test with every difference between two trees.
    pub(crate) fn same(&self, left: &str, right: &str, holes: Holes) {
        let options = DescribeOptions { holes, ..DescribeOptions::default() };
        let left = describe_tree(self.open(left).as_fd(), options).unwrap();
        let right = describe_tree(self.open(right).as_fd(), options).unwrap();
        let differences: Vec<_> = left.diff(&right).iter().map(ToString::to_string).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// Returns whether we are root, and says what is skipped when not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}
