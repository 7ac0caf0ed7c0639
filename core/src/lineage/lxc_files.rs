//! The two files in which LXC keeps lineage, so that its tools and ours agree. Pure: bytes in, bytes out.
//!
//! ```text
//! <lxcpath>/<parent>/lxc_snapshots   who depends on it: two lines each, lxcpath and name; LXC refuses to destroy the
//!                                    parent while the file is not empty. The old form is one integer, a count
//! <lxcpath>/<clone>/lxc_rdepends     whom it depends on, the same pairs, eldest first
//! ```
//!
//! LXC removes an entry by searching the text for `path\nname\n`, which also finds the tail of a longer path. Here an
//! entry is a pair, compared whole. Files come from other hands: whatever could not have been written by LXC is
//! reported with its line, and never read as "no dependents".

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::engine::ContainerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::name::ContainerName;

/// The file in a parent's home.
pub const SNAPSHOTS_FILE: &str = "lxc_snapshots";

/// The file in a clone's home.
pub const RDEPENDS_FILE: &str = "lxc_rdepends";

/// The longest file that is read: room for 100,000 clones, none for a file that wants our memory.
const SIZE_MAX: usize = 16 << 20;

/// What `lxc_snapshots` says: who depends on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LxcSnapshots {
    /// These, in the order of the file.
    Pairs(Vec<ContainerKey>),
    /// So many, which nobody knows by name any more: the form of old versions.
    Count(u32),
}

impl Default for LxcSnapshots {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

impl LxcSnapshots {
    /// Reads the file's content; a file that is not there reads as the empty one.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the line, for anything but pairs or one count.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let text = content.trim_ascii();
        if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
            let count = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            return count
                .map(Self::Count)
                .ok_or_else(|| corrupt(SNAPSHOTS_FILE, 1, "the count is too large"));
        }
        parse_pairs(SNAPSHOTS_FILE, content).map(Self::Pairs)
    }

    /// Returns the file's content.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        match self {
            Self::Pairs(keys) => render_pairs(keys),
            Self::Count(0) => Vec::new(),
            Self::Count(count) => format!("{count}\n").into_bytes(),
        }
    }

    /// Returns whether nobody depends on the container: the file need not exist.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Pairs(keys) => keys.is_empty(),
            Self::Count(count) => *count == 0,
        }
    }

    /// Returns whether a dependent is named.
    #[must_use]
    pub fn names(&self, key: &ContainerKey) -> bool {
        matches!(self, Self::Pairs(keys) if keys.contains(key))
    }

    /// Adds a dependent.
    ///
    /// # Behavior
    /// One that is there already is not added again. A count counts it; who the others are stays unknown.
    pub fn insert(&mut self, key: &ContainerKey) {
        match self {
            Self::Pairs(keys) if keys.contains(key) => {}
            Self::Pairs(keys) => keys.push(key.clone()),
            Self::Count(0) => *self = Self::Pairs(vec![key.clone()]),
            Self::Count(count) => *count = count.saturating_add(1),
        }
    }

    /// Removes a dependent, and no other whose path merely ends alike.
    pub fn remove(&mut self, key: &ContainerKey) {
        match self {
            Self::Pairs(keys) => keys.retain(|other| other != key),
            Self::Count(count) => *count = count.saturating_sub(1),
        }
    }
}

/// Reads `lxc_rdepends`: whom a clone depends on, eldest first.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the line, for anything but pairs.
pub fn parse_rdepends(content: &[u8]) -> Result<Vec<ContainerKey>> {
    parse_pairs(RDEPENDS_FILE, content)
}

/// Returns the content of `lxc_rdepends`.
#[must_use]
pub fn render_rdepends(keys: &[ContainerKey]) -> Vec<u8> {
    render_pairs(keys)
}

fn render_pairs(keys: &[ContainerKey]) -> Vec<u8> {
    let mut content = Vec::new();
    for key in keys {
        for field in [key.lxcpath.as_os_str().as_bytes(), key.name.as_str().as_bytes()] {
            content.extend_from_slice(field);
            content.push(b'\n');
        }
    }
    content
}

fn parse_pairs(file: &'static str, content: &[u8]) -> Result<Vec<ContainerKey>> {
    if content.len() > SIZE_MAX {
        return Err(corrupt(file, 1, "the file is longer than any that LXC writes"));
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    let mut lines = content.split(|byte| *byte == b'\n').enumerate();
    while let Some((line, path)) = lines.next() {
        let lxcpath =
            parse_path(path).ok_or_else(|| corrupt(file, line + 1, "it is not an absolute path"))?;
        let name = lines.next().ok_or_else(|| corrupt(file, line + 2, "the name is missing"))?.1;
        let name = parse_name(name).ok_or_else(|| corrupt(file, line + 2, "it is not a container's name"))?;
        let key = ContainerKey { lxcpath, name };
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Returns the path without repeated or trailing slashes; `None` for one that could mean another place tomorrow.
fn parse_path(line: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(line));
    let is_plain = path.is_absolute()
        && !line.iter().any(u8::is_ascii_control)
        && !path.components().any(|component| component == Component::ParentDir);
    is_plain.then(|| path.components().collect())
}

fn parse_name(line: &[u8]) -> Option<ContainerName> {
    ContainerName::existing(std::str::from_utf8(line).ok()?).ok()
}

fn corrupt(file: &str, line: usize, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("cannot read `{file}`, line {line}: {why}")).with_hint(format!(
        "`{file}` holds two lines a container: its lxcpath and its name; correct it by hand"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lxcpath: &str, name: &str) -> ContainerKey {
        ContainerKey { lxcpath: lxcpath.into(), name: ContainerName::existing(name).unwrap() }
    }

    #[test]
    fn files_as_lxc_writes_them_are_read_and_written_the_same() {
        let rows: [(&str, Vec<ContainerKey>); 4] = [
            ("", vec![]),
            ("/var/lib/lxc\nc1\n", vec![key("/var/lib/lxc", "c1")]),
            (
                "/var/lib/lxc\nc1\n/srv/l x c\nc 2\n",
                vec![key("/var/lib/lxc", "c1"), key("/srv/l x c", "c 2")],
            ),
            ("/a\n-x\n/a\nä\n", vec![key("/a", "-x"), key("/a", "ä")]),
        ];
        for (text, keys) in rows {
            assert_eq!(parse_rdepends(text.as_bytes()).unwrap(), keys, "{text:?}");
            assert_eq!(render_rdepends(&keys), text.as_bytes());
            let snapshots = LxcSnapshots::parse(text.as_bytes()).unwrap();
            assert_eq!(snapshots.render(), text.as_bytes());
            assert_eq!(snapshots.is_empty(), keys.is_empty());
        }
    }

    #[test]
    fn small_liberties_of_other_hands_are_read() {
        for text in ["/a\nx", "/a/\nx\n", "//a\nx\n", "/a\nx\n/a\nx\n", "/a/.\nx\n"] {
            assert_eq!(parse_rdepends(text.as_bytes()).unwrap(), [key("/a", "x")], "{text:?}");
        }
    }

    #[test]
    fn what_lxc_could_not_have_written_is_reported_with_its_line() {
        let rows: [(&[u8], &str); 11] = [
            (b"x\ny\n", "line 1"),
            (b"/a\n", "line 2"),
            (b"/a\nx\n/b\n", "line 4"),
            (b"/a\nx/y\n", "line 2"),
            (b"/a\n..\n", "line 2"),
            (b"/a\n\n", "line 2"),
            (b"/a/../b\nx\n", "line 1"),
            (b"/a\0b\nx\n", "line 1"),
            (b"/a\r\nx\r\n", "line 1"),
            (b"\n\n", "line 1"),
            (b"/a\n\xff\n", "line 2"),
        ];
        for (content, line) in rows {
            let error = LxcSnapshots::parse(content).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{content:?}");
            assert!(error.message().contains(line), "{content:?}: {error}");
        }
        let endless = vec![b'/'; SIZE_MAX + 1];
        assert_eq!(parse_rdepends(&endless).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(LxcSnapshots::parse(b"99999999999999").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_old_count_is_honoured_and_kept() {
        let mut counted = LxcSnapshots::parse(b"2\n").unwrap();
        assert_eq!(counted, LxcSnapshots::Count(2));
        assert!(!counted.is_empty());
        counted.insert(&key("/a", "x"));
        assert_eq!(counted.render(), b"3\n");
        for _ in 0..4 {
            counted.remove(&key("/a", "x"));
        }
        assert!(counted.is_empty());
        assert_eq!(counted.render(), b"");
        assert!(LxcSnapshots::parse(b"0").unwrap().is_empty());
        assert_eq!(parse_rdepends(b"2\n").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn removing_an_entry_leaves_one_whose_path_ends_alike() {
        let mut snapshots = LxcSnapshots::parse(b"/srv/lxc\nc1\n/lxc\nc1\n/lxc\nc12\n").unwrap();
        snapshots.remove(&key("/lxc", "c1"));
        assert_eq!(snapshots.render(), b"/srv/lxc\nc1\n/lxc\nc12\n");
        snapshots.insert(&key("/lxc", "c1"));
        snapshots.insert(&key("/lxc", "c1"));
        assert_eq!(snapshots.render(), b"/srv/lxc\nc1\n/lxc\nc12\n/lxc\nc1\n");
    }
}
