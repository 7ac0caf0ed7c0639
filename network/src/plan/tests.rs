use super::*;
use crate::address::Gateway;

fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
    Link {
        index,
        name: name.to_owned(),
        other_names: Vec::new(),
        alias: None,
        kind: kind.map(str::to_owned),
        mtu: 9000,
        hardware: None,
        bridge: None,
        below: None,
        is_up: true,
        filters_vlans: false,
    }
}

fn facts() -> Facts {
    Facts {
        links: vec![
            link(3, "lxcbr0", Some("bridge")),
            link(4, "enp1s0", None),
            link(5, "enp2s0", None),
            link(6, "ovs0", Some("openvswitch")),
        ],
        addresses: vec![
            (3, "fe80::1".parse().unwrap(), 64),
            (3, "10.0.3.1".parse().unwrap(), 24),
            (3, "fd00::1".parse().unwrap(), 64),
        ],
        proxies: vec![("enp1s0".to_owned(), "ipv4")],
    }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

fn veth(number: u32) -> Nic {
    let kind = Kind::Veth(Veth { link: Some(name("lxcbr0")), ..Veth::default() });
    Nic { power: Power::On, ..Nic::new(number, kind) }
}

fn failure(nic: Nic) -> Error {
    plan(&[nic], &facts()).unwrap_err()
}

#[test]
fn names_that_nobody_chose_are_the_first_free_ones() {
    let mut chosen = veth(1);
    chosen.name = Some(name("eth0"));
    let planned = plan(&[veth(0), chosen, veth(2)], &facts()).unwrap();
    let names: Vec<&str> = planned.iter().map(|nic| nic.inside.as_str()).collect();
    assert_eq!(names, ["eth1", "eth0", "eth2"]);
    let twice = Nic { name: Some(name("lan")), ..veth(0) };
    let error = plan(&[twice.clone(), twice], &facts()).unwrap_err();
    assert!(error.message().contains("`lan`"), "{error:?}");
}

#[test]
fn a_pair_takes_the_packet_size_of_its_bridge() {
    let [one] = plan(&[veth(0)], &facts()).unwrap().try_into().unwrap();
    let Making::Pair(pair) = &one.making else { panic!("{one:?}") };
    assert_eq!((pair.bridge, one.mtu), (Some(3), Some(9000)));
    assert_eq!(pair.hardware.octets()[0], 0xfe);
    let [small] = plan(&[Nic { mtu: Some(1400), ..veth(0) }], &facts()).unwrap().try_into().unwrap();
    assert_eq!(small.mtu, Some(1400));
}

#[test]
fn a_gateway_out_of_reach_gets_a_route_of_its_own_first() {
    let route = |to: &str, via: Option<&str>| Route {
        to: to.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
    };
    for (addresses, gateway, expected) in [
        (["10.0.3.7/24"].as_slice(), "10.0.3.1", vec![route("0.0.0.0/0", Some("10.0.3.1"))]),
        (
            &["10.0.3.7/32"],
            "10.0.3.1",
            vec![route("10.0.3.1/32", None), route("0.0.0.0/0", Some("10.0.3.1"))],
        ),
        (&[], "10.0.3.1", vec![route("10.0.3.1/32", None), route("0.0.0.0/0", Some("10.0.3.1"))]),
        (&["10.0.3.7/24"], "auto", vec![route("0.0.0.0/0", Some("10.0.3.1"))]),
        (&["10.0.3.7/24"], "dev", vec![route("0.0.0.0/0", None)]),
    ] {
        let mut nic = veth(0);
        nic.addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        nic.gateways.v4 = Some(gateway.parse().unwrap());
        assert_eq!(plan(&[nic], &facts()).unwrap()[0].routes, expected, "{addresses:?} {gateway}");
    }
    let mut nic = veth(0);
    nic.gateways.v6 = Some(Gateway::Address("fe80::1".parse().unwrap()));
    assert_eq!(plan(&[nic.clone()], &facts()).unwrap()[0].routes, [route("::/0", Some("fe80::1"))]);
    // An address that is valid everywhere goes before one of the link.
    nic.gateways.v6 = Some(Gateway::Auto);
    assert_eq!(plan(&[nic], &facts()).unwrap()[0].routes[1], route("::/0", Some("fd00::1")));
}

#[test]
fn a_router_reaches_the_container_and_answers_for_its_gateways() {
    let mut nic = veth(0);
    nic.kind = Kind::Veth(Veth {
        mode: VethMode::Router,
        routes: vec!["10.9.0.0/16".parse().unwrap()],
        ..Veth::default()
    });
    nic.addresses = vec!["192.0.2.7/32".parse().unwrap()];
    nic.gateways.v4 = Some("169.254.0.1".parse().unwrap());
    let [one] = plan(&[nic], &facts()).unwrap().try_into().unwrap();
    let Making::Pair(pair) = one.making else { panic!("{one:?}") };
    assert_eq!(pair.bridge, None);
    assert_eq!(pair.answers_for, ["169.254.0.1".parse::<IpAddr>().unwrap()]);
    let routes: Vec<String> = pair.routes.iter().map(Subnet::to_string).collect();
    assert_eq!(routes, ["192.0.2.7/32", "10.9.0.0/16"]);
}

#[test]
fn hardware_keeps_its_name_and_a_pattern_means_several() {
    let physical = |link: &str| Nic::new(0, Kind::Physical { link: link.to_owned() });
    let one = Nic { name: Some(name("wan")), ..physical("enp1s0") };
    assert_eq!(plan(&[one], &facts()).unwrap()[0].inside, name("wan"));
    let all = plan(&[physical("enp+")], &facts()).unwrap();
    let names: Vec<&str> = all.iter().map(|nic| nic.inside.as_str()).collect();
    assert_eq!(names, ["enp1s0", "enp2s0"]);
    assert_eq!(all[1].host_name(), Some("enp2s0"));
    assert_eq!(failure(physical("wlan+")).kind(), ErrorKind::NotFound);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let with_link = |link: &str| {
        let kind = Kind::Veth(Veth { link: Some(name(link)), ..Veth::default() });
        Nic { power: Power::On, ..Nic::new(4, kind) }
    };
    let missing = failure(with_link("nobr0"));
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.full_message().contains("`lxc.net.4`") && missing.full_message().contains("`nobr0`"));
    assert_eq!(failure(with_link("enp1s0")).kind(), ErrorKind::InvalidArgument);
    assert_eq!(failure(with_link("ovs0")).kind(), ErrorKind::Unsupported);
    let mut tagged = veth(0);
    tagged.kind = Kind::Veth(Veth {
        link: Some(name("lxcbr0")),
        vlan: PortVlan { untagged: None, tagged: vec![7] },
        ..Veth::default()
    });
    let error = failure(tagged);
    assert!(error.hints()[0].contains("vlan_filtering 1"), "{error:?}");
    let mut off = veth(0);
    (off.power, off.gateways.v4) = (Power::Off, Some(Gateway::Auto));
    assert!(failure(off).hints()[0].contains("flags = up"));
    let mut crossed = veth(0);
    crossed.gateways.v4 = Some("fd00::1".parse().unwrap());
    assert_eq!(failure(crossed).kind(), ErrorKind::InvalidArgument);
}

#[test]
fn an_interface_answers_for_others_only_where_the_host_allows_it() {
    let ipvlan = |address: &str| Nic {
        addresses: vec![address.parse().unwrap()],
        neighbours: Neighbours::Proxied,
        ..Nic::new(
            0,
            Kind::Ipvlan { link: name("enp1s0"), mode: IpvlanMode::L3S, isolation: IpvlanIsolation::Bridge },
        )
    };
    let [one] = plan(&[ipvlan("192.0.2.7/32")], &facts()).unwrap().try_into().unwrap();
    assert_eq!(one.announced.unwrap().link, 4);
    let error = failure(ipvlan("fd00::7/128"));
    assert!(error.hints()[0].contains("proxy_ndp=1"), "{error:?}");
}
