//! Where the monitor writes what it has nobody to tell (`lxc.log.*`).

use std::path::PathBuf;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid};

/// The log of a container's monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogSettings {
    pub(crate) file: Option<PathBuf>,
    pub(crate) level: Level,
}

/// How much is written: everything of this level and above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Notice,
    Warn,
    #[default]
    Error,
    Critical,
    Alert,
    Fatal,
}

impl Level {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Trace, "TRACE"),
        (Self::Debug, "DEBUG"),
        (Self::Info, "INFO"),
        (Self::Notice, "NOTICE"),
        (Self::Warn, "WARN"),
        (Self::Error, "ERROR"),
        (Self::Critical, "CRIT"),
        (Self::Alert, "ALERT"),
        (Self::Fatal, "FATAL"),
    ];

    /// Returns LXC's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("", |(_, word)| word)
    }

    fn parse(text: &str) -> Option<Self> {
        let number = text.parse::<usize>().ok().and_then(|at| Self::ALL.get(at));
        let found = number.or_else(|| Self::ALL.iter().find(|(_, word)| word.eq_ignore_ascii_case(text)));
        found.map(|(level, _)| *level)
    }
}

impl Part for LogSettings {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.log.file" => self.file = Some(PathBuf::from(&line.value)),
            "lxc.log.level" => {
                let level = Level::parse(&line.value);
                self.level = level.ok_or_else(|| invalid(line, "write 0 to 8, or TRACE to FATAL"))?;
            }
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_or_numbers() {
        let table = [
            ("info", Some(Level::Info)),
            ("2", Some(Level::Info)),
            ("FATAL", Some(Level::Fatal)),
            ("9", None),
        ];
        for (text, expected) in table {
            assert_eq!(Level::parse(text), expected, "{text}");
        }
        assert!(Level::Warn < Level::Error);
    }
}
