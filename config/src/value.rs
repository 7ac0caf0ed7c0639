//! What values look like, key by key: a parser a kind, and the text that LXC writes for what was parsed.
//!
//! What LXC refuses when it loads a file is refused here. Beyond that, values are refused that LXC lets through and then fails
//! on at the start of the container, or cuts off without a word. Printing a [`Value`] and parsing it again gives the same value.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::Flag;

mod ids;
mod mounts;
mod network;
mod number;
mod signal;
mod words;

pub use ids::{IdKind, IdMap};
pub use mounts::{Access, AutoMount, CgroupTree, Force};
pub use network::{Gateway, HardwareAddress, InterfaceAddress, Subnet, VlanId};
pub use number::{BufferSize, Limit, TimeOffset};
pub use signal::Signal;
pub use words::LogLevel;

pub(crate) use number::parse_number;
pub(crate) use signal::parse_signal;
pub(crate) use words::{LIMITS, NAMESPACES, architecture};

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
    /// The name of an architecture.
    Architecture,
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
    /// The place of a socket: `unix:/PATH` or `unix:@NAME`.
    Socket,
    /// Mount options with commas between.
    RootOptions,
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

/// A value that has the form of its key. Its [`Display`](fmt::Display) is a text that parses to the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// What is text to the kernel or to a program as well: names, paths, commands, words out of a list.
    Text(String),
    /// On or off.
    Flag(Flag),
    /// A number that is not negative.
    Number(u64),
    /// A number.
    SignedNumber(i32),
    /// A signal.
    Signal(Signal),
    /// The size of a ring buffer or of a log.
    Size(BufferSize),
    /// Words: groups, capabilities, namespaces by their short names.
    Words(Vec<String>),
    /// Standard mounts.
    AutoMounts(Vec<AutoMount>),
    /// A range of ids.
    IdMap(IdMap),
    /// A variable, with the value that it gets or as the caller has it.
    Environment(String, Option<String>),
    /// Numbers of groups.
    Groups(Vec<u32>),
    /// A resource limit.
    Limit(Limit),
    /// How far a clock is off.
    TimeOffset(TimeOffset),
    /// How much is logged.
    LogLevel(LogLevel),
    /// A hardware address, perhaps a template for one.
    HardwareAddress(HardwareAddress),
    /// An address of an interface.
    Ipv4(InterfaceAddress),
    /// An address or a route.
    Ipv4Subnet(Subnet<Ipv4Addr>),
    /// An address or a route.
    Ipv6Subnet(Subnet<Ipv6Addr>),
    /// Where packets go that are for nobody here.
    Ipv4Gateway(Gateway<Ipv4Addr>),
    /// The same.
    Ipv6Gateway(Gateway<Ipv6Addr>),
    /// A VLAN, or none.
    Vlan(VlanId),
}

/// What is wrong with a value, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    /// The byte of the value at which it begins.
    pub(crate) at: usize,
}

impl ValueKind {
    /// Reads a value that is not empty; the error says what it should be.
    pub(crate) fn parse(self, value: &str) -> Result<Value, Wrong> {
        if let Some(at) = value.find(|c: char| c.is_control() && c != '\t') {
            return Err(Wrong { message: format!("`{}` has a control character in it", shown(value)), at });
        }
        if let Some((at, word)) = self.wrong_word(value) {
            return Err(Wrong { message: format!("`{}` is not {}", shown(word), self.expected()), at });
        }
        let message = || format!("`{}` is not {}", shown(value), self.expected());
        self.read(value).ok_or_else(|| Wrong { message: message(), at: 0 })
    }

    /// Returns the first word of a list of words that is none of those it may be, with its place.
    fn wrong_word(self, value: &str) -> Option<(usize, &str)> {
        let is_good: fn(&str) -> bool = match self {
            Self::Capabilities => words::is_capability,
            Self::CapabilitiesOrNone => |word| word == "none" || words::is_capability(word),
            Self::Namespaces => |word| words::namespace(word).is_some(),
            Self::AutoMounts => |word| AutoMount::parse(word).is_some(),
            _ => return None,
        };
        words_with_places(value).find(|(_, word)| !is_good(word))
    }

    fn read(self, value: &str) -> Option<Value> {
        let text = |is_good: bool| is_good.then(|| Value::Text(value.to_owned()));
        match self {
            Self::Text | Self::Path => text(true),
            Self::PathInside => text(!value.starts_with('/') && value.split('/').all(|part| part != "..")),
            Self::PathComponent => text(!matches!(value, "." | "..") && !value.contains('/')),
            Self::OneOf(words) => text(words.contains(&value)),
            Self::Architecture => text(words::ARCHITECTURES.contains(&value)),
            Self::Mount => text(mounts::is_entry(value)),
            Self::HostName => text(value.len() <= HOST_NAME_MAX),
            Self::Interface => text(network::is_interface(value)),
            Self::Socket => {
                text(value.strip_prefix("unix:").is_some_and(|rest| rest.starts_with(['/', '@'])))
            }
            Self::RootOptions => text(mounts::are_root_options(value)),
            Self::Facility => words::facility(value).map(|name| Value::Text(name.to_owned())),
            Self::Words | Self::Capabilities | Self::CapabilitiesOrNone => {
                Some(Value::Words(value.split_whitespace().map(str::to_owned).collect()))
            }
            Self::Namespaces => {
                let names: Option<Vec<_>> = value.split_whitespace().map(words::namespace).collect();
                Some(Value::Words(names?.into_iter().map(str::to_owned).collect()))
            }
            Self::AutoMounts => {
                value.split_whitespace().map(AutoMount::parse).collect::<Option<_>>().map(Value::AutoMounts)
            }
            _ => self.read_number(value).or_else(|| self.read_address(value)),
        }
    }

    fn read_number(self, value: &str) -> Option<Value> {
        match self {
            Self::Flag => Flag::from_number(parse_number(value)?).map(Value::Flag),
            Self::Number => {
                parse_number(value).filter(|number| u32::try_from(*number).is_ok()).map(Value::Number)
            }
            Self::LongNumber => parse_number(value).map(Value::Number),
            Self::SignedNumber => value.parse().ok().map(Value::SignedNumber),
            Self::Signal => parse_signal(value).map(Value::Signal),
            Self::Size => BufferSize::parse(value).map(Value::Size),
            Self::IdMap => IdMap::parse(value).map(Value::IdMap),
            Self::Groups => ids::parse_groups(value).map(Value::Groups),
            Self::Limit => Limit::parse(value).map(Value::Limit),
            Self::TimeOffset => TimeOffset::parse(value).map(Value::TimeOffset),
            Self::LogLevel => LogLevel::parse(value).map(Value::LogLevel),
            Self::Environment => words::variable(value).map(|(name, value)| Value::Environment(name, value)),
            _ => None,
        }
    }

    fn read_address(self, value: &str) -> Option<Value> {
        match self {
            Self::HardwareAddress => HardwareAddress::parse(value).map(Value::HardwareAddress),
            Self::Ipv4 => InterfaceAddress::parse(value).map(Value::Ipv4),
            Self::Ipv6 => Subnet::parse_ipv6(value).map(Value::Ipv6Subnet),
            Self::Ipv4Route => Subnet::parse_route(value, 32).map(Value::Ipv4Subnet),
            Self::Ipv6Route => Subnet::parse_route(value, 128).map(Value::Ipv6Subnet),
            Self::Ipv4Gateway => Gateway::parse(value).map(Value::Ipv4Gateway),
            Self::Ipv6Gateway => Gateway::parse(value).map(Value::Ipv6Gateway),
            Self::VlanOrNone if value == "none" => Some(Value::Vlan(VlanId::None)),
            Self::Vlan | Self::VlanOrNone => VlanId::parse(value).map(Value::Vlan),
            _ => None,
        }
    }

    /// Returns what a value of this kind is, as messages say it.
    #[must_use]
    pub fn expected(self) -> String {
        let what = match self {
            Self::OneOf(words) => return format!("one of {}", words.join(", ")),
            Self::Architecture => return format!("one of {}", words::ARCHITECTURES.join(", ")),
            Self::Text | Self::Words => "a value",
            Self::Path => "a path",
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
            Self::Socket => "a socket: `unix:/PATH` or `unix:@NAME`",
            Self::RootOptions => "a list of mount options; `idmap=` takes `container` or a path",
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Environment(text, None) => f.write_str(text),
            Self::Flag(flag) => write!(f, "{}", u8::from(*flag == Flag::On)),
            Self::Number(number) => write!(f, "{number}"),
            Self::SignedNumber(number) => write!(f, "{number}"),
            Self::Signal(signal) => write!(f, "{}", signal.0),
            Self::Size(size) => write!(f, "{size}"),
            Self::Words(words) => f.write_str(&words.join(" ")),
            Self::AutoMounts(mounts) => f.write_str(&joined(mounts, " ")),
            Self::IdMap(map) => write!(f, "{map}"),
            Self::Environment(name, Some(value)) => write!(f, "{name}={value}"),
            Self::Groups(groups) => f.write_str(&joined(groups, ",")),
            Self::Limit(limit) => write!(f, "{limit}"),
            Self::TimeOffset(offset) => write!(f, "{offset}"),
            Self::LogLevel(level) => write!(f, "{level}"),
            Self::HardwareAddress(address) => write!(f, "{address}"),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv4Subnet(subnet) => write!(f, "{subnet}"),
            Self::Ipv6Subnet(subnet) => write!(f, "{subnet}"),
            Self::Ipv4Gateway(gateway) => write!(f, "{gateway}"),
            Self::Ipv6Gateway(gateway) => write!(f, "{gateway}"),
            Self::Vlan(vlan) => write!(f, "{vlan}"),
        }
    }
}

fn joined<T: ToString>(items: &[T], between: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

/// Returns the words of a text, each with the byte at which it begins.
fn words_with_places(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + text[rest..].find(|c: char| !c.is_whitespace())?;
        let end = text[begin..].find(char::is_whitespace).map_or(text.len(), |length| begin + length);
        rest = end;
        Some((begin, &text[begin..end]))
    })
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

#[cfg(test)]
mod tests;
