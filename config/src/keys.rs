//! Every key of a container's configuration: its shape, the form of its value, what it is without one, what it means, and
//! whether keiki applies it. The one table that the parser, `get_keys`, the checks, completion and the reference read.
//!
//! Source: lxc.container.conf(5) of LXC 5 to 7.

mod interface;
mod renamed;
mod table;

use crate::value::{LIMITS, NAMESPACES, ValueKind};

pub use interface::{NETWORK, NETWORK_KEYS};
pub use renamed::{REMOVED, RENAMED, renamed};
pub use table::KEYS;

/// How often a key may occur and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The last one counts.
    Scalar,
    /// All count, in order; an empty value clears what came before.
    List,
    /// The name goes on with something of the kernel's: `lxc.sysctl.net.ipv4.ip_forward`. The last one of a name counts.
    Prefix,
    /// The same, and all of a name count, in order: a cgroup's file can be written to more than once.
    PrefixList,
    /// Every key below; takes no value but the empty one, which clears them.
    Family,
}

/// Who acts upon a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A start of the container.
    AtStart,
    /// Another verb, or the reading of the configuration itself.
    Elsewhere,
    /// Nobody yet, and a start warns of it.
    NotYet,
    /// Nobody yet, and a start would not: `keiki config check` tells.
    Unused,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name; of a prefix, up to and with the last point.
    pub name: &'static str,
    /// How often it may occur.
    pub shape: Shape,
    /// The form of its value.
    pub kind: ValueKind,
    /// What LXC says that it is where nobody sets it; empty for nothing.
    pub default: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
    /// A value that it takes; of a prefix, what the name may go on with and a value. Families have none.
    pub example: (&'static str, &'static str),
    /// Who acts upon it.
    pub applied: Applied,
}

const fn key(name: &'static str, shape: Shape, kind: ValueKind, doc: &'static str) -> Key {
    Key { name, shape, kind, default: "", doc, example: ("", ""), applied: Applied::AtStart }
}

const fn scalar(name: &'static str, kind: ValueKind, doc: &'static str) -> Key {
    key(name, Shape::Scalar, kind, doc)
}

const fn list(name: &'static str, kind: ValueKind, doc: &'static str) -> Key {
    key(name, Shape::List, kind, doc)
}

const fn prefix(name: &'static str, kind: ValueKind, doc: &'static str) -> Key {
    key(name, Shape::Prefix, kind, doc)
}

const fn prefix_list(name: &'static str, kind: ValueKind, doc: &'static str) -> Key {
    key(name, Shape::PrefixList, kind, doc)
}

const fn family(name: &'static str, doc: &'static str) -> Key {
    key(name, Shape::Family, ValueKind::Text, doc).applied(Applied::Elsewhere)
}

impl Key {
    const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn example(mut self, value: &'static str) -> Self {
        self.example = ("", value);
        self
    }

    const fn example_below(mut self, rest: &'static str, value: &'static str) -> Self {
        self.example = (rest, value);
        self
    }

    const fn applied(mut self, applied: Applied) -> Self {
        self.applied = applied;
        self
    }

    /// Returns whether the name goes on with something of the kernel's.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        matches!(self.shape, Shape::Prefix | Shape::PrefixList)
    }

    /// Returns whether all values count, and not only the last one.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.shape, Shape::List | Shape::PrefixList)
    }

    /// Returns the type of interfaces that an interface's key is for; `None` for those that all have.
    #[must_use]
    pub fn interface_type(&self) -> Option<&'static str> {
        let first = self.name.split('.').next().unwrap_or_default();
        ["veth", "macvlan", "ipvlan", "vlan"].into_iter().find(|special| *special == first)
    }
}

/// Returns the key called `name`, with the number of the interface where it belongs to one.
#[must_use]
pub fn find(name: &str) -> Option<(&'static Key, Option<u32>)> {
    if let Some(rest) = name.strip_prefix("lxc.net.") {
        return find_network(rest).map(|(number, key)| (key, Some(number)));
    }
    let exact = KEYS.iter().find(|key| !key.is_prefix() && key.name == name);
    let prefix = || {
        KEYS.iter().find(|key| {
            key.is_prefix() && name.strip_prefix(key.name).is_some_and(|rest| may_follow(key.name, rest))
        })
    };
    exact.or_else(prefix).map(|key| (key, None))
}

fn find_network(rest: &str) -> Option<(u32, &'static Key)> {
    let (number, rest) = rest.split_once('.').map_or((rest, None), |(number, rest)| (number, Some(rest)));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let key = match rest {
        None => &NETWORK,
        Some(rest) => NETWORK_KEYS.iter().find(|key| key.name == rest)?,
    };
    Some((number.parse().ok()?, key))
}

/// Returns whether a prefix may go on so. The rest becomes the path of a file of the kernel's, points read as slashes: it must not
/// leave its directory.
fn may_follow(prefix: &str, rest: &str) -> bool {
    match prefix {
        "lxc.namespace.share." => NAMESPACES.contains(&rest),
        "lxc.prlimit." => LIMITS.contains(&rest),
        _ => {
            rest.split(['.', '/']).all(|part| !part.is_empty())
                && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_key_once() {
        for table in [&KEYS[..], &NETWORK_KEYS[..]] {
            let bare = |key: &Key| key.name.trim_end_matches('.').to_owned();
            assert!(
                table.windows(2).all(|pair| bare(&pair[0]) <= bare(&pair[1]) && pair[0].name != pair[1].name)
            );
        }
    }

    #[test]
    fn keys_are_found_with_prefixes_and_interfaces() {
        for (name, found) in [
            ("lxc.uts.name", Some("lxc.uts.name")),
            ("lxc.cgroup.dir", Some("lxc.cgroup.dir")),
            ("lxc.cgroup.memory.limit_in_bytes", Some("lxc.cgroup.")),
            ("lxc.sysctl.net.ipv4.ip_forward", Some("lxc.sysctl.")),
            ("lxc.net.0.veth.pair", Some("veth.pair")),
            ("lxc.net", Some("lxc.net")),
            ("lxc.sysctl.", None),
            ("lxc.sysctl", Some("lxc.sysctl")),
            ("lxc.sysctl.net.ipv4.conf.eth0/1.forwarding", Some("lxc.sysctl.")),
            ("lxc.sysctl.../../x", None),
            ("lxc.proc./etc/shadow", None),
            ("lxc.proc.attr/current", Some("lxc.proc.")),
            ("lxc.cgroup2.a b", None),
            ("lxc.prlimit.nofile", Some("lxc.prlimit.")),
            ("lxc.prlimit.nofiles", None),
            ("lxc.namespace.share.net", Some("lxc.namespace.share.")),
            ("lxc.namespace.share.foo", None),
            ("lxc.net.3", Some("lxc.net.N")),
            ("lxc.net.+3.type", None),
            ("lxc.net..type", None),
            ("lxc.net.4294967296.type", None),
            ("lxc.net.x.type", None),
            ("lxc.net.0.nope", None),
            ("lxc.nope", None),
        ] {
            assert_eq!(find(name).map(|(key, _)| key.name), found, "{name}");
        }
    }

    #[test]
    fn old_names_lead_to_new_ones() {
        for (old, new) in [
            ("lxc.utsname", "lxc.uts.name"),
            ("lxc.limit.nofile", "lxc.prlimit.nofile"),
            ("lxc.network.type", "lxc.net.0.type"),
            ("lxc.network.1.ipv4", "lxc.net.1.ipv4.address"),
            ("lxc.network.macvlan.mode", "lxc.net.0.macvlan.mode"),
            ("lxc.network", "lxc.net"),
        ] {
            assert_eq!(renamed(old).as_deref(), Some(new));
        }
    }
}
