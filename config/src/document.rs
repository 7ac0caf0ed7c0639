//! The text of one configuration file, losslessly: values are replaced line by line, every other byte stays.
//!
//! A line whose first character that is not blank is `#` is a comment; one that does not begin with `lxc.` is not ours
//! and is passed over, as LXC does. Values are trimmed, and one pair of matching quotes around them is taken off.

use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place};

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

    /// Returns the entries in order, or what is wrong with the lines.
    pub(crate) fn entries(&self, file: &Arc<PathBuf>) -> (Vec<Entry>, Vec<Diagnostic>) {
        let (mut entries, mut wrong) = (Vec::new(), Vec::new());
        for (index, line) in self.lines.iter().enumerate() {
            let place = |column| Place { file: Arc::clone(file), line: index + 1, column };
            match read_line(line) {
                Line::Other => {}
                Line::Bad { column, message } => {
                    wrong.push(Diagnostic {
                        place: place(column),
                        message,
                        hint: Some("write `key = value`".into()),
                    });
                }
                Line::Entry { key, column, value, value_column } => {
                    entries.push(Entry {
                        key,
                        value,
                        place: place(column),
                        value_place: place(value_column),
                    });
                }
            }
        }
        (entries, wrong)
    }

    /// Returns the value of a key: the last one of the file.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.lines.iter().rev().find_map(|line| match read_line(line) {
            Line::Entry { key: found, value, .. } if found == key => Some(value),
            _ => None,
        })
    }

    /// Sets a scalar: the last line that has the key is replaced, others with it go, and without one a line is added.
    pub fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key} = {value}\n").into_bytes();
        match self.lines.iter().rposition(|line| has_key(line, key)) {
            Some(last) => {
                self.lines[last] = new;
                let mut index = 0;
                self.lines.retain(|line| {
                    index += 1;
                    index > last || !has_key(line, key)
                });
            }
            None => self.push(new),
        }
    }

    /// Removes every line that has the key.
    pub fn remove(&mut self, key: &str) {
        self.lines.retain(|line| !has_key(line, key));
    }

    /// Replaces values: `change` is asked for each entry and returns the new value, or `None` to leave the line alone.
    pub fn rewrite(&mut self, mut change: impl FnMut(&str, &str) -> Option<String>) {
        for line in &mut self.lines {
            if let Line::Entry { key, value, .. } = read_line(line)
                && let Some(new) = change(&key, &value)
            {
                *line = format!("{key} = {new}\n").into_bytes();
            }
        }
    }

    fn push(&mut self, line: Vec<u8>) {
        if let Some(last) = self.lines.last_mut()
            && !last.ends_with(b"\n")
        {
            last.push(b'\n');
        }
        self.lines.push(line);
    }
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
        let is_ours = line.trim_ascii_start().starts_with(b"lxc.");
        let message = "the line is not UTF-8".to_owned();
        return if is_ours { Line::Bad { column: 1, message } } else { Line::Other };
    };
    let body = text.trim_start();
    if !body.starts_with("lxc.") {
        return Line::Other;
    }
    let column = text.chars().count() - body.chars().count() + 1;
    let Some((key, rest)) = body.split_once('=') else {
        return Line::Bad { column, message: format!("`{}` has no `=`", body.trim_end()) };
    };
    let before_value = text.len() - rest.trim_start().len();
    let value_column = text[..before_value].chars().count() + 1;
    Line::Entry {
        key: key.trim_end().to_owned(),
        column,
        value: unquote(rest.trim()).to_owned(),
        value_column,
    }
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
        let (_, wrong) = Document::new(b"\n  lxc.foo\n").entries(&file);
        assert_eq!(wrong[0].to_string(), "(configuration):2:3: `lxc.foo` has no `=`");
    }

    proptest! {
        #[test]
        fn any_bytes_survive_unchanged_and_nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut document = Document::new(&text);
            prop_assert_eq!(document.to_bytes(), text);
            let _entries = document.entries(&crate::diagnostic::nowhere());
            document.set("lxc.uts.name", "a");
            let value = document.get("lxc.uts.name");
            prop_assert_eq!(value.as_deref(), Some("a"));
        }
    }
}
