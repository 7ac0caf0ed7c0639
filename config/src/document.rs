//! The text of one configuration file, losslessly: values are replaced line by line, every other byte stays.
//!
//! A line whose first character that is not blank is `#` is a comment; one that does not begin with `lxc.` is not ours
//! and is passed over, as LXC does. Values are trimmed, and one pair of matching quotes around them is taken off.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place};
use crate::value::shown;

const BLANKS: [char; 2] = [' ', '\t'];
const INCLUDE: &str = "lxc.include";

/// The lines of a file, each with its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Vec<u8>>,
}

/// One `key = value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
    /// Where the value begins.
    pub(crate) value_place: Place,
}

impl Entry {
    /// Returns the place of a byte of the value.
    pub(crate) fn place_in_value(&self, byte: usize) -> Place {
        let before = self.value.get(..byte).map_or(0, |text| text.chars().count());
        Place { column: self.value_place.column + before, ..self.value_place.clone() }
    }
}

impl Document {
    /// Takes the text apart. Nothing is lost and nothing is refused here.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self { lines: text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() }
    }

    /// Returns the text.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// Returns the entries in order, each or what is wrong with its line.
    pub(crate) fn entries(&self, file: &Arc<PathBuf>) -> Vec<Result<Entry, Diagnostic>> {
        let lines = self.lines.iter().enumerate();
        lines.filter_map(|(index, line)| entry(line, file, index + 1)).collect()
    }

    /// Returns the value of a key: the last one of the file.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.lines.iter().rev().find_map(|line| match read_line(line) {
            Line::Entry { key: found, value, .. } if found == key => Some(value),
            _ => None,
        })
    }

    /// Sets a scalar: the last line that has the key is replaced, others with it go, and without one a line is added. Where
    /// an include follows that could set the key again, the line goes behind it.
    pub fn set(&mut self, key: &str, value: &str) {
        let last = self.lines.iter().rposition(|line| has_key(line, key));
        let include = self.lines.iter().rposition(|line| has_key(line, INCLUDE));
        match last.filter(|last| include.is_none_or(|include| include < *last)) {
            Some(last) => {
                let line = &mut self.lines[last];
                *line = with_value(line, value);
                let mut index = 0;
                self.lines.retain(|line| {
                    index += 1;
                    index > last || !has_key(line, key)
                });
            }
            None => {
                self.remove(key);
                self.append(key, value);
            }
        }
    }

    /// Adds a value to a list: behind its last line, or at the end where an include could clear or change what stands before it.
    pub fn add(&mut self, key: &str, value: &str) {
        let last = self.lines.iter().rposition(|line| has_key(line, key));
        let include = self.lines.iter().rposition(|line| has_key(line, INCLUDE));
        match last.filter(|last| include.is_none_or(|include| include < *last)) {
            Some(last) if last + 1 < self.lines.len() => {
                let line = with_value(&self.lines[last], value);
                self.lines.insert(last + 1, line);
            }
            _ => self.append(key, value),
        }
    }

    /// Adds a line at the end.
    pub(crate) fn append(&mut self, key: &str, value: &str) {
        let line = if value.is_empty() { format!("{key} =") } else { format!("{key} = {}", quoted(value)) };
        self.push(line.into_bytes());
    }

    /// Removes every line that has the key.
    pub fn remove(&mut self, key: &str) {
        self.remove_all(|found| found == key);
    }

    /// Removes every line whose key is one of those.
    pub(crate) fn remove_all(&mut self, mut is_meant: impl FnMut(&str) -> bool) {
        self.lines.retain(|line| !matches!(read_line(line), Line::Entry { key, .. } if is_meant(&key)));
    }

    /// Replaces values: `change` is asked for each entry and returns the new value, or `None` to leave the line alone.
    pub fn rewrite(&mut self, mut change: impl FnMut(&str, &str) -> Option<String>) {
        for line in &mut self.lines {
            if let Line::Entry { key, value, .. } = read_line(line)
                && let Some(new) = change(&key, &value)
            {
                *line = with_value(line, &new);
            }
        }
    }

    /// Looks at each entry.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&str, &str)) {
        for line in &self.lines {
            if let Line::Entry { key, value, .. } = read_line(line) {
                look(&key, &value);
            }
        }
    }

    /// Replaces keys: `change` is asked for each entry, with its line, and returns the new key (`None` for a line that goes) and the
    /// new value where that changes, or nothing to leave the line alone.
    pub(crate) fn rewrite_lines(
        &mut self,
        mut change: impl FnMut(usize, &str, &str) -> Option<(Option<String>, Option<String>)>,
    ) {
        let mut number = 0;
        self.lines.retain_mut(|line| {
            number += 1;
            let Line::Entry { key, value, .. } = read_line(line) else { return true };
            let Some((new, new_value)) = change(number, &key, &value) else { return true };
            let Some(new) = new else { return false };
            if let Some(value) = new_value.filter(|new| *new != value) {
                *line = with_value(line, &value);
            }
            *line = with_key(line, &key, &new);
            true
        });
    }

    fn push(&mut self, mut line: Vec<u8>) {
        // The line end of the file, not ours.
        let end: &[u8] = if self.lines.iter().any(|line| line.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
        if let Some(last) = self.lines.last_mut()
            && !last.ends_with(b"\n")
        {
            last.extend_from_slice(end);
        }
        line.extend_from_slice(end);
        self.lines.push(line);
    }
}

fn entry(line: &[u8], file: &Arc<PathBuf>, number: usize) -> Option<Result<Entry, Diagnostic>> {
    let place = |column| Place { file: Arc::clone(file), line: number, column };
    match read_line(line) {
        Line::Other => None,
        Line::Bad { column, message } => {
            let hint = Some("write `key = value`".to_owned());
            Some(Err(Diagnostic { place: place(column), message, hint }))
        }
        Line::Entry { key, column, value, value_column } => {
            Some(Ok(Entry { key, value, place: place(column), value_place: place(value_column) }))
        }
    }
}

/// Returns the line of an entry with another value; indentation, key and line end stay.
fn with_value(line: &[u8], value: &str) -> Vec<u8> {
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else { return line.to_vec() };
    let (head, rest) = line.split_at(equals + 1);
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let end = rest.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    // Behind `key =` alone there may be nothing but the line end.
    let blanks = &rest[..blanks.min(rest.len() - end)];
    [head, blanks, quoted(value).as_bytes(), &rest[rest.len() - end..]].concat()
}

/// Returns the line of an entry with another key.
fn with_key(line: &[u8], old: &str, new: &str) -> Vec<u8> {
    let begin = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    [&line[..begin], new.as_bytes(), line.get(begin + old.len()..).unwrap_or_default()].concat()
}

/// Returns the value as it must be written to be read back: in quotes where trimming or unquoting would change it.
fn quoted(value: &str) -> Cow<'_, str> {
    if unquote(trim(value)) == value { Cow::Borrowed(value) } else { Cow::Owned(format!("\"{value}\"")) }
}

enum Line {
    Other,
    Bad { column: usize, message: String },
    Entry { key: String, column: usize, value: String, value_column: usize },
}

fn has_key(line: &[u8], key: &str) -> bool {
    matches!(read_line(line), Line::Entry { key: found, .. } if found == key)
}

fn read_line(line: &[u8]) -> Line {
    let Ok(text) = std::str::from_utf8(line) else {
        // Comments may be in any encoding; keys and values may not.
        let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let is_ours = line[blanks..].starts_with(b"lxc.");
        let message = "the line is not UTF-8".to_owned();
        return if is_ours { Line::Bad { column: 1, message } } else { Line::Other };
    };
    let body = text.trim_start_matches(BLANKS);
    if !body.starts_with("lxc.") {
        return Line::Other;
    }
    let column = text.chars().count() - body.chars().count() + 1;
    let Some((key, rest)) = body.split_once('=') else {
        return Line::Bad { column, message: format!("`{}` has no `=`", shown(trim(body))) };
    };
    let before_value = text.len() - rest.trim_start_matches(BLANKS).len();
    let value_column = text[..before_value].chars().count() + 1;
    Line::Entry { key: trim(key).to_owned(), column, value: unquote(trim(rest)).to_owned(), value_column }
}

/// Takes blanks and the line end off, as LXC does; other white space belongs to the value.
fn trim(text: &str) -> &str {
    text.trim_start_matches(BLANKS).trim_end_matches([' ', '\t', '\r', '\n'])
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn setting_a_value_keeps_every_other_byte() {
        let text = b"# a comment \xff\nlxc.uts.name = \"b1\"\r\nmartian\n  lxc.tty.max=4\nlxc.uts.name = x";
        let mut document = Document::new(text);
        assert_eq!(document.to_bytes(), text);
        assert_eq!(document.get("lxc.tty.max").as_deref(), Some("4"));
        assert_eq!(document.get("lxc.uts.name").as_deref(), Some("x"));
        document.set("lxc.uts.name", "web1");
        document.set("lxc.ephemeral", "1");
        let expected =
            b"# a comment \xff\nmartian\n  lxc.tty.max=4\nlxc.uts.name = web1\nlxc.ephemeral = 1\n";
        assert_eq!(document.to_bytes(), expected);
    }

    #[test]
    fn quotes_come_off_once_and_only_in_pairs() {
        for (value, read) in
            [("\"b1\"", "b1"), ("'b1'", "b1"), ("\"b1'", "\"b1'"), ("\"\"b\"\"", "\"b\""), ("\"", "\"")]
        {
            assert_eq!(
                Document::new(format!("lxc.a = {value}").as_bytes()).get("lxc.a").as_deref(),
                Some(read)
            );
        }
    }

    #[test]
    fn a_line_of_ours_without_an_equals_sign_is_told_with_its_place() {
        let file = crate::diagnostic::nowhere();
        let entries = Document::new(b"\n  lxc.foo\n").entries(&file);
        let wrong = entries[0].as_ref().unwrap_err();
        assert_eq!(wrong.to_string(), "(configuration):2:3: `lxc.foo` has no `=`");
    }

    #[test]
    fn a_changed_line_keeps_its_indentation_its_key_and_its_line_end() {
        let mut document = Document::new(b"\t lxc.tty.max=4  \r\nlxc.a =\nlxc.b = 1");
        document.set("lxc.tty.max", "5");
        document.set("lxc.a", "2");
        document.rewrite(|key, _| (key == "lxc.b").then(|| "3".to_owned()));
        assert_eq!(document.to_bytes(), b"\t lxc.tty.max=5\r\nlxc.a =2\nlxc.b = 3");
    }

    #[test]
    fn a_value_is_set_behind_an_include_that_could_set_it_again() {
        let mut document = Document::new(b"lxc.uts.name = a\nlxc.include = /x\n# end\n");
        document.set("lxc.uts.name", "b");
        assert_eq!(document.to_bytes(), b"lxc.include = /x\n# end\nlxc.uts.name = b\n");
    }

    #[test]
    fn white_space_other_than_blanks_is_no_blank() {
        for text in ["\u{c}lxc.uts.name = a", "\u{a0}lxc.uts.name = a", "\u{feff}lxc.uts.name = a"] {
            assert_eq!(Document::new(text.as_bytes()).get("lxc.uts.name"), None, "{text:?}");
        }
        let document = Document::new("lxc.a = b\u{a0}\n".as_bytes());
        assert_eq!(document.get("lxc.a").as_deref(), Some("b\u{a0}"));
    }

    /// Lines as hostile as lines get.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let ours = "[ \t]{0,2}lxc\\.(uts\\.name|include|rootfs\\.path|a)[ \t=\"'x/]{0,8}(\r?\n)?";
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..30), ours.prop_map(String::into_bytes)]
    }

    proptest! {
        #[test]
        fn any_bytes_survive_unchanged_and_nothing_panics(lines in proptest::collection::vec(line(), 0..12)) {
            let text = lines.concat();
            let mut document = Document::new(&text);
            prop_assert_eq!(document.to_bytes(), text);
            let _entries = document.entries(&crate::diagnostic::nowhere());
            document.rewrite(|_, value| Some(value.to_owned()));
            document.remove("lxc.a");
            prop_assert_eq!(document.get("lxc.a"), None);
        }

        #[test]
        fn what_is_set_is_read_back_and_nothing_else_changes(
            lines in proptest::collection::vec(line(), 0..12),
            value in "[^\\p{Cc}]{0,20}|[ \"'a]{0,6}",
        ) {
            let others = |document: &Document| {
                let lines = document.to_bytes();
                let lines: Vec<Vec<u8>> = lines.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let bare = |line: &Vec<u8>| line.trim_ascii_end().to_vec();
                lines.iter().filter(|line| !has_key(line, "lxc.uts.name")).map(bare).collect::<Vec<_>>()
            };
            let mut document = Document::new(&lines.concat());
            let before = others(&document);
            document.set("lxc.uts.name", &value);
            // Another reader sees it too.
            let read = Document::new(&document.to_bytes());
            prop_assert_eq!(read.get("lxc.uts.name"), Some(value));
            prop_assert_eq!(others(&document), before);
        }

        #[test]
        fn a_rewrite_that_changes_nothing_means_the_same(lines in proptest::collection::vec(line(), 0..12)) {
            let file = crate::diagnostic::nowhere();
            let mut document = Document::new(&lines.concat());
            let values = |document: &Document| -> Vec<(String, String)> {
                let entries = document.entries(&file);
                entries.into_iter().flatten().map(|entry| (entry.key, entry.value)).collect()
            };
            let before = values(&document);
            document.rewrite(|_, value| Some(value.to_owned()));
            prop_assert_eq!(values(&Document::new(&document.to_bytes())), before);
        }
    }
}
