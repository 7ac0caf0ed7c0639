//! The table of interfaces: what may follow `lxc.net.N.`, and for which types.

use super::{Key, family, list, scalar};
use crate::value::ValueKind::*;

/// `lxc.net.N` alone.
pub const NETWORK: Key = family("lxc.net.N", "one interface; can only be cleared");

/// What may follow `lxc.net.N.`.
pub const NETWORK_KEYS: [Key; 25] = [
    scalar("flags", Text, "any value: the interface goes up").example("up"),
    scalar("hwaddr", HardwareAddress, "its hardware address; x stands for a random digit")
        .example("00:16:3e:xx:xx:xx"),
    list("ipv4.address", Ipv4, "an address").example("10.0.3.5/24"),
    scalar("ipv4.gateway", Ipv4Gateway, "the gateway, `auto` or `dev`").example("auto"),
    list("ipv6.address", Ipv6, "an address").example("fd00:3::5/64"),
    scalar("ipv6.gateway", Ipv6Gateway, "the gateway, `auto` or `dev`").example("auto"),
    scalar("ipvlan.isolation", OneOf(&["bridge", "private", "vepa"]), "who may talk to whom")
        .or("bridge")
        .example("private"),
    scalar("ipvlan.mode", OneOf(&["l3", "l3s", "l2"]), "the layer").or("l3").example("l2"),
    scalar("l2proxy", Flag, "answer for its addresses on the link").or("0").example("1"),
    scalar("link", Interface, "the host interface or bridge").example("lxcbr0"),
    scalar("macvlan.mode", OneOf(&["private", "vepa", "bridge", "passthru"]), "who may talk to whom")
        .or("private")
        .example("bridge"),
    scalar("mtu", Number, "the largest packet").example("1500"),
    scalar("name", Interface, "its name inside").example("eth0"),
    scalar("script.down", Path, "a program that runs when it goes").example("/etc/lxc/down"),
    scalar("script.up", Path, "a program that runs when it comes").example("/etc/lxc/up"),
    scalar(
        "type",
        OneOf(&["veth", "vlan", "macvlan", "ipvlan", "phys", "empty", "none"]),
        "its kind; stands first",
    )
    .example("veth"),
    list("veth.ipv4.route", Ipv4Route, "a route to it").example("10.0.9.0/24"),
    list("veth.ipv6.route", Ipv6Route, "a route to it").example("fd00:9::/64"),
    scalar("veth.mode", OneOf(&["bridge", "router"]), "how it is connected").or("bridge").example("router"),
    scalar("veth.n_rxqueues", Number, "receive queues").example("2"),
    scalar("veth.n_txqueues", Number, "send queues").example("2"),
    scalar("veth.pair", Interface, "the name of the host end").example("web1-eth0"),
    scalar("veth.vlan.id", VlanOrNone, "the untagged VLAN, or `none`").or("0").example("20"),
    list("veth.vlan.tagged.id", Vlan, "a tagged VLAN").example("30"),
    scalar("vlan.id", Vlan, "the VLAN").or("0").example("100"),
];
