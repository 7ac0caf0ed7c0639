//! Values that are words of a fixed vocabulary: capabilities, namespaces, standard mounts, log levels.

use keiki_sys::caps::NAMES;

/// Namespaces by the names that LXC takes.
pub(crate) const NAMESPACES: [&str; 8] = ["mnt", "pid", "uts", "ipc", "user", "net", "cgroup", "time"];
/// Longer names that newer LXC takes as well.
const NAMESPACES_LONG: [&str; 3] = ["mount", "utsname", "network"];

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

const LEVELS: [&str; 9] = ["trace", "debug", "info", "notice", "warn", "error", "crit", "alert", "fatal"];

const FACILITIES: [&str; 20] = [
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Returns the first word that is no capability. A misspelt one would otherwise stay with the container.
pub(crate) fn unknown_capability(value: &str) -> Option<&str> {
    value.split_whitespace().find(|word| {
        let number = word.parse::<usize>().is_ok_and(|number| number < NAMES.len());
        !number && !NAMES.contains(word)
    })
}

/// Returns the first word that is no namespace.
pub(crate) fn unknown_namespace(value: &str) -> Option<&str> {
    value.split_whitespace().find(|word| !NAMESPACES.contains(word) && !NAMESPACES_LONG.contains(word))
}

/// Returns the first word that is no standard mount.
pub(crate) fn unknown_mount(value: &str) -> Option<&str> {
    value.split_whitespace().find(|word| !is_mount(word))
}

fn is_mount(word: &str) -> bool {
    let (name, how) = word.split_once(':').map_or((word, None), |(name, how)| (name, Some(how)));
    match name {
        "proc" => matches!(how, None | Some("mixed" | "rw")),
        "sys" => matches!(how, None | Some("mixed" | "ro" | "rw")),
        "cgroup" | "cgroup-full" | "cgroup2" => {
            let how = how.map(|how| how.strip_suffix(":force").unwrap_or(how));
            matches!(how, None | Some("mixed" | "ro" | "rw" | "force"))
        }
        "shmounts" => how.is_some(),
        _ => false,
    }
}

/// Returns whether this is a log level's name or number.
pub(crate) fn is_level(value: &str) -> bool {
    LEVELS.contains(&value.to_ascii_lowercase().as_str())
        || value.parse::<usize>().is_ok_and(|number| number < LEVELS.len())
}

/// Returns whether this is a facility of syslog.
pub(crate) fn is_facility(value: &str) -> bool {
    FACILITIES.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_lxc_would_refuse_are_found() {
        for (value, wrong) in [
            ("sys_time mac_admin 12", None),
            ("sys_time sys_admn", Some("sys_admn")),
            ("SYS_TIME", Some("SYS_TIME")),
            ("99", Some("99")),
        ] {
            assert_eq!(unknown_capability(value), wrong, "{value}");
        }
        for (value, wrong) in [
            ("proc sys cgroup", None),
            ("proc:mixed sys:ro cgroup:mixed:force cgroup-full:force cgroup2:ro:force", None),
            ("shmounts: shmounts:/a shmounts:/a:/b", None),
            ("shmounts", Some("shmounts")),
            ("proc:ro", Some("proc:ro")),
            ("sys cgroup:force:ro", Some("cgroup:force:ro")),
        ] {
            assert_eq!(unknown_mount(value), wrong, "{value}");
        }
        assert_eq!(unknown_namespace("net pid nett"), Some("nett"));
        assert!(is_level("WARN") && is_level("8") && !is_level("9") && !is_level("WARNING"));
        assert!(is_facility("LOCAL0") && !is_facility("local8"));
    }
}
