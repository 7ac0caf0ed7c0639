//! `/proc/<pid>/mountinfo`, parsed; pure, by the table in proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's id, unique while it exists.
    pub id: u64,
    /// The id of the mount it hangs on.
    pub parent: u64,
    /// Major and minor number of the file system.
    pub device: (u32, u32),
    /// The directory of that file system which is shown.
    pub root: PathBuf,
    /// Where it is mounted, relative to the reader's root.
    pub point: PathBuf,
    /// Options of the mount.
    pub options: String,
    /// Propagation: `shared:1`, `master:2`, …
    pub optional: Vec<String>,
    /// The type of the file system.
    pub fstype: String,
    /// The device or another word.
    pub source: OsString,
    /// Options of the file system, as the kernel prints them; still escaped.
    pub super_options: String,
}

/// Reads a whole table; lines that are not understood are left out, because the kernel may add some.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Reads one line: `36 35 98:0 /root /point rw shared:1 - ext4 /dev/sda rw,errors=continue`.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = device(fields.next()?)?;
    let root = PathBuf::from(unescape(fields.next()?));
    let point = PathBuf::from(unescape(fields.next()?));
    let options = text(fields.next()?);
    let optional = fields.by_ref().take_while(|field| *field != b"-").map(text).collect();
    let fstype = text(fields.next()?);
    let source = unescape(fields.next()?);
    let super_options = fields.next().map(text).unwrap_or_default();
    Some(MountEntry { id, parent, device, root, point, options, optional, fstype, source, super_options })
}

impl MountEntry {
    /// Returns whether the mount is at `path`, shows something below it, or stacks a layer of it.
    ///
    /// Overlay prints `:` and `,` in layers with backslashes, so layers are compared by their printed form.
    #[must_use]
    pub fn uses(&self, path: &Path) -> bool {
        self.point.starts_with(path)
            || (self.fstype == "overlay" && self.layers().any(|at| at.starts_with(path)))
    }

    /// Returns the directories that an overlay stacks.
    pub fn layers(&self) -> impl Iterator<Item = PathBuf> {
        let keys = ["lowerdir+=", "lowerdir=", "datadir+=", "upperdir="];
        split_unescaped(&self.super_options, b',')
            .into_iter()
            .filter_map(move |option| {
                keys.iter().find_map(|key| option.strip_prefix(key.as_bytes()).map(<[u8]>::to_vec))
            })
            .flat_map(|value| split_unescaped_bytes(&value, b':'))
            .map(|layer| PathBuf::from(unescape(&without_backslashes(&layer))))
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

fn octal(bytes: &[u8]) -> Option<u8> {
    let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = bytes else { return None };
    Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
}

fn split_unescaped(text: &str, separator: u8) -> Vec<Vec<u8>> {
    split_unescaped_bytes(text.as_bytes(), separator)
}

/// Splits at separators that have no backslash in front; escapes stay.
fn split_unescaped_bytes(bytes: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut is_escaped = false;
    for byte in bytes {
        if *byte == separator && !is_escaped {
            parts.push(Vec::new());
            continue;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
        if let Some(last) = parts.last_mut() {
            last.push(*byte);
        }
    }
    parts
}

/// Takes the backslashes that overlay puts before `:` and `,`; octal escapes stay.
fn without_backslashes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'\\' && octal(rest).is_none() && matches!(tail.first(), Some(b':' | b',')) {
            rest = tail;
            continue;
        }
        out.push(*first);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_any_number_of_optional_fields_are_read() {
        let table = [
            ("36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw", 0),
            ("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw", 1),
            ("36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:1 unbindable - ext3 /dev/root rw", 3),
        ];
        for (line, optional) in table {
            let entry = parse_line(line.as_bytes()).unwrap();
            assert_eq!((entry.id, entry.parent, entry.device), (36, 35, (98, 0)));
            assert_eq!(entry.root, Path::new("/mnt1"));
            assert_eq!(entry.point, Path::new("/mnt2"));
            assert_eq!((entry.fstype.as_str(), entry.super_options.as_str()), ("ext3", "rw"));
            assert_eq!(entry.optional.len(), optional, "{line}");
        }
    }

    #[test]
    fn octal_escapes_are_undone_and_other_backslashes_stay() {
        let table: [(&[u8], &str); 4] = [
            (b"/a\\040b", "/a b"),
            (b"/a\\011\\012\\134", "/a\t\n\\"),
            (b"/a\\9", "/a\\9"),
            (b"/a\\04", "/a\\04"),
        ];
        for (raw, expected) in table {
            assert_eq!(unescape(raw), OsString::from(expected));
        }
    }

    #[test]
    fn broken_lines_are_left_out() {
        let text = b"36 35 98:0 / / rw - ext4 /dev/a rw\ngarbage\n\n37 x 98:0 / / rw - ext4 d rw\n36 35 98 / / rw - e d\n";
        assert_eq!(parse(text).len(), 1);
        assert_eq!(parse_line(b"36 35 98:0 / / rw shared:1"), None);
    }

    #[test]
    fn layers_of_an_overlay_are_found_with_their_separators() {
        let line = r"40 1 0:50 / /m rw - overlay overlay rw,lowerdir+=/a\040b,lowerdir+=/c\:d\,e,lowerdir=/x:/y,upperdir=/u,workdir=/w";
        let entry = parse_line(line.as_bytes()).unwrap();
        let layers: Vec<_> = entry.layers().collect();
        assert_eq!(layers, ["/a b", "/c:d,e", "/x", "/y", "/u"].map(PathBuf::from));
        assert!(entry.uses(Path::new("/u")) && entry.uses(Path::new("/m")) && !entry.uses(Path::new("/w")));
    }

    #[test]
    fn the_table_of_this_process_is_understood_line_by_line() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        assert_eq!(parse(&text).len(), lines);
    }
}
