//! Addresses as a configuration writes them: with a prefix, with a broadcast address, as gateways.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
}

impl Subnet {
    /// Returns an address alone: a network of one.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: bits(address) }
    }

    /// Returns whether `other` is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let shift = u32::from(bits(self.address)).saturating_sub(u32::from(self.prefix));
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }

    /// Returns the network's broadcast address, if it has one.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(own) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Some(Ipv4Addr::from_bits(own.to_bits() | hosts))
            }
            _ => None,
        }
    }

    /// Returns the network's own address.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        let shift = u32::from(bits(self.address)).saturating_sub(u32::from(self.prefix));
        match self.address {
            IpAddr::V4(own) => {
                IpAddr::V4(Ipv4Addr::from_bits(own.to_bits() & u32::MAX.checked_shl(shift).unwrap_or(0)))
            }
            IpAddr::V6(own) => {
                IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() & u128::MAX.checked_shl(shift).unwrap_or(0)))
            }
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads `ADDRESS[/PREFIX]`. Without a prefix an IPv4 address has that of its class and an IPv6 address 64, as LXC has it.
    fn from_str(text: &str) -> Result<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let read = || {
            let address: IpAddr = address.parse().ok()?;
            let prefix = match prefix {
                // `parse` alone would take `+24`.
                Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
                Some(_) => return None,
                None => usual_prefix(address),
            };
            (prefix <= bits(address)).then_some(Self { address, prefix })
        };
        read().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not an address"))
                .with_hint("write `10.0.3.7/24` or `fd00::7/64`")
        })
    }
}

fn usual_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(_) => 64,
        IpAddr::V4(address) => match address.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            _ => 32,
        },
    }
}

/// An address that an interface gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address in its network.
    pub subnet: Subnet,
    /// The broadcast address, where it is not the network's last.
    pub broadcast: Option<Ipv4Addr>,
}

impl FromStr for Address {
    type Err = Error;

    /// Reads `ADDRESS[/PREFIX] [BROADCAST]`.
    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let subnet: Subnet = words.next().unwrap_or_default().parse()?;
        let broadcast = words.next().map(str::parse).transpose().ok();
        match (broadcast, words.next()) {
            (Some(broadcast), None) if broadcast.is_none() || subnet.address.is_ipv4() => {
                Ok(Self { subnet, broadcast })
            }
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not an address"))
                .with_hint("write `10.0.3.7/24` or `10.0.3.7/24 10.0.3.255`")),
        }
    }
}

/// Through what a container reaches the rest of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Gateway {
    /// This address.
    Address(IpAddr),
    /// The first address that the interface `link` of the host has.
    Auto,
    /// The interface itself: everybody is a neighbour.
    Device,
}

impl FromStr for Gateway {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            ("dev", _) => Ok(Self::Device),
            (_, Ok(address)) => Ok(Self::Address(address)),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a gateway"))
                .with_hint("write an address, `auto` for that of the bridge, or `dev`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_left_out_is_that_of_lxc() {
        for (text, shown) in [
            ("10.0.3.7/24", "10.0.3.7/24"),
            ("10.0.3.7", "10.0.3.7/8"),
            ("172.16.0.1", "172.16.0.1/16"),
            ("192.168.1.1", "192.168.1.1/24"),
            ("fd00::1", "fd00::1/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), shown);
        }
        for bad in ["", "10.0.3", "10.0.3.7/33", "10.0.3.7/", "10.0.3.7/+2", "fd00::1/129", "x/8"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broadcast_address_is_the_networks_last_unless_said() {
        let address: Address = "10.0.3.7/24 10.0.3.99".parse().unwrap();
        assert_eq!(address.broadcast, Some(Ipv4Addr::new(10, 0, 3, 99)));
        for (text, broadcast) in
            [("10.0.3.7/24", Some("10.0.3.255")), ("10.0.3.7/32", None), ("fd00::1", None)]
        {
            let subnet: Subnet = text.parse().unwrap();
            assert_eq!(subnet.broadcast().map(|address| address.to_string()).as_deref(), broadcast, "{text}");
        }
        for bad in ["10.0.3.7/24 x", "10.0.3.7 10.0.3.255 10.0.3.255", "fd00::1 10.0.3.255"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn gateways_are_addresses_or_two_words() {
        assert_eq!("auto".parse::<Gateway>().unwrap(), Gateway::Auto);
        assert_eq!("dev".parse::<Gateway>().unwrap(), Gateway::Device);
        assert!(matches!("fe80::1".parse().unwrap(), Gateway::Address(IpAddr::V6(_))));
        assert!("10.0.3.1/24".parse::<Gateway>().is_err());
    }

    proptest! {
        #[test]
        fn a_network_contains_its_own_and_broadcast_addresses(bits: u32, prefix in 0_u8..=32) {
            let subnet = Subnet { address: Ipv4Addr::from_bits(bits).into(), prefix };
            prop_assert!(subnet.contains(subnet.network()));
            prop_assert!(subnet.broadcast().is_none_or(|last| subnet.contains(last.into())));
            prop_assert_eq!(subnet.to_string().parse::<Subnet>().unwrap(), subnet);
        }

        #[test]
        fn a_network_of_version_6_contains_its_own_address(bits: u128, prefix in 0_u8..=128) {
            let subnet = Subnet { address: Ipv6Addr::from_bits(bits).into(), prefix };
            prop_assert!(subnet.contains(subnet.network()));
            prop_assert!(!subnet.contains(Ipv4Addr::UNSPECIFIED.into()));
        }

        #[test]
        fn no_text_breaks_the_parsers(text in "[0-9a-f.:/ +x-]{0,30}") {
            drop(text.parse::<Subnet>());
            drop(text.parse::<Address>());
            drop(text.parse::<Gateway>());
        }
    }
}
