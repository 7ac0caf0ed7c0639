//! Routes inside: the default ones, each behind the route that makes its gateway reachable.

use std::net::IpAddr;

use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::facts::{Facts, is_link_local};
use crate::address::{Gateway, Subnet};
use crate::nic::{Kind, Nic, Power};

/// A route through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub to: Subnet,
    /// Who passes packets on; `None` when everybody there is a neighbour.
    pub via: Option<IpAddr>,
}

/// Returns the routes that an interface needs inside.
pub(super) fn inside(nic: &Nic, facts: &Facts) -> Result<Vec<Route>> {
    let has_gateway = nic.gateways.v4.is_some() || nic.gateways.v6.is_some();
    if has_gateway && nic.power == Power::Off {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "an interface that is not switched on has no gateway",
        )
        .with_hint("write `lxc.net.N.flags = up`"));
    }
    let mut routes = Vec::new();
    for (gateway, everywhere) in [(nic.gateways.v4, "0.0.0.0/0"), (nic.gateways.v6, "::/0")] {
        let Some(gateway) = gateway else { continue };
        let to: Subnet = everywhere.parse()?;
        let via = resolve(nic, facts, gateway, to)?;
        // The kernel refuses a gateway that no route leads to.
        if let Some(via) = via
            && !is_reachable(nic, via)
        {
            routes.push(Route { to: Subnet::host(via), via: None });
        }
        routes.push(Route { to, via });
    }
    Ok(routes)
}

/// Returns the gateways that are addresses.
pub(super) fn gateways(nic: &Nic, facts: &Facts) -> Result<Vec<IpAddr>> {
    let routes = inside(nic, facts)?;
    Ok(routes.into_iter().filter_map(|route| route.via).collect())
}

fn is_reachable(nic: &Nic, gateway: IpAddr) -> bool {
    is_link_local(&gateway) && gateway.is_ipv6()
        || nic.addresses.iter().any(|address| address.subnet.contains(gateway))
}

fn resolve(nic: &Nic, facts: &Facts, gateway: Gateway, to: Subnet) -> Result<Option<IpAddr>> {
    let is_of_family = |address: &IpAddr| address.is_ipv4() == to.address.is_ipv4();
    match gateway {
        Gateway::Device => Ok(None),
        Gateway::Address(address) if is_of_family(&address) => Ok(Some(address)),
        Gateway::Address(address) => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("`{address}` is of the other address family")))
        }
        Gateway::Auto => {
            let name = match &nic.kind {
                Kind::Veth(veth) => veth.link.as_ref(),
                Kind::Macvlan { link, .. } | Kind::Ipvlan { link, .. } | Kind::Vlan { link, .. } => {
                    Some(link)
                }
                Kind::Physical { .. } | Kind::Empty | Kind::Host => None,
            };
            let name = name.ok_or_else(|| {
                Error::new(ErrorKind::InvalidArgument, "the gateway `auto` needs lxc.net.N.link")
            })?;
            let found = facts.first_address(facts.link(name.as_str())?, is_of_family);
            found.map(Some).ok_or_else(|| {
                let family = if to.address.is_ipv4() { "IPv4" } else { "IPv6" };
                Error::new(
                    ErrorKind::NotFound,
                    format!("`{name}` has no {family} address that could be the gateway"),
                )
                .with_hint(format!("run `ip address add ADDRESS/PREFIX dev {name}`, or name the gateway"))
            })
        }
    }
}
