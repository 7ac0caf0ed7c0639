//! Making an interface from the host's side, inside the container's namespace.
//!
//! One message makes it: a pair with its peer in the namespace, a port of its bridge, switched on; or a macvlan, ipvlan or VLAN that
//! is born there. The kernel drops a note in that message, so a second one marks the host's end. Killed between the two, a pair
//! is still gone with the namespace of its peer, whose first process dies with its maker.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use keiki_core::{Error, ErrorKind, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    AfSpecBridge, AfSpecInet6, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, In6AddrGenMode, InfoData,
    InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, IpVlanFlags, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, MacVlanMode,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::inside::{add_route, family};
use crate::lent;
use crate::mark::{Mark, Owner};
use crate::name::InterfaceName;
use crate::netlink::{Refusal, Rtnetlink, named, numbered};
use crate::nic::{IpvlanIsolation, IpvlanMode, MacvlanMode, PortVlan, Untagged};
use crate::plan::{Above, Announced, Layer, Making, Pair, Planned, Route};

/// The network that a port without a rule belongs to, until the bridge is told otherwise.
const DEFAULT_VLAN: u16 = 1;

/// Makes an interface in the namespace behind `namespace`, which `network`'s own namespace is the host of.
///
/// # Behavior
/// What it made of an interface that could not be finished is taken back. The interface is configured by [`crate::configure`].
///
/// # Requires
/// `CAP_NET_ADMIN` here and over the namespace.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when the name is taken, here or inside; [`ErrorKind::Unavailable`] when the kernel lacks the
/// kind of interface; else what the kernel says, in its words.
pub fn create(
    network: &mut Rtnetlink,
    nic: &Planned,
    owner: &Owner,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let made = match &nic.making {
        Making::Pair(pair) => make_pair(network, nic, pair, owner, namespace),
        Making::Above(above) => make_above(network, nic, above, namespace),
        Making::Lent(lent) => lent::lend(network, lent, owner, namespace, &nic.inside),
    };
    let made = made.and_then(|()| nic.announced.as_ref().map_or(Ok(()), |it| announce(network, it)));
    made.map_err(|error| {
        error.while_doing(format!("cannot make the interface `{}` (lxc.net.{})", nic.inside, nic.number))
    })
}

/// Takes back what an interface of the host answered for; done twice it does nothing.
///
/// # Errors
/// What the kernel says.
pub fn retract(network: &mut Rtnetlink, nic: &Planned) -> Result<()> {
    let Some(announced) = &nic.announced else { return Ok(()) };
    for address in &announced.addresses {
        let message = RouteNetlinkMessage::DelNeighbour(neighbour(announced.link, *address));
        match network.request(message, 0) {
            Ok(()) => {}
            Err(refusal) if matches!(refusal.errno(), Some(Errno::NOENT | Errno::NODEV)) => {}
            Err(refusal) => return Err(refusal.into_error(format!("cannot stop answering for `{address}`"))),
        }
    }
    Ok(())
}

fn make_pair(
    network: &mut Rtnetlink,
    nic: &Planned,
    pair: &Pair,
    owner: &Owner,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let made = network
        .request(RouteNetlinkMessage::NewLink(pair_message(nic, pair, namespace)), NLM_F_CREATE | NLM_F_EXCL);
    made.map_err(|refusal| not_made(refusal, "veth", &format!("cannot make the pair `{}`", pair.host)))?;
    let finished = finish_pair(network, pair, &Mark { owner: owner.clone(), number: nic.number, home: None });
    if finished.is_err()
        && let Some(link) = network.link(pair.host.as_str())?
    {
        network.delete(link.index).map_err(|refusal| refusal.into_error("cannot remove it again"))?;
    }
    finished
}

/// The host's end, a port of its bridge and switched on, and the peer in the namespace.
fn pair_message(nic: &Planned, pair: &Pair, namespace: BorrowedFd<'_>) -> LinkMessage {
    let queues = |message: &mut LinkMessage| {
        message.attributes.extend(nic.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(pair.receive_queues.map(LinkAttribute::NumRxQueues));
        message.attributes.extend(pair.transmit_queues.map(LinkAttribute::NumTxQueues));
    };
    let mut peer = born_inside(nic, namespace);
    queues(&mut peer);
    let mut message = named(pair.host.as_str());
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::Address(pair.hardware.octets().to_vec()));
    queues(&mut message);
    message.attributes.extend(pair.bridge.map(LinkAttribute::Controller));
    let data = InfoData::Veth(InfoVeth::Peer(peer));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
    message
}

/// An interface that comes to be in the namespace under its name.
fn born_inside(nic: &Planned, namespace: BorrowedFd<'_>) -> LinkMessage {
    let mut message = named(nic.inside.as_str());
    message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    message.attributes.extend(nic.hardware.map(|address| LinkAttribute::Address(address.octets().to_vec())));
    message
}

fn finish_pair(network: &mut Rtnetlink, pair: &Pair, mark: &Mark) -> Result<()> {
    let mut note = named(pair.host.as_str());
    note.attributes.push(LinkAttribute::IfAlias(mark.to_string()));
    if pair.bridge.is_some() && std::path::Path::new("/proc/sys/net/ipv6").exists() {
        // A port has no use for an address of its own.
        let quiet = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        note.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![quiet])]));
    }
    network
        .set(note)
        .map_err(|refusal| refusal.into_error(format!("cannot mark the interface `{}`", pair.host)))?;
    if !pair.vlan.is_set() && pair.routes.is_empty() && pair.answers_for.is_empty() {
        return Ok(());
    }
    let index = index_of(network, &pair.host)?;
    admit(network, index, &pair.vlan)?;
    for to in &pair.routes {
        let to = crate::address::Subnet { address: to.network(), ..*to };
        add_route(network, index, &Route { to, via: None })?;
    }
    announce(network, &Announced { link: index, addresses: pair.answers_for.clone() })
}

fn index_of(network: &mut Rtnetlink, name: &InterfaceName) -> Result<u32> {
    let link = network.link(name.as_str())?;
    link.map(|link| link.index)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the interface `{name}` is gone")))
}

/// Tells a bridge what a port lets through.
fn admit(network: &mut Rtnetlink, index: u32, vlan: &PortVlan) -> Result<()> {
    let request = |id: u16, flags| {
        let mut message = numbered(index);
        message.header.interface_family = AddressFamily::Bridge;
        let rule = AfSpecBridge::VlanInfo(BridgeVlanInfo { vid: id, flags });
        message.attributes.push(LinkAttribute::AfSpecBridge(vec![rule]));
        message
    };
    let refused =
        |refusal: Refusal, id: u16| refusal.into_error(format!("cannot change VLAN {id} of the port"));
    if vlan.untagged.is_some() {
        let message = RouteNetlinkMessage::DelLink(request(DEFAULT_VLAN, BridgeVlanInfoFlags::empty()));
        network.request(message, 0).map_err(|refusal| refused(refusal, DEFAULT_VLAN))?;
    }
    if let Some(Untagged::Network(id)) = vlan.untagged {
        let flags = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        network.set(request(id, flags)).map_err(|refusal| refused(refusal, id))?;
    }
    for id in &vlan.tagged {
        network.set(request(*id, BridgeVlanInfoFlags::empty())).map_err(|refusal| refused(refusal, *id))?;
    }
    Ok(())
}

fn announce(network: &mut Rtnetlink, announced: &Announced) -> Result<()> {
    for address in &announced.addresses {
        let message = RouteNetlinkMessage::NewNeighbour(neighbour(announced.link, *address));
        network
            .request(message, NLM_F_CREATE)
            .map_err(|refusal| refusal.into_error(format!("cannot answer for `{address}`")))?;
    }
    Ok(())
}

fn neighbour(link: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

fn make_above(
    network: &mut Rtnetlink,
    nic: &Planned,
    above: &Above,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let (kind, data) = layer(above.layer);
    let mut message = born_inside(nic, namespace);
    message.attributes.push(LinkAttribute::Link(above.link));
    message.attributes.extend(nic.mtu.map(LinkAttribute::Mtu));
    let word = kind.to_string();
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    let made = network.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
    made.map_err(|refusal| {
        not_made(refusal, &word, &format!("cannot make a {word} on `{}`", above.link_name))
    })
}

fn layer(layer: Layer) -> (InfoKind, InfoData) {
    match layer {
        Layer::Macvlan(mode) => {
            let mode = match mode {
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::PassThrough => MacVlanMode::Passthrough,
            };
            (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]))
        }
        Layer::Ipvlan(mode, isolation) => {
            let mode = match mode {
                IpvlanMode::L2 => netlink_packet_route::link::IpVlanMode::L2,
                IpvlanMode::L3 => netlink_packet_route::link::IpVlanMode::L3,
                IpvlanMode::L3S => netlink_packet_route::link::IpVlanMode::L3S,
            };
            let flags = match isolation {
                IpvlanIsolation::Bridge => IpVlanFlags::empty(),
                IpvlanIsolation::Private => IpVlanFlags::Private,
                IpvlanIsolation::Vepa => IpVlanFlags::Vepa,
            };
            (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)]))
        }
        Layer::Vlan(id) => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(id)])),
    }
}

/// The error of an interface that was not made; a kernel without its kind says so by `EOPNOTSUPP`.
fn not_made(refusal: Refusal, kind: &str, message: &str) -> Error {
    if refusal.errno() != Some(Errno::OPNOTSUPP) {
        return refusal.into_error(message);
    }
    let module = if kind == "vlan" { "8021q" } else { kind };
    Error::new(ErrorKind::Unavailable, message)
        .with_source(refusal)
        .with_hint(format!("run `modprobe {module}`: the kernel makes no {kind} interfaces without it"))
}
