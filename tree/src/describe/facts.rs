//! What is compared about one entry.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Difference;
use crate::entries::Meta;
use crate::xattrs::Xattr;

/// Everything about one entry that a copy must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    kind: FileType,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, u32),
    size: Option<u64>,
    device: (u32, u32),
    xattrs: Vec<Xattr>,
    link_group: Option<PathBuf>,
    pub(super) link_text: Option<Vec<u8>>,
    pub(super) content: Option<[u8; 32]>,
    pub(super) data: Option<Vec<(u64, u64)>>,
}

impl Facts {
    pub(super) fn new(meta: &Meta, xattrs: Vec<Xattr>) -> Self {
        // The size of a directory is its file system's business; that of a link is its text's.
        let size = meta.kind().is_file().then(|| meta.size());
        Self {
            kind: meta.kind(),
            mode: meta.mode().as_raw_mode(),
            owner: meta.owner(),
            modified: meta.modified(),
            size,
            device: meta.device(),
            xattrs,
            link_group: None,
            link_text: None,
            content: None,
            data: None,
        }
    }

    pub(super) fn set_link_group(&mut self, first: Option<PathBuf>) {
        self.link_group = first;
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symbolic link",
            FileType::Fifo => "pipe",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            FileType::Unknown => "unknown",
        }
    }

    /// Returns the facts by name, always in the same order; absent ones are left out.
    pub(super) fn list(&self) -> Vec<(&'static str, String)> {
        let mut list = vec![
            ("type", self.kind().to_owned()),
            ("mode", format!("{:04o}", self.mode)),
            ("owner", format!("{}:{}", self.owner.0, self.owner.1)),
            ("mtime", format!("{}.{:09}", self.modified.0, self.modified.1)),
        ];
        if self.device != (0, 0) {
            list.push(("device", format!("{}:{}", self.device.0, self.device.1)));
        }
        if !self.xattrs.is_empty() {
            let xattrs: Vec<_> = self.xattrs.iter().map(print_xattr).collect();
            list.push(("xattrs", xattrs.join(" ")));
        }
        let optional = [
            ("size", self.size.map(|size| size.to_string())),
            ("link", self.link_text.as_ref().map(|text| text.escape_ascii().to_string())),
            (
                "linked to",
                self.link_group
                    .as_ref()
                    .map(|path| format!("{}", path.as_os_str().as_encoded_bytes().escape_ascii())),
            ),
            ("content", self.content.map(print_digest)),
            ("data", self.data.as_ref().map(|data| format!("{data:?}"))),
        ];
        list.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        list
    }

    /// Returns every fact in which `other` differs.
    pub(super) fn differences(&self, path: &Path, other: &Self) -> Vec<Difference> {
        let (left, right) = (self.list(), other.list());
        let mut names: Vec<_> = left.iter().chain(&right).map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let value = |list: &[(&'static str, String)], name| {
            list.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        names
            .into_iter()
            .map(|fact| Difference {
                path: path.to_owned(),
                fact,
                left: value(&left, fact),
                right: value(&right, fact),
            })
            .filter(|difference| difference.left != difference.right)
            .collect()
    }
}

fn print_xattr((name, value): &Xattr) -> String {
    format!("{}={}", name.to_bytes().escape_ascii(), value.escape_ascii())
}

fn print_digest(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
