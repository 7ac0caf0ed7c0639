//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use keiki_core::{Error, ErrorKind};

use crate::keys;
use crate::value::{LIMITS, NAMESPACES, shown};

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to write instead, if we know.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of the text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostics> for Error {
    /// The first is the message; the others stand in the context, the hints behind.
    fn from(all: Diagnostics) -> Self {
        let mut diagnostics = all.0.into_iter();
        let Some(first) = diagnostics.next() else {
            return Self::new(ErrorKind::Internal, "a configuration was refused without a reason");
        };
        let mut error = Self::new(ErrorKind::InvalidArgument, first.to_string());
        let mut hints: Vec<String> = first.hint.into_iter().collect();
        for other in diagnostics {
            error = error.with_context("also", other.to_string());
            hints.extend(other.hint);
        }
        hints.into_iter().fold(error, Self::with_hint)
    }
}

/// Returns the diagnostic for a key that does not exist: its new name, or the nearest one.
pub(crate) fn unknown_key(place: Place, key: &str) -> Diagnostic {
    Diagnostic { place, message: format!("there is no key `{}`", shown(key)), hint: hint_for(key) }
}

/// Returns what was meant by a key that does not exist, if that can be told.
pub(crate) fn hint_for(key: &str) -> Option<String> {
    if let Some(new) = keys::renamed(key) {
        return Some(format!("LXC calls it `{new}` since 2.1; `keiki config migrate` rewrites the file"));
    }
    if let Some((_, fate)) = keys::REMOVED.iter().find(|(name, _)| *name == key) {
        return Some(format!(
            "LXC has no such key since 2.1: {fate}; `keiki config migrate` rewrites the file"
        ));
    }
    nearest(key).map(|near| format!("did you mean `{near}`?"))
}

fn nearest(key: &str) -> Option<String> {
    // The distance is worth its time for what a person may have typed.
    const LONGEST: usize = 64;
    if key.len() > LONGEST {
        return None;
    }
    let interface = key.strip_prefix("lxc.net.").and_then(|rest| rest.split_once('.'));
    if let Some((number, rest)) = interface.filter(|(number, _)| number.parse::<u32>().is_ok()) {
        let names = keys::NETWORK_KEYS.iter().map(|known| known.name.to_owned());
        return nearest_of(rest, names).map(|name| format!("lxc.net.{number}.{name}"));
    }
    let limits = LIMITS.iter().map(|name| format!("lxc.prlimit.{name}"));
    let namespaces = NAMESPACES.iter().map(|name| format!("lxc.namespace.share.{name}"));
    // A prefix alone is no key.
    let whole = keys::KEYS.iter().filter(|known| !known.is_prefix());
    let names = whole.map(|known| known.name.to_owned()).chain(limits).chain(namespaces);
    nearest_of(key, names)
}

/// Returns the name that was probably meant.
pub(crate) fn nearest_of(key: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let limit = (key.len() / 4).max(2);
    names
        .map(|name| (distance(key, &name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// How many characters must be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Returns a file for text that comes from nowhere.
#[cfg(test)]
pub(crate) fn nowhere() -> Arc<PathBuf> {
    Arc::new(PathBuf::from("(configuration)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_answered_with_the_nearest_and_an_old_one_with_its_new_name() {
        let place = Place { file: nowhere(), line: 3, column: 1 };
        let typed = unknown_key(place.clone(), "lxc.uts.nmae");
        assert_eq!(typed.to_string(), "(configuration):3:1: there is no key `lxc.uts.nmae`");
        assert_eq!(typed.hint.as_deref(), Some("did you mean `lxc.uts.name`?"));
        for (key, hint) in [
            ("lxc.net.1.lnik", Some("did you mean `lxc.net.1.link`?")),
            ("lxc.prlimit.nofiles", Some("did you mean `lxc.prlimit.nofile`?")),
            ("lxc.namespace.share.nett", Some("did you mean `lxc.namespace.share.net`?")),
            ("lxc.something.else.entirely", None),
        ] {
            assert_eq!(unknown_key(place.clone(), key).hint.as_deref(), hint, "{key}");
        }
        let old = unknown_key(place, "lxc.utsname");
        assert_eq!(
            old.hint.as_deref(),
            Some("LXC calls it `lxc.uts.name` since 2.1; `keiki config migrate` rewrites the file")
        );
    }

    #[test]
    fn distance_is_the_number_of_changes() {
        for (a, b, changes) in
            [("", "", 0), ("a", "", 1), ("abc", "abd", 1), ("abc", "xabc", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), changes, "{a} {b}");
        }
    }
}
