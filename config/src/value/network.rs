//! Values of interfaces: names, addresses, routes, VLANs.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name of an interface that the kernel takes; LXC cuts longer ones off.
const NAME_MAX: usize = 15;

/// Returns whether this can be an interface's name. `phys` takes a prefix and `+` as well.
pub(crate) fn is_interface(value: &str) -> bool {
    value.len() <= NAME_MAX && !matches!(value, "." | "..") && !value.contains(['/', ':', ' ', '\t'])
}

/// Returns whether this is a hardware address, with `x` for digits that are to be random.
pub(crate) fn is_hardware_address(value: &str) -> bool {
    let pair = |pair: &str| {
        pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit() || matches!(digit, b'x' | b'X'))
    };
    value.split(':').count() == 6 && value.split(':').all(pair)
}

/// Returns whether this is `ADDRESS[/PREFIX] [BROADCAST]`.
pub(crate) fn is_ipv4(value: &str) -> bool {
    let mut words = value.split_whitespace();
    let address = words.next().is_some_and(|word| has_prefix::<Ipv4Addr>(word, 32, Prefix::Optional));
    let broadcast = words.next().is_none_or(|word| word.parse::<Ipv4Addr>().is_ok());
    address && broadcast && words.next().is_none()
}

/// Returns whether this is `ADDRESS[/PREFIX]`.
pub(crate) fn is_ipv6(value: &str) -> bool {
    has_prefix::<Ipv6Addr>(value, 128, Prefix::Optional)
}

/// Returns whether this is `ADDRESS/PREFIX`.
pub(crate) fn is_ipv4_route(value: &str) -> bool {
    has_prefix::<Ipv4Addr>(value, 32, Prefix::Required)
}

/// Returns whether this is `ADDRESS/PREFIX`.
pub(crate) fn is_ipv6_route(value: &str) -> bool {
    has_prefix::<Ipv6Addr>(value, 128, Prefix::Required)
}

/// Returns whether this is an address, `auto` or `dev`.
pub(crate) fn is_gateway<A: std::str::FromStr>(value: &str) -> bool {
    matches!(value, "auto" | "dev") || value.parse::<A>().is_ok()
}

/// Returns whether this is a VLAN's number.
pub(crate) fn is_vlan(value: &str) -> bool {
    value.parse::<u16>().is_ok_and(|number| number < 4095)
}

#[derive(Clone, Copy, PartialEq)]
enum Prefix {
    Optional,
    Required,
}

fn has_prefix<A: std::str::FromStr>(value: &str, bits: u8, prefix: Prefix) -> bool {
    match value.split_once('/') {
        None => prefix == Prefix::Optional && value.parse::<A>().is_ok(),
        Some((address, length)) => {
            address.parse::<A>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_lxc_reads_them() {
        for (value, good) in [
            ("10.0.0.1", true),
            ("10.0.0.1/24", true),
            ("10.0.0.1/24 10.0.0.255", true),
            ("10.0.0.1/24 x", false),
            ("10.0.0.1/99", false),
            ("x", false),
            ("", false),
        ] {
            assert_eq!(is_ipv4(value), good, "{value}");
        }
        assert!(is_ipv6("fd00::1") && is_ipv6("fd00::1/64") && !is_ipv6("fd00::1/200"));
        assert!(is_ipv4_route("10.0.0.1/32") && !is_ipv4_route("10.0.0.1"));
        assert!(is_gateway::<Ipv4Addr>("auto") && !is_gateway::<Ipv4Addr>("fd00::1"));
        assert!(is_hardware_address("00:16:3e:xx:Xx:0F") && !is_hardware_address("00:16:3e:xx:xx"));
        assert!(is_interface("phys+") && !is_interface("this_name_is_too_long"));
        assert!(is_vlan("4094") && !is_vlan("4095") && !is_vlan("none"));
    }
}
