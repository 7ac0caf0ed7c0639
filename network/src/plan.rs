//! Deciding everything about a container's interfaces before the first of them exists.
//!
//! [`Facts`] are read once from the host; [`plan`] is a pure function of them and of what was wanted. What comes out has no open end:
//! names, numbers of interfaces, gateways as addresses and routes in their order. So a caller can write down what it is about to
//! make before it makes it, and the first process can configure from its copy of memory without hearing from anybody.

mod facts;
mod names;
mod routes;

use std::net::IpAddr;

use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

pub use facts::Facts;
pub use routes::Route;

use crate::address::{Address, Subnet};
use crate::hardware::HardwareAddress;
use crate::lent::Lent;
use crate::name::InterfaceName;
use crate::netlink::Link;
use crate::nic::{
    IpvlanIsolation, IpvlanMode, Kind, MacvlanMode, Neighbours, Nic, PortVlan, Power, Veth, VethMode,
};

/// An interface about which everything is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its number in the configuration.
    pub number: u32,
    /// How it comes to be.
    pub making: Making,
    /// Its name inside.
    pub inside: InterfaceName,
    /// Its hardware address inside, if it was chosen.
    pub hardware: Option<HardwareAddress>,
    /// The largest packet, if it was chosen.
    pub mtu: Option<u32>,
    /// Whether it is switched on.
    pub power: Power,
    /// Its addresses inside.
    pub addresses: Vec<Address>,
    /// Its routes inside, each reachable through those before it.
    pub routes: Vec<Route>,
    /// What an interface of the host answers for.
    pub announced: Option<Announced>,
}

/// How an interface comes to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Making {
    /// As one end of a pair.
    Pair(Pair),
    /// On an interface of the host.
    Above(Above),
    /// It exists and is lent.
    Lent(Lent),
}

/// A pair whose other end stays on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The name of the host's end.
    pub host: InterfaceName,
    /// Its hardware address.
    pub hardware: HardwareAddress,
    /// The number of the bridge that it is a port of.
    pub bridge: Option<u32>,
    /// What it lets through as a port.
    pub vlan: PortVlan,
    /// What the host reaches through it.
    pub routes: Vec<Subnet>,
    /// The addresses that the host answers for on it.
    pub answers_for: Vec<IpAddr>,
    /// How many queues receive.
    pub receive_queues: Option<u32>,
    /// How many queues send.
    pub transmit_queues: Option<u32>,
}

/// An interface on an interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// The number of the interface of the host.
    pub link: u32,
    /// Its name.
    pub link_name: String,
    /// What is made.
    pub layer: Layer,
}

/// What is made on an interface of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// A macvlan.
    Macvlan(MacvlanMode),
    /// An ipvlan.
    Ipvlan(IpvlanMode, IpvlanIsolation),
    /// A tagged network.
    Vlan(u16),
}

/// Addresses of the container that an interface of the host answers for, so that its neighbours find them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The number of the interface.
    pub link: u32,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

impl Planned {
    /// Returns the name of what it is on the host: the end of a pair, or lent hardware.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        match &self.making {
            Making::Pair(pair) => Some(pair.host.as_str()),
            Making::Lent(lent) => Some(lent.home.as_str()),
            Making::Above(_) => None,
        }
    }
}

/// Decides what is left open about the interfaces of a container.
///
/// # Behavior
/// `empty` and `none` come to nothing: whether a container has a namespace of its own is the caller's to decide. An interface
/// that nobody named gets the first free `ethN`, lent hardware keeps its name.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a bridge or interface that the host lacks, [`ErrorKind::InvalidArgument`] for what contradicts
/// itself, [`ErrorKind::Unavailable`] for what the host must be set up for. All name the interface as `lxc.net.N`.
pub fn plan(nics: &[Nic], facts: &Facts) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for nic in nics {
        let one = decide(nic, facts);
        planned.extend(
            one.map_err(|error| error.while_doing(format!("cannot prepare `lxc.net.{}`", nic.number)))?,
        );
    }
    names::assign(planned)
}

/// An interface whose name inside may still be open.
struct Draft {
    planned: Planned,
    is_named: bool,
}

fn decide(nic: &Nic, facts: &Facts) -> Result<Vec<Draft>> {
    let made = |making, mtu| finish(nic, facts, making, mtu).map(|draft| vec![draft]);
    let above = |link: &InterfaceName, layer| {
        let link = facts.link(link.as_str())?;
        made(Making::Above(Above { link: link.index, link_name: link.name.clone(), layer }), nic.mtu)
    };
    match &nic.kind {
        Kind::Empty | Kind::Host => Ok(Vec::new()),
        Kind::Veth(veth) => {
            let (pair, mtu) = pair(nic, veth, facts)?;
            made(Making::Pair(pair), mtu)
        }
        Kind::Macvlan { link, mode } => above(link, Layer::Macvlan(*mode)),
        Kind::Ipvlan { link, mode, isolation } => above(link, Layer::Ipvlan(*mode, *isolation)),
        Kind::Vlan { link, id } => above(link, Layer::Vlan(*id)),
        Kind::Physical { link } => {
            let lent = facts.matching(link)?.into_iter().map(|link| {
                let draft = finish(nic, facts, Making::Lent(Lent::of(nic.number, link)?), nic.mtu)?;
                Ok(draft)
            });
            lent.collect()
        }
    }
}

fn finish(nic: &Nic, facts: &Facts, making: Making, mtu: Option<u32>) -> Result<Draft> {
    let name = match &making {
        // Several that match one pattern keep their names: one name is for one interface.
        Making::Lent(lent) if facts.is_pattern(nic) => Some(lent.home.clone()),
        Making::Lent(lent) => Some(nic.name.clone().unwrap_or_else(|| lent.home.clone())),
        _ => nic.name.clone(),
    };
    let planned = Planned {
        number: nic.number,
        inside: name.clone().unwrap_or_else(|| InterfaceName::ethernet(0)),
        hardware: nic.hardware,
        mtu,
        power: nic.power,
        addresses: nic.addresses.clone(),
        routes: routes::inside(nic, facts)?,
        announced: announced(nic, facts)?,
        making,
    };
    Ok(Draft { planned, is_named: name.is_some() })
}

fn pair(nic: &Nic, veth: &Veth, facts: &Facts) -> Result<(Pair, Option<u32>)> {
    let bridge = match (&veth.link, veth.mode) {
        (Some(link), VethMode::Bridge) => Some(bridge(facts.link(link.as_str())?, &veth.vlan)?),
        _ => None,
    };
    let mut pair = Pair {
        host: veth.pair.clone().map_or_else(InterfaceName::random_pair, Ok)?,
        hardware: HardwareAddress::random_of_port()?,
        bridge: bridge.map(|bridge| bridge.index),
        vlan: veth.vlan.clone(),
        routes: veth.routes.clone(),
        answers_for: Vec::new(),
        receive_queues: veth.receive_queues,
        transmit_queues: veth.transmit_queues,
    };
    if veth.mode == VethMode::Router {
        pair.answers_for = routes::gateways(nic, facts)?;
        let own = nic.addresses.iter().map(|address| Subnet::host(address.subnet.address));
        pair.routes = own.chain(veth.routes.iter().copied()).collect();
    }
    Ok((pair, nic.mtu.or(bridge.map(|bridge| bridge.mtu))))
}

fn bridge<'a>(link: &'a Link, vlan: &PortVlan) -> Result<&'a Link> {
    let name = &link.name;
    match link.kind.as_deref() {
        Some("bridge") if vlan.is_set() && !link.filters_vlans => Err(Error::new(
            ErrorKind::Unavailable,
            format!("the bridge `{name}` does not tell VLANs apart"),
        )
        .with_hint(format!("run `ip link set {name} type bridge vlan_filtering 1`, or remove lxc.net.N.veth.vlan.*"))),
        Some("bridge") => Ok(link),
        Some("openvswitch") => Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{name}` is a bridge of Open vSwitch; keiki connects to bridges of the kernel"),
        )),
        _ => Err(Error::new(ErrorKind::InvalidArgument, format!("`{name}` is not a bridge")).with_hint(
            "name a bridge in lxc.net.N.link, or write `lxc.net.N.veth.mode = router` or `lxc.net.N.type = macvlan`",
        )),
    }
}

fn announced(nic: &Nic, facts: &Facts) -> Result<Option<Announced>> {
    if nic.neighbours == Neighbours::Alone {
        return Ok(None);
    }
    let link = match &nic.kind {
        Kind::Veth(Veth { link: Some(link), .. }) | Kind::Ipvlan { link, .. } => facts.link(link.as_str())?,
        kind => {
            let message = format!("lxc.net.N.l2proxy means nothing for `{}` without a link", kind.as_str());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    };
    let addresses: Vec<IpAddr> = nic.addresses.iter().map(|address| address.subnet.address).collect();
    facts.check_proxying(&link.name, &addresses)?;
    Ok(Some(Announced { link: link.index, addresses }))
}

#[cfg(test)]
mod tests;
