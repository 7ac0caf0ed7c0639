//! LXC's global configuration, `lxc.conf`: where containers are, what new ones begin with, and where stores make volumes.
//!
//! As in LXC the first line of a key wins, an empty value says nothing, and lines that do not begin with `lxc.` are passed over. Unlike
//! LXC, a line that means nothing is an error with its place: a mistyped key must not send volumes elsewhere. What a store does
//! without a line is the store's business; nothing is filled in here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::volume::Properties;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, nearest_of};
use crate::document::{Document, Entry};
use crate::value::shown;

const LXCPATH: &str = "lxc.lxcpath";
const DEFAULT_CONFIG: &str = "lxc.default_config";

/// Where stores make volumes: the key, the kind of the store, and the store's own name for it.
const STORE_KEYS: [(&str, &str, &str); 3] = [
    ("lxc.bdev.lvm.vg", "lvm", "vgname"),
    ("lxc.bdev.lvm.thin_pool", "lvm", "thinpool"),
    ("lxc.bdev.zfs.root", "zfs", "zfsroot"),
];

/// Keys that LXC has and nothing here needs.
const UNUSED_KEYS: [&str; 4] =
    ["lxc.cgroup.pattern", "lxc.cgroup.use", "lxc.bdev.rbd.rbdpool", "lxc.bdev.rbd.rbduser"];

/// What a `lxc.conf` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GlobalConfig {
    entries: Vec<Entry>,
}

impl GlobalConfig {
    /// Reads text that stands in `file`.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, Diagnostics> {
        let (mut entries, mut wrong): (Vec<Entry>, _) = (Vec::new(), Vec::new());
        for entry in Document::new(text).entries(&Arc::new(file.to_owned())) {
            match entry.and_then(checked) {
                Ok(entry) if entry.value.is_empty() => {}
                Ok(entry) if entries.iter().any(|first| first.key == entry.key) => {}
                Ok(entry) => entries.push(entry),
                Err(diagnostic) => wrong.push(diagnostic),
            }
        }
        if wrong.is_empty() { Ok(Self { entries }) } else { Err(Diagnostics(wrong)) }
    }

    /// Returns the directory of containers, without slashes at its end.
    #[must_use]
    pub fn lxcpath(&self) -> Option<PathBuf> {
        let path = self.text(LXCPATH)?.trim_end_matches('/');
        Some(PathBuf::from(if path.is_empty() { "/" } else { path }))
    }

    /// Returns the file that new containers begin with.
    #[must_use]
    pub fn default_config(&self) -> Option<PathBuf> {
        self.text(DEFAULT_CONFIG).map(PathBuf::from)
    }

    /// Returns the options that each kind of store has without others, under the names by which stores know them.
    #[must_use]
    pub fn store_options(&self) -> Vec<(&'static str, Properties)> {
        let mut stores: Vec<(&'static str, Properties)> = Vec::new();
        for (key, kind, option) in STORE_KEYS {
            let Some(value) = self.text(key) else { continue };
            let (name, value) = (option.to_owned(), value.to_owned());
            match stores.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, options)) => drop(options.insert(name, value)),
                None => stores.push((kind, Properties::from([(name, value)]))),
            }
        }
        stores
    }

    /// Returns what is said and means nothing here, each as `file:line:column: key`.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let unused = |entry: &&Entry| UNUSED_KEYS.contains(&entry.key.as_str());
        self.entries.iter().filter(unused).map(|entry| format!("{}: `{}`", entry.place, entry.key)).collect()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

fn checked(entry: Entry) -> Result<Entry, Diagnostic> {
    if !known().any(|known| known == entry.key) {
        return Err(unknown(entry.place, &entry.key));
    }
    let is_path = [LXCPATH, DEFAULT_CONFIG].contains(&entry.key.as_str());
    let message = match entry.value.as_str() {
        value if is_path && !value.is_empty() && !value.starts_with('/') => "is not a path from the root",
        value if value.chars().any(char::is_control) => "has a control character in it",
        _ => return Ok(entry),
    };
    let message = format!("`{}`: `{}` {message}", entry.key, shown(&entry.value));
    Err(Diagnostic { place: entry.value_place, message, hint: None })
}

fn known() -> impl Iterator<Item = &'static str> {
    let stores = STORE_KEYS.iter().map(|(key, ..)| *key);
    [LXCPATH, DEFAULT_CONFIG].into_iter().chain(stores).chain(UNUSED_KEYS)
}

fn unknown(place: Place, key: &str) -> Diagnostic {
    let hint = nearest_of(key, known().map(str::to_owned)).map(|near| format!("did you mean `{near}`?"));
    Diagnostic { place, message: format!("`lxc.conf` has no key `{}`", shown(key)), hint }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<GlobalConfig, Diagnostics> {
        GlobalConfig::parse(text.as_bytes(), Path::new("/etc/lxc/lxc.conf"))
    }

    fn options(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let config = parse("# nothing\n\nmartian = 1\nlxc.bdev.lvm.vg =\n").unwrap();
        assert_eq!(config, GlobalConfig::default());
        assert_eq!((config.lxcpath(), config.default_config()), (None, None));
        assert_eq!((config.store_options(), config.unused()), (vec![], vec![]));
    }

    #[test]
    fn stores_get_their_options_under_their_own_names() {
        for (text, expected) in [
            ("lxc.bdev.lvm.vg = vg0", vec![("lvm", options(&[("vgname", "vg0")]))]),
            ("\tlxc.bdev.zfs.root=tank/lxc \r\n", vec![("zfs", options(&[("zfsroot", "tank/lxc")]))]),
            (
                "lxc.bdev.lvm.thin_pool = pool\nlxc.bdev.zfs.root = tank\nlxc.bdev.lvm.vg = vg0",
                vec![
                    ("lvm", options(&[("vgname", "vg0"), ("thinpool", "pool")])),
                    ("zfs", options(&[("zfsroot", "tank")])),
                ],
            ),
        ] {
            assert_eq!(parse(text).unwrap().store_options(), expected, "{text}");
        }
    }

    #[test]
    fn the_first_line_wins_and_an_empty_one_is_none() {
        let config = parse("lxc.lxcpath =\nlxc.lxcpath = /srv/lxc//\nlxc.lxcpath = /other").unwrap();
        assert_eq!(config.lxcpath(), Some("/srv/lxc".into()));
        assert_eq!(parse("lxc.lxcpath = /").unwrap().lxcpath(), Some("/".into()));
        let config = parse("lxc.default_config = /etc/lxc/mine.conf").unwrap();
        assert_eq!(config.default_config(), Some("/etc/lxc/mine.conf".into()));
    }

    #[test]
    fn a_line_that_means_nothing_is_told_with_its_place() {
        for (text, message, hint) in [
            ("\n lxc.lxcpath /srv", "2:2: `lxc.lxcpath /srv` has no `=`", Some("write `key = value`")),
            (
                "lxc.bdev.lvm.gv = x",
                "1:1: `lxc.conf` has no key `lxc.bdev.lvm.gv`",
                Some("did you mean `lxc.bdev.lvm.vg`?"),
            ),
            ("lxc.uts.name = x", "1:1: `lxc.conf` has no key `lxc.uts.name`", None),
            ("lxc.lxcpath = srv/lxc", "1:15: `lxc.lxcpath`: `srv/lxc` is not a path from the root", None),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.to_string(), format!("/etc/lxc/lxc.conf:{message}"), "{text}");
            assert_eq!(wrong.0[0].hint.as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn what_nothing_here_needs_is_named() {
        let config = parse("lxc.cgroup.use = @all\nlxc.lxcpath = /srv").unwrap();
        assert_eq!(config.unused(), ["/etc/lxc/lxc.conf:1:1: `lxc.cgroup.use`"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(lxc\\.(lxcpath|bdev\\.lvm\\.vg|x)|#|.)[ =/a-z\"\r\n\u{0}]{0,40}") {
            if let Ok(config) = parse(&text) {
                prop_assert!(config.lxcpath().is_none_or(|path| path.is_absolute()));
            }
        }
    }
}
