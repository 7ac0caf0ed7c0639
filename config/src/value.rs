//! What values look like, key by key, and how they are checked.
//!
//! What LXC refuses when it loads a file is refused here. Beyond that, values are refused that LXC lets through and then fails
//! on at the start of the container, or cuts off without a word.

use std::net::{Ipv4Addr, Ipv6Addr};

use keiki_core::units::Bytes;

mod network;
mod signal;
mod words;

pub use signal::Signal;

pub(crate) use signal::parse_signal;
pub(crate) use words::{LIMITS, NAMESPACES};

/// The longest host name of the kernel.
const HOST_NAME_MAX: usize = 64;

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Anything in one line.
    Text,
    /// A path; absolute where LXC demands it is the reader's business.
    Path,
    /// A path below something that is not named: relative and without `..`.
    PathInside,
    /// One component of a path.
    PathComponent,
    /// `0` or `1`.
    Flag,
    /// A whole number of 32 bits, not negative: decimal, `0x…`, or octal after a `0`.
    Number,
    /// As [`Self::Number`], of 64 bits.
    LongNumber,
    /// A whole number with or without a sign.
    SignedNumber,
    /// A signal's name or number: `SIGPWR`, `SIGRTMIN+3`, `9`.
    Signal,
    /// A size with a unit, or `auto`.
    Size,
    /// Words with blanks between.
    Words,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An fstab line: at least a source, a target and a type.
    Mount,
    /// Words for standard mounts: `proc:mixed`.
    AutoMounts,
    /// `u|g NSID HOSTID RANGE`.
    IdMap,
    /// `NAME=VALUE` or `NAME`.
    Environment,
    /// Capabilities by name or number.
    Capabilities,
    /// The same, or `none`.
    CapabilitiesOrNone,
    /// Namespaces by name.
    Namespaces,
    /// Numbers of groups with commas between.
    Groups,
    /// `SOFT[:HARD]`, each a number or `unlimited`.
    Limit,
    /// A number with one of h, m, s, ms, us, ns.
    TimeOffset,
    /// A log level by name or number.
    LogLevel,
    /// A facility of syslog.
    Facility,
    /// A name that the kernel takes for a host.
    HostName,
    /// The name of an interface.
    Interface,
    /// A hardware address; `x` stands for a random digit.
    HardwareAddress,
    /// `ADDRESS[/PREFIX] [BROADCAST]`.
    Ipv4,
    /// `ADDRESS[/PREFIX]`.
    Ipv6,
    /// `ADDRESS/PREFIX`.
    Ipv4Route,
    /// `ADDRESS/PREFIX`.
    Ipv6Route,
    /// An address, `auto` or `dev`.
    Ipv4Gateway,
    /// An address, `auto` or `dev`.
    Ipv6Gateway,
    /// The number of a VLAN.
    Vlan,
    /// The same, or `none`.
    VlanOrNone,
}

impl ValueKind {
    /// Checks a value; the error says what it should be.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(format!("`{}` has a control character in it", shown(value)));
        }
        let unknown = match self {
            Self::Capabilities => words::unknown_capability(value),
            Self::CapabilitiesOrNone if value == "none" => None,
            Self::CapabilitiesOrNone => words::unknown_capability(value),
            Self::Namespaces => words::unknown_namespace(value),
            Self::AutoMounts => words::unknown_mount(value),
            _ if self.is_met_by(value) => None,
            _ => Some(value),
        };
        unknown.map_or(Ok(()), |wrong| Err(format!("`{}` is not {}", shown(wrong), self.expected())))
    }

    fn is_met_by(self, value: &str) -> bool {
        match self {
            Self::Text | Self::Path | Self::Words => true,
            Self::Capabilities | Self::CapabilitiesOrNone | Self::Namespaces | Self::AutoMounts => true,
            Self::PathInside => !value.starts_with('/') && value.split('/').all(|part| part != ".."),
            Self::PathComponent => !matches!(value, "." | "..") && !value.contains('/'),
            Self::Flag => parse_number(value).is_some_and(|number| number < 2),
            Self::Number => parse_number(value).is_some_and(|number| u32::try_from(number).is_ok()),
            Self::LongNumber => parse_number(value).is_some(),
            Self::SignedNumber => value.parse::<i32>().is_ok(),
            Self::Signal => parse_signal(value).is_some(),
            Self::Size => value == "auto" || value.parse::<Bytes>().is_ok(),
            Self::OneOf(words) => words.contains(&value),
            Self::Mount => value.split_whitespace().count() >= 3,
            Self::IdMap => is_id_map(value),
            Self::Environment => !value.starts_with('='),
            Self::Groups => is_group_list(value),
            Self::Limit => is_limit(value),
            Self::TimeOffset => is_time_offset(value),
            Self::LogLevel => words::is_level(value),
            Self::Facility => words::is_facility(value),
            Self::HostName => value.len() <= HOST_NAME_MAX,
            Self::Interface => network::is_interface(value),
            Self::HardwareAddress => network::is_hardware_address(value),
            Self::Ipv4 => network::is_ipv4(value),
            Self::Ipv6 => network::is_ipv6(value),
            Self::Ipv4Route => network::is_ipv4_route(value),
            Self::Ipv6Route => network::is_ipv6_route(value),
            Self::Ipv4Gateway => network::is_gateway::<Ipv4Addr>(value),
            Self::Ipv6Gateway => network::is_gateway::<Ipv6Addr>(value),
            Self::Vlan => network::is_vlan(value),
            Self::VlanOrNone => value == "none" || network::is_vlan(value),
        }
    }

    fn expected(self) -> String {
        let what = match self {
            Self::OneOf(words) => return format!("one of {}", words.join(", ")),
            Self::Text | Self::Path | Self::Words => "a value",
            Self::PathInside => "a relative path without `..`",
            Self::PathComponent => "one component of a path",
            Self::Flag => "0 or 1",
            Self::Number | Self::LongNumber | Self::SignedNumber => "a whole number",
            Self::Signal => "a signal",
            Self::Size => "a size",
            Self::Mount => "a mount: it needs a source, a target and a type",
            Self::AutoMounts => "a standard mount",
            Self::IdMap => "a mapping: `u|g NSID HOSTID RANGE`",
            Self::Environment => "a variable: `NAME=VALUE` or `NAME`",
            Self::Capabilities | Self::CapabilitiesOrNone => "a capability",
            Self::Namespaces => "a namespace",
            Self::Groups => "a list of group numbers",
            Self::Limit => "a limit: `SOFT[:HARD]`, each a number or `unlimited`",
            Self::TimeOffset => "a time: a number with h, m, s, ms, us or ns",
            Self::LogLevel => "a log level: trace, debug, info, notice, warn, error, crit, alert, fatal",
            Self::Facility => "a facility of syslog",
            Self::HostName => "a host name: 64 bytes at most",
            Self::Interface => "an interface name: 15 bytes at most",
            Self::HardwareAddress => "a hardware address",
            Self::Ipv4 | Self::Ipv6 => "an address: `ADDRESS/PREFIX`",
            Self::Ipv4Route | Self::Ipv6Route => "a route: `ADDRESS/PREFIX`",
            Self::Ipv4Gateway | Self::Ipv6Gateway => "an address, `auto` or `dev`",
            Self::Vlan | Self::VlanOrNone => "a VLAN: 0 to 4094",
        };
        what.to_owned()
    }
}

/// Returns text as it may stand in a message: short, and harmless on a terminal.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Reads a number as `strtoul` with base 0 does, as LXC reads its numbers.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return is_plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => {
            let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
            is_plain.then(|| u64::from_str_radix(digits, 8).ok()).flatten()
        }
        _ => text.parse().ok(),
    }
}

fn is_id_map(value: &str) -> bool {
    let fields: Vec<&str> = value.split_whitespace().collect();
    let [kind, inside, outside, range] = fields.as_slice() else { return false };
    let numbers = [inside, outside, range].map(|number| parse_number(number));
    let [Some(inside), Some(outside), Some(range)] = numbers else { return false };
    let fits = |first: u64| first.checked_add(range).is_some_and(|end| end <= 1 << 32);
    matches!(*kind, "u" | "g") && range > 0 && fits(inside) && fits(outside)
}

fn is_group_list(value: &str) -> bool {
    let value = value.strip_suffix(',').unwrap_or(value);
    value.split(',').all(|group| group.trim().parse::<u32>().is_ok())
}

fn is_limit(value: &str) -> bool {
    let one = |limit: &str| matches!(limit, "unlimited" | "-1") || limit.parse::<u64>().is_ok();
    match value.split_once(':') {
        None => one(value),
        Some((soft, hard)) => one(soft.trim()) && one(hard.trim()),
    }
}

fn is_time_offset(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let unit = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &digits[..digits.len() - unit.len()];
    number.parse::<i64>().is_ok() && matches!(unit.trim_start(), "h" | "m" | "s" | "ms" | "us" | "ns")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every answer here was compared with LXC 5.0.2 (`lxc-info -c KEY`), but those with a remark.
    const CHECKS: [(ValueKind, &str, bool); 61] = [
        (ValueKind::Flag, "1", true),
        (ValueKind::Flag, "01", true),
        (ValueKind::Flag, "2", false),
        (ValueKind::Flag, "yes", false),
        (ValueKind::Number, "12", true),
        (ValueKind::Number, "0x10", true),
        (ValueKind::Number, "+4", true),
        (ValueKind::Number, "-1", false),
        (ValueKind::Number, "08", false),
        (ValueKind::Number, "4x", false),
        (ValueKind::Number, "4294967296", false),
        (ValueKind::SignedNumber, "-5", true),
        (ValueKind::SignedNumber, "x", false),
        (ValueKind::Size, "auto", true),
        (ValueKind::Size, "2MB", true),
        (ValueKind::Size, "much", false),
        (ValueKind::Mount, "/lib lib none ro,bind 0 0", true),
        // LXC takes it and fails at the start.
        (ValueKind::Mount, "/lib", false),
        (ValueKind::IdMap, "u 0 100000 65536", true),
        (ValueKind::IdMap, "u 0x0 100000 65536", true),
        (ValueKind::IdMap, "b 0 100000 65536", false),
        (ValueKind::IdMap, "u 0 100000", false),
        (ValueKind::IdMap, "u 0 100000 65536 x", false),
        // The kernel refuses these two at the start.
        (ValueKind::IdMap, "u 0 100000 0", false),
        (ValueKind::IdMap, "u 0 4294967295 65536", false),
        (ValueKind::Environment, "A=b", true),
        (ValueKind::Environment, "A", true),
        // LXC takes it.
        (ValueKind::Environment, "=b", false),
        (ValueKind::OneOf(&["a", "b"]), "b", true),
        (ValueKind::OneOf(&["a", "b"]), "c", false),
        (ValueKind::PathInside, "a//b/./c", true),
        (ValueKind::PathInside, "/a", false),
        (ValueKind::PathInside, "../a", false),
        (ValueKind::PathComponent, "ab", true),
        (ValueKind::PathComponent, "a/b", false),
        (ValueKind::CapabilitiesOrNone, "none", true),
        (ValueKind::Capabilities, "none", false),
        (ValueKind::Capabilities, "sys_time 12", true),
        (ValueKind::Groups, "1, 2", true),
        (ValueKind::Groups, "1,", true),
        (ValueKind::Groups, "1 2", false),
        (ValueKind::Groups, "a", false),
        (ValueKind::Limit, "1024", true),
        (ValueKind::Limit, "1: 2", true),
        (ValueKind::Limit, "unlimited:1", true),
        (ValueKind::Limit, "-1", true),
        (ValueKind::Limit, "0x10", false),
        (ValueKind::TimeOffset, "1h", true),
        (ValueKind::TimeOffset, "1 h", true),
        (ValueKind::TimeOffset, "10ms", true),
        // Newer LXC takes a sign.
        (ValueKind::TimeOffset, "-1h", true),
        (ValueKind::TimeOffset, "10", false),
        (ValueKind::TimeOffset, "x", false),
        (ValueKind::LogLevel, "debug", true),
        (ValueKind::LogLevel, "WARNING", false),
        (ValueKind::Facility, "LOCAL0", true),
        (ValueKind::Signal, "sigpwr", true),
        (ValueKind::VlanOrNone, "none", true),
        (ValueKind::Vlan, "9999", false),
        (ValueKind::Text, "a\tb", true),
        (ValueKind::Text, "a\0b", false),
    ];

    #[test]
    fn values_are_checked_by_one_table() {
        for (kind, value, good) in CHECKS {
            assert_eq!(kind.check(value).is_ok(), good, "{kind:?} {value}");
        }
    }

    #[test]
    fn numbers_are_read_with_base_0() {
        for (text, number) in [
            ("0", Some(0)),
            ("16", Some(16)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0x", None),
            ("0x+1", None),
            ("0+1", None),
            ("", None),
            ("++1", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(parse_number(text), number, "{text}");
        }
    }

    #[test]
    fn a_message_is_short_and_harmless_on_a_terminal() {
        let told = ValueKind::Flag.check("\u{1b}[31mred").unwrap_err();
        assert_eq!(told, "`\\u{1b}[31mred` has a control character in it");
        assert!(ValueKind::Flag.check(&"9".repeat(1 << 20)).unwrap_err().len() < 300);
    }

    proptest! {
        #[test]
        fn no_value_makes_a_check_panic(value in "\\PC{0,40}|[0-9x:/.+ -]{0,40}") {
            for (kind, _, _) in CHECKS {
                let _checked = kind.check(&value);
            }
            let _words = (words::unknown_mount(&value), network::is_ipv4(&value), network::is_hardware_address(&value));
        }
    }
}
