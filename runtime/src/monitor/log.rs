//! The log of one monitor: lines of `TIME NAME LEVEL text` in the file that the configuration names.
//!
//! Nothing that a caller waits for is left here alone; it is for what happens when nobody listens any more. A log that
//! cannot be written disturbs nothing.

use std::fs::File;
use std::io::Write;

use rustix::fs::{Mode, OFlags, open};

use super::now;
use crate::failure::{AtStep, Step};
use crate::settings::log::{Level, LogSettings};

/// An open log, or none.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    level: Level,
    name: String,
}

impl Log {
    /// Returns a log that nothing is written to.
    pub(super) fn none() -> Self {
        Self { file: None, level: Level::default(), name: String::new() }
    }

    /// Opens the file for writing at its end, never through a link.
    pub(super) fn open(settings: &LogSettings, name: &str) -> Step<Self> {
        let file = settings.file.as_ref().map(|path| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            open(path, flags, Mode::from_raw_mode(0o640))
                .map(File::from)
                .at("open the log")
                .map_err(|failure| failure.about(path.display()))
        });
        Ok(Self { file: file.transpose()?, level: settings.level, name: name.to_owned() })
    }

    /// Writes a line, if its level is one that is written.
    pub(super) fn write(&self, level: Level, text: impl std::fmt::Display) {
        let Some(file) = self.file.as_ref().filter(|_| level >= self.level) else { return };
        let line = format!("{} {} {} {text}\n", now(), self.name, level.as_str());
        // One write a line, so that lines of several writers stay whole.
        let mut file: &File = file;
        drop(file.write(line.as_bytes()));
    }
}
