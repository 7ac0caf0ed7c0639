//! Reads a configuration with its includes: each at its line, directories in the order of their names.
//!
//! LXC protects itself against neither loops nor depth; here a file that includes itself is told at the line that does so, and
//! depth, number and size of files are bounded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, unknown_key};
use crate::document::{Document, Entry};
use crate::keys::{self, Key, Shape};
use crate::model::{ContainerConfig, Setting};
use crate::value::ValueKind;

/// Deeper nesting is nobody's intention.
const DEPTH_MAX: usize = 32;
/// Files that include each other several times would multiply without end.
const FILES_MAX: usize = 1000;
/// No configuration is longer; a device that never ends is.
const SIZE_MAX: u64 = 1 << 20;
/// Who has more than this wrong has the wrong file.
const WRONG_MAX: usize = 100;

/// What a family says to a value.
pub(crate) const ONLY_CLEARED: &str = "can only be cleared, by an empty value";

/// Reads a file.
pub(crate) fn from_file(path: &Path) -> Result<ContainerConfig, Diagnostics> {
    match read(path) {
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
    loader.check_together();
    if loader.wrong.is_empty() { Ok(loader.config) } else { Err(Diagnostics(loader.wrong)) }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(SIZE_MAX + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|size| size > SIZE_MAX) {
        return Err(std::io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

#[derive(Default)]
struct Loader {
    config: ContainerConfig,
    wrong: Vec<Diagnostic>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    /// How many files were included.
    files: usize,
}

impl Loader {
    fn take(&mut self, text: &[u8], file: &Path) {
        self.open.push(std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()));
        for entry in Document::new(text).entries(&Arc::new(file.to_owned())) {
            match entry {
                Ok(entry) => self.take_entry(entry),
                Err(diagnostic) => self.tell(diagnostic),
            }
        }
        self.open.pop();
    }

    fn take_entry(&mut self, mut entry: Entry) {
        if entry.key == "lxc.include" {
            return self.include(&entry);
        }
        if self.wrong.len() >= WRONG_MAX {
            return;
        }
        let Some((key, interface)) = keys::find(&entry.key) else {
            return self.tell(unknown_key(entry.place, &entry.key));
        };
        if let Some(number) = interface {
            let rest = entry.key.splitn(4, '.').nth(3);
            entry.key =
                rest.map_or_else(|| format!("lxc.net.{number}"), |rest| format!("lxc.net.{number}.{rest}"));
            self.require_type(number, key, &entry);
        }
        self.check_value(key, &entry);
        self.config.apply(Setting { key: entry.key, value: entry.value, place: entry.value_place });
    }

    fn check_value(&mut self, key: &Key, entry: &Entry) {
        if entry.value.is_empty() {
            return;
        }
        if key.shape == Shape::Family {
            let message = format!("`{}` {ONLY_CLEARED}", entry.key);
            return self.refuse(entry.value_place.clone(), message);
        }
        if let Err(wrong) = key.kind.parse(&entry.value) {
            self.refuse(entry.place_in_value(wrong.at), format!("`{}`: {}", entry.key, wrong.message));
        }
    }

    /// What is special to a type of interfaces must follow that type, as LXC demands.
    fn require_type(&mut self, number: u32, key: &Key, entry: &Entry) {
        let Some(special) = key.interface_type().filter(|_| !entry.value.is_empty()) else { return };
        let key = format!("lxc.net.{number}.type");
        let wrong = match self.config.text(&key) {
            None => format!("`{key}` must come before `{}`", entry.key),
            Some(other) if other != special => {
                format!("`{}` is for interfaces of type {special}, and this one is {other}", entry.key)
            }
            Some(_) => return,
        };
        self.refuse(entry.place.clone(), wrong);
    }

    /// Looks at what may not stand beside each other once everything is read.
    fn check_together(&mut self) {
        for (one, other) in [("lxc.cap.drop", "lxc.cap.keep"), ("lxc.namespace.clone", "lxc.namespace.keep")]
        {
            if let (Some(first), Some(second)) = (self.config.setting(one), self.config.setting(other)) {
                let message = format!("`{other}` cannot stand beside `{one}` of {}", first.place);
                let place = second.place.clone();
                let hint = Some(format!("clear the other one first: `{one} =`"));
                self.tell(Diagnostic { place, message, hint });
            }
        }
    }

    fn refuse(&mut self, place: Place, message: String) {
        self.tell(Diagnostic { place, message, hint: None });
    }

    fn tell(&mut self, diagnostic: Diagnostic) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(diagnostic);
        }
    }

    fn include(&mut self, entry: &Entry) {
        if entry.value.is_empty() {
            return;
        }
        if let Err(wrong) = ValueKind::Path.parse(&entry.value) {
            return self.refuse(entry.place_in_value(wrong.at), format!("`lxc.include`: {}", wrong.message));
        }
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
        self.files += 1;
        let refused = match std::fs::canonicalize(file) {
            _ if self.files > FILES_MAX + 1 => return,
            _ if self.files > FILES_MAX => format!("more than {FILES_MAX} files are included"),
            Err(error) => {
                let message = format!("cannot include `{}`: {error}", file.display());
                let hint = successor(file);
                return self.tell(Diagnostic { place: entry.value_place.clone(), message, hint });
            }
            Ok(real) if self.open.contains(&real) => format!("`{}` includes itself", file.display()),
            Ok(_) if self.open.len() >= DEPTH_MAX => format!("includes are nested deeper than {DEPTH_MAX}"),
            // A pipe would be waited for.
            Ok(real) if !real.is_file() => format!("cannot include `{}`: it is not a file", file.display()),
            Ok(_) => match read(file) {
                Ok(text) => return self.take(&text, file),
                Err(error) => format!("cannot include `{}`: {error}", file.display()),
            },
        };
        self.refuse(entry.value_place.clone(), refused);
    }
}

/// Returns what to include instead of a distribution's own file, which LXC has no more since 3.0: `debian.common.conf`.
fn successor(file: &Path) -> Option<String> {
    let (_, rest) = file.file_name()?.to_str()?.split_once('.')?;
    let common = file.with_file_name(rest);
    let is_known = matches!(rest, "common.conf" | "userns.conf") && common.is_file();
    is_known.then(|| format!("LXC has one file for all distributions since 3.0: `{}`", common.display()))
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
