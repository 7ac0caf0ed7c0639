//! Mounts: lines as in fstab, and the words of `lxc.mount.auto`.

use std::fmt;

/// Returns whether this is a line of fstab: a source, a target and a type at least, and words of LXC's own that it knows.
pub(crate) fn is_entry(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let mut options = fields.get(3).copied().unwrap_or_default().split(',');
    let is_known =
        |option: &str| option.strip_prefix("create=").is_none_or(|what| matches!(what, "dir" | "file"));
    fields.len() >= 3 && options.all(is_known)
}

/// Returns whether these are options of a root filesystem: `idmap=` takes `container`, or the path of a user namespace.
pub(crate) fn are_root_options(text: &str) -> bool {
    let is_good = |option: &str| {
        option.strip_prefix("idmap=").is_none_or(|map| map == "container" || map.starts_with('/'))
    };
    text.split(',').all(is_good)
}

/// One word of `lxc.mount.auto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutoMount {
    /// `/proc`.
    Proc(Access),
    /// `/sys`.
    Sys(Access),
    /// `/sys/fs/cgroup`.
    Cgroup {
        /// How much of the tree: `cgroup`, `cgroup-full` or `cgroup2`.
        tree: CgroupTree,
        /// How it may be used; `None` where the capabilities decide.
        access: Option<Access>,
        /// Whether it is mounted where a cgroup namespace would do.
        force: Force,
    },
    /// A directory of the host through which mounts reach a running container.
    SharedMounts {
        /// On the host.
        host: String,
        /// Inside; LXC takes `/dev/.lxc-mounts` without one.
        container: Option<String>,
    },
}

/// How a standard mount may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// As far as is safe.
    Mixed,
    /// Read and written.
    ReadWrite,
}

/// How much of the tree of cgroups is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupTree {
    /// The container's own.
    Own,
    /// All of it.
    Full,
    /// Version 2 only.
    Two,
}

/// Whether something is done where it is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl AutoMount {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let (name, how) = word.split_once(':').map_or((word, None), |(name, how)| (name, Some(how)));
        let tree = match name {
            "proc" if how == Some("ro") => return None,
            "proc" => return access(how.unwrap_or("mixed")).map(Self::Proc),
            "sys" => return access(how.unwrap_or("mixed")).map(Self::Sys),
            "shmounts" => return Some(shared_mounts(how?)),
            "cgroup" => CgroupTree::Own,
            "cgroup-full" => CgroupTree::Full,
            "cgroup2" => CgroupTree::Two,
            _ => return None,
        };
        let (how, force) = match how {
            Some("force") => (None, Force::Yes),
            Some(how) => {
                how.strip_suffix(":force").map_or((Some(how), Force::No), |how| (Some(how), Force::Yes))
            }
            None => (None, Force::No),
        };
        let access = match how {
            None => None,
            Some(how) => Some(access(how)?),
        };
        Some(Self::Cgroup { tree, access, force })
    }

    /// Returns whether the other one would be mounted at the same place: the later one counts.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

fn access(word: &str) -> Option<Access> {
    match word {
        "ro" => Some(Access::ReadOnly),
        "mixed" => Some(Access::Mixed),
        "rw" => Some(Access::ReadWrite),
        _ => None,
    }
}

fn shared_mounts(places: &str) -> AutoMount {
    let (host, container) =
        places.split_once(':').map_or((places, None), |(host, inside)| (host, Some(inside)));
    AutoMount::SharedMounts { host: host.to_owned(), container: container.map(str::to_owned) }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "ro",
            Self::Mixed => "mixed",
            Self::ReadWrite => "rw",
        })
    }
}

impl fmt::Display for AutoMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proc(access) => write!(f, "proc:{access}"),
            Self::Sys(access) => write!(f, "sys:{access}"),
            Self::Cgroup { tree, access, force } => {
                f.write_str(match tree {
                    CgroupTree::Own => "cgroup",
                    CgroupTree::Full => "cgroup-full",
                    CgroupTree::Two => "cgroup2",
                })?;
                if let Some(access) = access {
                    write!(f, ":{access}")?;
                }
                f.write_str(if *force == Force::Yes { ":force" } else { "" })
            }
            Self::SharedMounts { host, container: None } => write!(f, "shmounts:{host}"),
            Self::SharedMounts { host, container: Some(container) } => {
                write!(f, "shmounts:{host}:{container}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words and texts were compared with LXC 5.0.2, which prints nothing for `:force`, `cgroup2` and `shmounts`.
    #[test]
    fn words_are_read_and_written_as_lxc_does() {
        for (word, text) in [
            ("proc", Some("proc:mixed")),
            ("proc:rw", Some("proc:rw")),
            ("proc:ro", None),
            ("sys", Some("sys:mixed")),
            ("sys:ro", Some("sys:ro")),
            ("sys:rw:force", None),
            ("cgroup", Some("cgroup")),
            ("cgroup:mixed:force", Some("cgroup:mixed:force")),
            ("cgroup:force", Some("cgroup:force")),
            ("cgroup:force:ro", None),
            ("cgroup:force:force", None),
            ("cgroup-full:rw", Some("cgroup-full:rw")),
            ("cgroup2:ro:force", Some("cgroup2:ro:force")),
            ("shmounts", None),
            ("shmounts:", Some("shmounts:")),
            ("shmounts:/a:/b", Some("shmounts:/a:/b")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(AutoMount::parse(word).map(|mount| mount.to_string()).as_deref(), text, "{word}");
        }
    }

    #[test]
    fn entries_need_three_fields_and_know_what_they_create() {
        for (text, good) in [
            ("/lib lib none ro,bind 0 0", true),
            ("a b c", true),
            ("a b", false),
            ("/a b none bind,create=dir", true),
            ("/a b none bind,create=tree", false),
        ] {
            assert_eq!(is_entry(text), good, "{text}");
        }
        assert!(are_root_options("ro,idmap=container") && are_root_options("idmap=/proc/1/ns/user"));
        assert!(!are_root_options("ro,idmap=x"));
    }
}
