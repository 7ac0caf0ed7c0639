//! Reads a configuration with its includes: each at its line, directories in the order of their names.
//!
//! LXC protects itself against neither loops nor depth; here a file that includes itself is told at the line that does so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, unknown_key};
use crate::document::{Document, Entry};
use crate::keys;
use crate::model::{ContainerConfig, Setting};

/// Deeper nesting is nobody's intention.
const DEPTH_MAX: usize = 32;

/// Reads a file.
pub(crate) fn from_file(path: &Path) -> Result<ContainerConfig, Diagnostics> {
    match std::fs::read(path) {
        Ok(text) => from_text(&text, path),
        Err(error) => {
            let place = Place { file: Arc::new(path.to_owned()), line: 1, column: 1 };
            let message = format!("cannot read the configuration: {error}");
            Err(Diagnostics(vec![Diagnostic { place, message, hint: None }]))
        }
    }
}

/// Reads text that stands, or will stand, in `file`.
pub(crate) fn from_text(text: &[u8], file: &Path) -> Result<ContainerConfig, Diagnostics> {
    let mut loader = Loader::default();
    loader.take(text, file);
    if loader.wrong.is_empty() { Ok(loader.config) } else { Err(Diagnostics(loader.wrong)) }
}

#[derive(Default)]
struct Loader {
    config: ContainerConfig,
    wrong: Vec<Diagnostic>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
}

impl Loader {
    fn take(&mut self, text: &[u8], file: &Path) {
        self.open.push(file.to_owned());
        let (entries, wrong) = Document::new(text).entries(&Arc::new(file.to_owned()));
        self.wrong.extend(wrong);
        for entry in entries {
            self.take_entry(entry);
        }
        self.open.pop();
    }

    fn take_entry(&mut self, entry: Entry) {
        if entry.key == "lxc.include" && !entry.value.is_empty() {
            return self.include(&entry);
        }
        let Some((key, interface)) = keys::find(&entry.key) else {
            self.wrong.push(unknown_key(entry.place, &entry.key));
            return;
        };
        if !entry.value.is_empty() {
            if let Err(message) = key.kind.check(&entry.value) {
                self.refuse(entry.value_place.clone(), format!("`{}`: {message}", entry.key));
            }
            if matches!(entry.key.as_str(), "lxc.net" | "lxc.hook") {
                self.refuse(
                    entry.value_place.clone(),
                    format!("`{}` can only be cleared, by an empty value", entry.key),
                );
            }
            if let Some(number) = interface
                && key.name != "type"
                && self.config.text(&format!("lxc.net.{number}.type")).is_none()
            {
                self.refuse(
                    entry.place.clone(),
                    format!("`lxc.net.{number}.type` must come before `{}`", entry.key),
                );
            }
        }
        self.config.apply(Setting { key: entry.key, value: entry.value, place: entry.value_place });
    }

    fn refuse(&mut self, place: Place, message: String) {
        self.wrong.push(Diagnostic { place, message, hint: None });
    }

    fn include(&mut self, entry: &Entry) {
        let path = Path::new(&entry.value);
        if path.is_dir() || entry.value.ends_with('/') {
            match directory(path) {
                Ok(files) => files.iter().for_each(|file| self.include_file(entry, file)),
                Err(error) => {
                    self.refuse(entry.value_place.clone(), format!("cannot list `{}`: {error}", entry.value))
                }
            }
        } else {
            self.include_file(entry, path);
        }
    }

    fn include_file(&mut self, entry: &Entry, file: &Path) {
        let place = entry.value_place.clone();
        if self.open.iter().any(|open| open == file) {
            return self.refuse(place, format!("`{}` includes itself", file.display()));
        }
        if self.open.len() >= DEPTH_MAX {
            return self.refuse(place, format!("includes are nested deeper than {DEPTH_MAX}"));
        }
        match std::fs::read(file) {
            Ok(text) => self.take(&text, file),
            Err(error) => self.refuse(place, format!("cannot include `{}`: {error}", file.display())),
        }
    }
}

/// Returns the `*.conf` files of a directory by name; none when it is not there, as LXC has it.
fn directory(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "conf") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
