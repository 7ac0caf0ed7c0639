//! Interfaces as the kernel tells them, and the few requests about them.

use std::net::IpAddr;

use keiki_core::Result;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, Prop,
};
use rustix::io::Errno;

use super::{Refusal, Rtnetlink};
use crate::hardware::HardwareAddress;

/// An interface, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Further names.
    pub other_names: Vec<String>,
    /// What somebody noted on it.
    pub alias: Option<String>,
    /// What made it (`veth`, `bridge`, `macvlan`, …); hardware has none.
    pub kind: Option<String>,
    /// The largest packet.
    pub mtu: u32,
    /// Its hardware address.
    pub hardware: Option<HardwareAddress>,
    /// The bridge that it is a port of.
    pub bridge: Option<u32>,
    /// The interface below it, or the other end of a pair.
    pub below: Option<u32>,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether a bridge tells VLANs apart.
    pub filters_vlans: bool,
}

/// Returns a request about the interface `name`.
pub(crate) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// Returns a request about the interface `index`.
pub(crate) fn numbered(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

impl Link {
    fn of(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            other_names: Vec::new(),
            alias: None,
            kind: None,
            mtu: 0,
            hardware: None,
            bridge: None,
            below: None,
            is_up: message.header.flags.contains(LinkFlags::Up),
            filters_vlans: false,
        };
        message.attributes.into_iter().for_each(|attribute| link.take(attribute));
        link
    }

    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::IfAlias(alias) => self.alias = Some(alias),
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            LinkAttribute::Address(bytes) => self.hardware = HardwareAddress::of(&bytes),
            LinkAttribute::Controller(index) => self.bridge = Some(index),
            LinkAttribute::Link(index) => self.below = Some(index),
            LinkAttribute::PropList(properties) => {
                self.other_names.extend(properties.into_iter().filter_map(|property| match property {
                    Prop::AltIfName(name) => Some(name),
                    _ => None,
                }))
            }
            LinkAttribute::LinkInfo(information) => {
                information.into_iter().for_each(|information| self.take_information(information));
            }
            _ => {}
        }
    }

    fn take_information(&mut self, information: LinkInfo) {
        match information {
            LinkInfo::Kind(InfoKind::Other(kind)) => self.kind = Some(kind),
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Bridge(data)) => {
                self.filters_vlans = data.contains(&InfoBridge::VlanFiltering(true));
            }
            _ => {}
        }
    }
}

fn without_statistics(mut message: LinkMessage) -> RouteNetlinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

impl Rtnetlink {
    /// Returns the interface `name`, if there is one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let answer = self.ask(without_statistics(named(name)));
        one(answer).map_err(|refusal| refusal.into_error(format!("cannot look for the interface `{name}`")))
    }

    /// Returns the interface number `index`, if there is one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn link_numbered(&mut self, index: u32) -> Result<Option<Link>> {
        let answer = self.ask(without_statistics(numbered(index)));
        one(answer).map_err(|refusal| refusal.into_error(format!("cannot look for interface number {index}")))
    }

    /// Returns all interfaces.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let answers = self
            .list(&without_statistics(LinkMessage::default()))
            .map_err(|refusal| refusal.into_error("cannot list the interfaces"))?;
        Ok(answers.into_iter().filter_map(link_of).collect())
    }

    /// Returns all addresses, each with the number of its interface, in the order in which they were given.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses(&mut self) -> Result<Vec<(u32, IpAddr, u8)>> {
        let answers = self
            .list(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .map_err(|refusal| refusal.into_error("cannot list the addresses"))?;
        Ok(answers.into_iter().filter_map(address_of).collect())
    }

    /// Removes an interface; one that is gone already is success.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn delete(&mut self, index: u32) -> Result<(), Refusal> {
        match self.request(RouteNetlinkMessage::DelLink(numbered(index)), 0) {
            Err(Refusal::Kernel { errno: Errno::NODEV, .. }) => Ok(()),
            other => other,
        }
    }

    /// Changes an interface.
    pub(crate) fn set(&mut self, message: LinkMessage) -> Result<(), Refusal> {
        self.request(RouteNetlinkMessage::SetLink(message), 0)
    }
}

fn one(answer: Result<Vec<RouteNetlinkMessage>, Refusal>) -> Result<Option<Link>, Refusal> {
    match answer {
        Ok(answers) => Ok(answers.into_iter().find_map(link_of)),
        Err(Refusal::Kernel { errno: Errno::NODEV, .. }) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn link_of(message: RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(Link::of(message)),
        _ => None,
    }
}

fn address_of(message: RouteNetlinkMessage) -> Option<(u32, IpAddr, u8)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // With a peer, `Local` is our end of it; IPv6 without one has only `Address`.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((message.header.index, local.or(any)?, message.header.prefix_len))
}
