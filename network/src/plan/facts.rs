//! [`Facts`]: what a plan must know about the host.

use std::net::IpAddr;

use keiki_core::{Error, ErrorKind, Result};

use crate::address::Gateway;
use crate::netlink::{Link, Rtnetlink};
use crate::nic::{Kind, Neighbours, Nic};

/// What the host has that the interfaces of a container name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The interfaces that are named, or all, if one is named by a pattern.
    pub links: Vec<Link>,
    /// The addresses of all interfaces by their number, where a gateway depends on them.
    pub addresses: Vec<(u32, IpAddr, u8)>,
    /// The interfaces that may answer for others, with the word of the address family: `("eth0", "ipv4")`.
    pub proxies: Vec<(String, &'static str)>,
}

impl Facts {
    /// Asks the host, with one request for each interface that is named.
    ///
    /// # Errors
    /// What the kernel says; an interface that is missing is not an error yet.
    pub fn gather(network: &mut Rtnetlink, nics: &[Nic]) -> Result<Self> {
        let mut facts = Self::default();
        if nics.iter().any(|nic| facts.is_pattern(nic)) {
            facts.links = network.links()?;
        } else {
            for name in nics.iter().filter_map(link_of) {
                facts.links.extend(network.link(name)?);
            }
        }
        let is_auto = |gateway: Option<Gateway>| gateway == Some(Gateway::Auto);
        if nics.iter().any(|nic| is_auto(nic.gateways.v4) || is_auto(nic.gateways.v6)) {
            facts.addresses = network.addresses()?;
        }
        for name in nics.iter().filter(|nic| nic.neighbours == Neighbours::Proxied).filter_map(link_of) {
            let families = ["ipv4", "ipv6"].into_iter().filter(|family| may_answer(family, name));
            facts.proxies.extend(families.map(|family| (name.to_owned(), family)));
        }
        Ok(facts)
    }

    /// Returns whether an interface stands for all whose names begin alike.
    pub(super) fn is_pattern(&self, nic: &Nic) -> bool {
        matches!(&nic.kind, Kind::Physical { link } if link.ends_with('+'))
    }

    /// Returns an interface of the host.
    pub(super) fn link(&self, name: &str) -> Result<&Link> {
        self.links
            .iter()
            .find(|link| link.name == name || link.other_names.iter().any(|it| it == name))
            .ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("this host has no interface `{name}`"))
                    .with_hint("`ip link` lists them; `keiki net up` makes the bridge `lxcbr0`")
            })
    }

    /// Returns the interfaces that a name or pattern means.
    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<&Link>> {
        let Some(beginning) = pattern.strip_suffix('+') else { return Ok(vec![self.link(pattern)?]) };
        let found: Vec<&Link> = self.links.iter().filter(|link| link.name.starts_with(beginning)).collect();
        if found.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("this host has no interface whose name begins with `{beginning}`"),
            ));
        }
        Ok(found)
    }

    /// Returns the address that a bridge is reached by: one of more than its own link, if there is one.
    pub(super) fn first_address(&self, link: &Link, is_wanted: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let own =
            self.addresses.iter().filter(|(index, ..)| *index == link.index).map(|(_, address, _)| *address);
        let mut own: Vec<IpAddr> = own.filter(is_wanted).collect();
        own.sort_by_key(is_link_local);
        own.first().copied()
    }

    /// Checks that an interface may answer for addresses.
    pub(super) fn check_proxying(&self, link: &str, addresses: &[IpAddr]) -> Result<()> {
        for address in addresses {
            let (family, settings) = match address {
                IpAddr::V4(_) => ("ipv4", format!("net.ipv4.conf.{link}.forwarding=1")),
                IpAddr::V6(_) => {
                    ("ipv6", format!("net.ipv6.conf.{link}.proxy_ndp=1 net.ipv6.conf.{link}.forwarding=1"))
                }
            };
            if !self.proxies.iter().any(|(name, known)| name == link && *known == family) {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("`{link}` may not answer for `{address}`, which lxc.net.N.l2proxy needs"),
                )
                .with_hint(format!("run `sysctl -w {settings}`")));
            }
        }
        Ok(())
    }
}

/// Returns whether an address is valid on its link only.
pub(super) fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn link_of(nic: &Nic) -> Option<&str> {
    match &nic.kind {
        Kind::Veth(veth) => veth.link.as_ref().map(crate::InterfaceName::as_str),
        Kind::Macvlan { link, .. } | Kind::Ipvlan { link, .. } | Kind::Vlan { link, .. } => {
            Some(link.as_str())
        }
        Kind::Physical { link } => Some(link),
        Kind::Empty | Kind::Host => None,
    }
}

fn may_answer(family: &str, link: &str) -> bool {
    let is_on = |setting: &str| {
        let path = format!("/proc/sys/net/{family}/conf/{link}/{setting}");
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    };
    is_on("forwarding") && (family == "ipv4" || is_on("proxy_ndp"))
}
