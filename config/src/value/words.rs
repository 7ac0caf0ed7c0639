//! Values that are words of a fixed vocabulary: capabilities, namespaces, standard mounts, log levels.

use std::fmt;

use keiki_sys::caps::NAMES;

/// Namespaces by the names that LXC takes.
pub(crate) const NAMESPACES: [&str; 8] = ["mnt", "pid", "uts", "ipc", "user", "net", "cgroup", "time"];
/// Longer names that newer LXC takes as well.
const NAMESPACES_LONG: [(&str, &str); 3] = [("mount", "mnt"), ("utsname", "uts"), ("network", "net")];

/// What `lxc.prlimit.` goes on with.
pub(crate) const LIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

const FACILITIES: [&str; 20] = [
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// The names that LXC has for architectures.
pub(crate) const ARCHITECTURES: [&str; 31] = [
    "arm",
    "armel",
    "armhf",
    "armv7l",
    "athlon",
    "i386",
    "i486",
    "i586",
    "i686",
    "linux32",
    "mips",
    "mipsel",
    "ppc",
    "powerpc",
    "x32",
    "x86",
    "aarch64",
    "amd64",
    "arm64",
    "linux64",
    "loongarch64",
    "loong64",
    "mips64",
    "mips64el",
    "ppc64",
    "ppc64el",
    "ppc64le",
    "powerpc64",
    "riscv64",
    "s390x",
    "x86_64",
];

/// Returns whether this is a capability by its name or number. A misspelt one would otherwise stay with the container.
pub(crate) fn is_capability(word: &str) -> bool {
    NAMES.contains(&word) || word.parse::<usize>().is_ok_and(|number| number < NAMES.len())
}

/// Returns the short name of a namespace.
pub(crate) fn namespace(word: &str) -> Option<&'static str> {
    let short = NAMESPACES_LONG.iter().find(|(long, _)| *long == word).map_or(word, |(_, short)| short);
    NAMESPACES.iter().find(|name| **name == short).copied()
}

/// Returns the name of a facility of syslog.
pub(crate) fn facility(text: &str) -> Option<&'static str> {
    FACILITIES.iter().find(|name| name.eq_ignore_ascii_case(text)).copied()
}

/// Returns the name of an architecture as LXC writes it: by what the kernel tells programs, which knows two kinds of x86.
pub(crate) fn architecture(name: &str) -> &str {
    match name {
        "i386" | "i486" | "i586" | "i686" | "x86" | "athlon" | "linux32" => "i686",
        "x86_64" | "amd64" | "linux64" => "x86_64",
        other => other,
    }
}

/// Reads `NAME=VALUE`, or `NAME` for the value that the caller has.
pub(crate) fn variable(text: &str) -> Option<(String, Option<String>)> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    (!name.is_empty()).then(|| (name.to_owned(), value.map(str::to_owned)))
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Fatal,
}

const LEVELS: [(&str, LogLevel); 9] = [
    ("TRACE", LogLevel::Trace),
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("NOTICE", LogLevel::Notice),
    ("WARN", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("CRIT", LogLevel::Crit),
    ("ALERT", LogLevel::Alert),
    ("FATAL", LogLevel::Fatal),
];

impl LogLevel {
    /// Reads a level's name in either case, or its number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let named = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let found = named.or_else(|| text.parse::<usize>().ok().and_then(|number| LEVELS.get(number)));
        found.map(|(_, level)| *level)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = LEVELS.iter().find(|(_, level)| level == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_lxc_would_refuse_are_found() {
        for (word, good) in
            [("sys_time", true), ("12", true), ("sys_admn", false), ("SYS_TIME", false), ("99", false)]
        {
            assert_eq!(is_capability(word), good, "{word}");
        }
        assert_eq!(
            (namespace("net"), namespace("mount"), namespace("nett")),
            (Some("net"), Some("mnt"), None)
        );
        for (text, level) in [
            ("WARN", Some("WARN")),
            ("debug", Some("DEBUG")),
            ("3", Some("NOTICE")),
            ("9", None),
            ("WARNING", None),
        ] {
            assert_eq!(LogLevel::parse(text).map(|level| level.to_string()).as_deref(), level, "{text}");
        }
        assert_eq!((facility("LOCAL0"), facility("local8")), (Some("local0"), None));
    }
}
