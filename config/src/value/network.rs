//! Values of interfaces: names, addresses, routes, VLANs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of an interface that the kernel takes; LXC cuts longer ones off.
const NAME_MAX: usize = 15;

/// Returns whether this can be an interface's name. `phys` takes a prefix and `+` as well.
pub(crate) fn is_interface(value: &str) -> bool {
    value.len() <= NAME_MAX && !matches!(value, "." | "..") && !value.contains(['/', ':', ' ', '\t'])
}

/// Six bytes in hexadecimal digits; an `x` stands for one that is to be random.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareAddress(String);

impl HardwareAddress {
    /// Reads `00:16:3e:xx:xx:xx`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |digit: u8| digit.is_ascii_hexdigit() || matches!(digit, b'x' | b'X');
        let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(is_digit);
        let is_good = text.split(':').count() == 6 && text.split(':').all(pair);
        is_good.then(|| Self(text.to_owned()))
    }

    /// Returns whether digits are to be filled in.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.0.contains(['x', 'X'])
    }

    /// Returns the address with random digits in the place of each `x`; never one of a group.
    #[must_use]
    pub fn filled(&self) -> Self {
        // A hasher's keys are random for each map; that is all that is needed for an address.
        let random = RandomState::new().hash_one(&self.0);
        let digit = |(at, c): (usize, char)| {
            if !matches!(c, 'x' | 'X') {
                return c;
            }
            let nibble = u32::try_from(random >> (at % 16 * 4) & 0xf).unwrap_or_default();
            // The lowest bit of the first byte means a group.
            let nibble = if at == 1 { nibble & 0xe } else { nibble };
            char::from_digit(nibble, 16).unwrap_or('0')
        };
        Self(self.0.chars().enumerate().map(digit).collect())
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address of version 4 with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Address and network.
    pub subnet: Subnet<Ipv4Addr>,
    /// The address of everybody there, where it is given.
    pub broadcast: Option<Ipv4Addr>,
}

impl InterfaceAddress {
    /// Reads `ADDRESS[/PREFIX] [BROADCAST]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let subnet = Subnet::parse_ipv4(words.next()?)?;
        let broadcast = match words.next() {
            Some(word) => Some(word.parse().ok()?),
            None => None,
        };
        words.next().is_none().then_some(Self { subnet, broadcast })
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subnet)?;
        self.broadcast.map_or(Ok(()), |broadcast| write!(f, " {broadcast}"))
    }
}

/// An address and how many of its bits are those of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet<A> {
    /// The address.
    pub address: A,
    /// The number of bits.
    pub prefix: u8,
}

impl Subnet<Ipv4Addr> {
    /// Reads `ADDRESS[/PREFIX]`; without a prefix the class of the address says it.
    ///
    /// So LXC's manual has it. LXC 5 and older look at the wrong end of the address and take the class of its last byte.
    fn parse_ipv4(text: &str) -> Option<Self> {
        if text.contains('/') {
            return Self::parse_route(text, 32);
        }
        let address: Ipv4Addr = text.parse().ok()?;
        let prefix = match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            192..224 => 24,
            _ => 32,
        };
        Some(Self { address, prefix })
    }
}

impl Subnet<Ipv6Addr> {
    /// Reads `ADDRESS[/PREFIX]`; without a prefix it is 64.
    pub(crate) fn parse_ipv6(text: &str) -> Option<Self> {
        if text.contains('/') {
            return Self::parse_route(text, 128);
        }
        text.parse().ok().map(|address| Self { address, prefix: 64 })
    }
}

impl<A: FromStr> Subnet<A> {
    /// Reads `ADDRESS/PREFIX`.
    pub(crate) fn parse_route(text: &str, bits: u8) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits)?;
        Some(Self { address: address.parse().ok()?, prefix })
    }
}

impl<A: fmt::Display> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where packets go that are for nobody here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway<A> {
    /// To the first address of the link on the host.
    Auto,
    /// Out of the interface, to nobody in particular.
    Device,
    /// To this address.
    Address(A),
}

impl<A: FromStr> Gateway<A> {
    /// Reads an address, `auto` or `dev`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "dev" => Some(Self::Device),
            address => address.parse().ok().map(Self::Address),
        }
    }
}

impl<A: fmt::Display> fmt::Display for Gateway<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Device => f.write_str("dev"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// A VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanId {
    /// None, not even the one of the bridge.
    None,
    /// This one.
    Id(u16),
}

impl VlanId {
    /// The last number; 4095 is the standard's own.
    const LAST: u16 = 4094;

    /// Reads a number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number <= Self::LAST).map(Self::Id)
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Id(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_as_lxc_documents_them() {
        for (value, text) in [
            ("10.0.0.1", Some("10.0.0.1/8")),
            ("172.16.0.3", Some("172.16.0.3/16")),
            ("192.168.0.1", Some("192.168.0.1/24")),
            ("10.0.0.1/24", Some("10.0.0.1/24")),
            ("10.0.0.1/24 10.0.0.255", Some("10.0.0.1/24 10.0.0.255")),
            ("10.0.0.1/24 x", None),
            ("10.0.0.1/24 10.0.0.255 x", None),
            ("10.0.0.1/99", None),
            ("10.0.0.1/", None),
            ("x", None),
            ("", None),
        ] {
            let read = InterfaceAddress::parse(value).map(|address| address.to_string());
            assert_eq!(read.as_deref(), text, "{value}");
        }
        for (value, text) in [
            ("fd00::1", Some("fd00::1/64")),
            ("FD00:0::2/48", Some("fd00::2/48")),
            ("fd00::1/200", None),
            ("10.0.0.1", None),
        ] {
            assert_eq!(
                Subnet::parse_ipv6(value).map(|subnet| subnet.to_string()).as_deref(),
                text,
                "{value}"
            );
        }
        let route = |text| Subnet::<Ipv4Addr>::parse_route(text, 32);
        assert!(route("10.0.0.1/32").is_some() && route("10.0.0.1").is_none());
        assert_eq!(Gateway::<Ipv4Addr>::parse("auto"), Some(Gateway::Auto));
        assert_eq!(Gateway::<Ipv4Addr>::parse("fd00::1"), None);
        assert!(is_interface("phys+") && !is_interface("this_name_is_too_long"));
        assert_eq!(VlanId::parse("4094"), Some(VlanId::Id(4094)));
        assert!(VlanId::parse("4095").is_none() && VlanId::parse("none").is_none());
    }

    #[test]
    fn hardware_addresses_have_six_pairs() {
        for (text, good) in [
            ("00:16:3e:xx:Xx:0F", true),
            ("00:16:3e:xx:xx", false),
            ("00:16:3e:xx:xx:xx:xx", false),
            ("00-16-3e-01-02-03", false),
            ("00:16:3e:1:02:03", false),
            ("00:16:3e:0g:02:03", false),
        ] {
            assert_eq!(HardwareAddress::parse(text).is_some(), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_filled_template_keeps_its_digits_and_is_never_a_group(text in "([0-9a-fxX]{2}:){5}[0-9a-fxX]{2}") {
            let template = HardwareAddress::parse(&text).unwrap();
            let filled = template.filled();
            prop_assert!(!filled.is_template());
            prop_assert_eq!(HardwareAddress::parse(&filled.0), Some(filled.clone()));
            for (at, (before, after)) in text.chars().zip(filled.0.chars()).enumerate() {
                let is_open = matches!(before, 'x' | 'X');
                prop_assert!(is_open || before == after);
                prop_assert!(at != 1 || !is_open || after.to_digit(16).unwrap() % 2 == 0);
            }
        }
    }
}
