//! Two directories, and a copy between them that must be equal.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use keiki_tree::{CopyOptions, CopyReport, DescribeOptions, Holes, TreeError, copy_tree, describe_tree};

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
        report
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
