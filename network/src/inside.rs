//! Configuring an interface from inside its namespace: addresses, power, routes, in this order.
//!
//! It needs a socket and nothing else: no path is opened, no name of the container's tree resolved.

use std::net::IpAddr;

use keiki_core::{Error, ErrorKind, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::address::Address;
use crate::netlink::{Rtnetlink, numbered};
use crate::nic::Power;
use crate::plan::{Making, Planned, Route};

/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;

/// Gives an interface that [`crate::create`] made its addresses, switches it on, and sets its routes.
///
/// # Requires
/// A socket that was opened in the container's namespace, and `CAP_NET_ADMIN` over it.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the interface is not there; else what the kernel says, in its words.
pub fn configure(network: &mut Rtnetlink, nic: &Planned) -> Result<()> {
    configure_found(network, nic).map_err(|error| {
        error.while_doing(format!("cannot configure the interface `{}` (lxc.net.{})", nic.inside, nic.number))
    })
}

fn configure_found(network: &mut Rtnetlink, nic: &Planned) -> Result<()> {
    let link = network.link(nic.inside.as_str())?;
    let index =
        link.ok_or_else(|| Error::new(ErrorKind::NotFound, "it is not in the container's namespace"))?.index;
    if matches!(nic.making, Making::Lent(_)) {
        adapt(network, index, nic)?;
    }
    for address in &nic.addresses {
        add_address(network, index, address)?;
    }
    if nic.power == Power::On {
        switch_on(network, index)?;
    }
    for route in &nic.routes {
        add_route(network, index, route)?;
    }
    Ok(())
}

/// Switches the loopback interface on.
///
/// # Errors
/// What the kernel says.
pub fn raise_loopback(network: &mut Rtnetlink) -> Result<()> {
    switch_on(network, LOOPBACK)
}

/// What was made had these from the beginning; what was lent gets them now.
fn adapt(network: &mut Rtnetlink, index: u32, nic: &Planned) -> Result<()> {
    let mut message = numbered(index);
    message.attributes.extend(nic.hardware.map(|address| LinkAttribute::Address(address.octets().to_vec())));
    message.attributes.extend(nic.mtu.map(LinkAttribute::Mtu));
    if message.attributes.is_empty() {
        return Ok(());
    }
    network
        .set(message)
        .map_err(|refusal| refusal.into_error("cannot set its hardware address and packet size"))
}

pub(crate) fn switch_on(network: &mut Rtnetlink, index: u32) -> Result<()> {
    let mut message = numbered(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    network.set(message).map_err(|refusal| refusal.into_error("cannot switch the interface on"))
}

pub(crate) fn add_address(network: &mut Rtnetlink, index: u32, address: &Address) -> Result<()> {
    let own = address.subnet.address;
    let mut message = AddressMessage::default();
    message.header.family = family(own);
    message.header.prefix_len = address.subnet.prefix;
    message.header.index = index;
    message.attributes.extend([AddressAttribute::Local(own), AddressAttribute::Address(own)]);
    let broadcast = address.broadcast.or_else(|| address.subnet.broadcast());
    message.attributes.extend(broadcast.map(AddressAttribute::Broadcast));
    network
        .request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|refusal| refusal.into_error(format!("cannot add the address `{}`", address.subnet)))
}

pub(crate) fn add_route(network: &mut Rtnetlink, index: u32, route: &Route) -> Result<()> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.address);
    message.header.destination_prefix_length = route.to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    if route.to.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(route.to.address.into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    message.attributes.push(RouteAttribute::Oif(index));
    let shown = || match route.via {
        Some(via) => format!("cannot add the route to `{}` through `{via}`", route.to),
        None => format!("cannot add the route to `{}`", route.to),
    };
    network
        .request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|refusal| refusal.into_error(shown()))
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
