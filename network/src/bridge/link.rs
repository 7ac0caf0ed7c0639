//! The bridge itself.
//!
//! It is made under a name that nobody else has, then marked and given its name in one message: killed in between, there is no
//! unmarked bridge of that name that would look like a stranger's.

use std::net::IpAddr;

use keiki_core::{Result, ResultExt};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use rustix::io::Errno;

use super::{Settings, is_wanted};
use crate::address::Address;
use crate::inside::{add_address, family, switch_on};
use crate::netlink::{Rtnetlink, named, numbered};

/// What a bridge in the making is called; only who holds the lock makes one.
const MAKING: &str = "keiki-making";

/// Makes the bridge unless it is there, and returns its number.
pub(super) fn ensure(network: &mut Rtnetlink, settings: &Settings) -> Result<u32> {
    if let Some(link) = network.link(settings.bridge.as_str())? {
        return Ok(link.index);
    }
    let cannot = || format!("cannot make the bridge `{}`", settings.bridge);
    if let Some(left) = network.link(MAKING)? {
        network.delete(left.index).map_err(|refusal| refusal.into_error(cannot()))?;
    }
    let mut message = named(MAKING);
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    network
        .request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|refusal| refusal.into_error(cannot()))?;
    let index = network.link(MAKING)?.map_or(0, |link| link.index);
    let mut message = numbered(index);
    message.attributes.push(LinkAttribute::IfName(settings.bridge.to_string()));
    message.attributes.push(LinkAttribute::IfAlias(settings.mark()?.to_string()));
    network.set(message).map_err(|refusal| refusal.into_error(cannot()))?;
    Ok(index)
}

/// Gives the bridge its addresses and no others, and switches it on.
pub(super) fn configure(network: &mut Rtnetlink, index: u32, settings: &Settings) -> Result<()> {
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{}", settings.bridge);
    if settings.ipv6.is_some() {
        // Nobody else has the address: dnsmasq can listen on it at once. And its own announcements are not for itself.
        for setting in ["accept_dad", "autoconf"] {
            let path = format!("{ipv6}/{setting}");
            std::fs::write(&path, "0").or_err(|| format!("cannot write `{path}`"))?;
        }
    }
    if let Some(hardware) = settings.hardware {
        let mut message = numbered(index);
        message.attributes.push(LinkAttribute::Address(hardware.octets().to_vec()));
        network.set(message).map_err(|refusal| {
            refusal.into_error(format!("cannot give the bridge the address `{hardware}`"))
        })?;
    }
    let present: Vec<(IpAddr, u8)> = network
        .addresses()?
        .into_iter()
        .filter(|(own, ..)| *own == index)
        .map(|(_, address, prefix)| (address, prefix))
        .collect();
    for (address, prefix) in &present {
        let is_the_kernels = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if !is_the_kernels && !is_wanted(settings, *address, *prefix) {
            remove_address(network, index, *address, *prefix)?;
        }
    }
    for subnet in settings.addresses() {
        if !present.contains(&(subnet.address, subnet.prefix)) {
            add_address(network, index, &Address { subnet, broadcast: None })?;
        }
    }
    switch_on(network, index)
}

fn remove_address(network: &mut Rtnetlink, index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    match network.request(RouteNetlinkMessage::DelAddress(message), 0) {
        Err(refusal) if refusal.errno() != Some(Errno::ADDRNOTAVAIL) => {
            Err(refusal.into_error(format!("cannot remove the address `{address}`")))
        }
        _ => Ok(()),
    }
}

/// Removes the bridge; its ports are disconnected.
pub(super) fn remove(network: &mut Rtnetlink, settings: &Settings) -> Result<()> {
    for name in [MAKING, settings.bridge.as_str()] {
        let Some(link) = network.link(name)? else { continue };
        network
            .delete(link.index)
            .map_err(|refusal| refusal.into_error(format!("cannot remove the bridge `{name}`")))?;
    }
    Ok(())
}
