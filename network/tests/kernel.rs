//! Every kind of interface on the kernel of this machine, in network namespaces that each test makes for itself: one plays the
//! host, others the containers. The machine's own interfaces are never touched.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects and what it skips"
)]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use keiki_core::ErrorKind;
use keiki_network::{
    Facts, IpvlanIsolation, IpvlanMode, Kind, Link, MacvlanMode, Making, Mark, Neighbours, Nic, Owner,
    Planned, PortVlan, Power, Rtnetlink, Subnet, Untagged, Veth, VethMode, configure, create, find_marked,
    give_back, move_link, plan, raise_loopback, remove_marked, restore, retract,
};
use nix::sched::{CloneFlags, unshare};

/// Runs a test in a network namespace of its own.
fn on_a_host(test: impl FnOnce(&mut Rtnetlink) + Send) {
    let run = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(&mut Rtnetlink::open().unwrap()),
        Err(error) => println!("skipped: needs root for a network namespace ({error})"),
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Returns a namespace that lives as long as the descriptor.
fn namespace() -> OwnedFd {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        this_namespace()
    };
    std::thread::spawn(make).join().unwrap()
}

fn this_namespace() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

fn owner() -> Owner {
    Owner::new("1f/web1").unwrap()
}

fn name(text: &str) -> keiki_network::InterfaceName {
    text.parse().unwrap()
}

/// Runs the `ip` tool in the namespace of this thread: what the tests need beside the crate.
fn ip(arguments: &str) -> String {
    let output = std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip_inside(inside: &OwnedFd, arguments: &str) -> String {
    std::thread::scope(|scope| {
        let run = || {
            nix::sched::setns(inside, CloneFlags::CLONE_NEWNET).unwrap();
            ip(arguments)
        };
        scope.spawn(run).join().unwrap()
    })
}

fn bridge() {
    ip("link add lxcbr0 type bridge");
    ip("address add 10.0.3.1/24 dev lxcbr0");
    ip("link set lxcbr0 up mtu 1400");
}

fn veth() -> Nic {
    let kind = Kind::Veth(Veth { link: Some(name("lxcbr0")), ..Veth::default() });
    Nic { power: Power::On, ..Nic::new(0, kind) }
}

/// Makes and configures interfaces in a new namespace.
fn make(host: &mut Rtnetlink, nics: &[Nic]) -> keiki_core::Result<(OwnedFd, Vec<Planned>)> {
    let facts = Facts::gather(host, nics)?;
    let planned = plan(nics, &facts)?;
    let container = namespace();
    for nic in &planned {
        create(host, nic, &owner(), container.as_fd())?;
    }
    let mut inside = Rtnetlink::open_in(container.as_fd())?;
    raise_loopback(&mut inside)?;
    for nic in &planned {
        configure(&mut inside, nic)?;
    }
    Ok((container, planned))
}

fn links_inside(container: &OwnedFd) -> Vec<Link> {
    Rtnetlink::open_in(container.as_fd()).unwrap().links().unwrap()
}

fn inside(container: &OwnedFd, name: &str) -> Link {
    links_inside(container).into_iter().find(|link| link.name == name).unwrap()
}

/// Waits until an interface is gone: namespaces are cleaned up behind our back.
fn gone(host: &mut Rtnetlink, name: &str) -> Duration {
    let begun = Instant::now();
    while host.link(name).unwrap().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "`{name}` stays");
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

#[test]
fn a_pair_is_born_in_the_namespace_configured_marked_and_gone_with_it() {
    on_a_host(|host| {
        bridge();
        let mut nic = veth();
        nic.hardware = Some("00:16:3e:01:02:03".parse().unwrap());
        nic.addresses = vec!["10.0.3.7/24".parse().unwrap(), "fd00::7/64".parse().unwrap()];
        nic.gateways.v4 = Some("auto".parse().unwrap());
        let (container, planned) = make(host, &[nic]).unwrap();
        let own = planned[0].host_name().unwrap().to_owned();
        let port = host.link(&own).unwrap().unwrap();
        assert_eq!(port.bridge, Some(host.link("lxcbr0").unwrap().unwrap().index));
        assert_eq!(port.alias.as_deref(), Some("keiki:1f/web1:0"));
        assert!(port.is_up && port.mtu == 1400 && port.hardware.unwrap().octets()[0] == 0xfe);
        let eth0 = inside(&container, "eth0");
        assert!(eth0.is_up && eth0.mtu == 1400 && eth0.kind.as_deref() == Some("veth"));
        assert_eq!(eth0.hardware, Some("00:16:3e:01:02:03".parse().unwrap()));
        assert!(inside(&container, "lo").is_up);
        let addresses = ip_inside(&container, "-br address show dev eth0");
        assert!(addresses.contains("10.0.3.7/24") && addresses.contains("fd00::7/64"), "{addresses}");
        assert!(ip_inside(&container, "address show dev eth0").contains("brd 10.0.3.255"));
        assert_eq!(ip_inside(&container, "route show default").trim(), "default via 10.0.3.1 dev eth0");
        // The port itself has no address, not even one of its link.
        assert_eq!(ip(&format!("-6 address show dev {own}")), "");
        drop(container);
        gone(host, &own);
    });
}

#[test]
fn an_unreachable_gateway_is_reached_through_a_route_of_its_own() {
    on_a_host(|host| {
        bridge();
        let mut nic = veth();
        nic.addresses = vec!["192.0.2.7/32".parse().unwrap(), "2001:db8::7/128".parse().unwrap()];
        nic.gateways.v4 = Some("10.9.9.9".parse().unwrap());
        nic.gateways.v6 = Some("2001:db8:1::1".parse().unwrap());
        let (container, _) = make(host, &[nic]).unwrap();
        let routes = ip_inside(&container, "route show");
        assert!(routes.contains("default via 10.9.9.9 dev eth0"), "{routes}");
        assert!(routes.contains("10.9.9.9 dev eth0 scope link"), "{routes}");
        let routes = ip_inside(&container, "-6 route show");
        assert!(routes.contains("default via 2001:db8:1::1 dev eth0"), "{routes}");
    });
}

#[test]
fn packets_pass_between_two_containers_and_their_gateway() {
    on_a_host(|host| {
        bridge();
        let containers = ["10.0.3.7/24", "10.0.3.8/24"].map(|address| {
            let mut nic = veth();
            nic.addresses = vec![address.parse().unwrap()];
            nic.gateways.v4 = Some("auto".parse().unwrap());
            make(host, &[nic]).unwrap().0
        });
        let said = std::thread::scope(|scope| {
            let listen = || {
                nix::sched::setns(&containers[0], CloneFlags::CLONE_NEWNET).unwrap();
                let socket = std::net::UdpSocket::bind("10.0.3.7:7000").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                socket
            };
            let socket = scope.spawn(listen).join().unwrap();
            let send = || {
                nix::sched::setns(&containers[1], CloneFlags::CLONE_NEWNET).unwrap();
                let sender = std::net::UdpSocket::bind("10.0.3.8:0").unwrap();
                sender.send_to(b"hello", "10.0.3.7:7000").unwrap();
            };
            scope.spawn(send).join().unwrap();
            let mut buffer = [0; 16];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            (buffer[..length].to_vec(), from.ip().to_string())
        });
        assert_eq!(said, (b"hello".to_vec(), "10.0.3.8".to_owned()));
    });
}

#[test]
fn a_port_belongs_to_the_networks_that_are_named() {
    on_a_host(|host| {
        let filtering = ["link", "add", "lxcbr0", "type", "bridge", "vlan_filtering", "1"];
        if !std::process::Command::new("ip").args(filtering).output().unwrap().status.success() {
            println!("skipped: needs a kernel whose bridges tell VLANs apart");
            return;
        }
        let with = |untagged, tagged| {
            let vlan = PortVlan { untagged, tagged };
            Nic { kind: Kind::Veth(Veth { link: Some(name("lxcbr0")), vlan, ..Veth::default() }), ..veth() }
        };
        for (nic, expected, not) in [
            (
                with(Some(Untagged::Network(10)), vec![20, 30]),
                vec!["10 PVID Egress Untagged", "20", "30"],
                Some("1 PVID"),
            ),
            (with(Some(Untagged::Dropped), vec![20]), vec!["20"], Some("PVID")),
            (with(None, vec![20]), vec!["1 PVID Egress Untagged", "20"], None),
        ] {
            let (_container, planned) = make(host, &[nic]).unwrap();
            let own = planned[0].host_name().unwrap();
            let shown =
                std::process::Command::new("bridge").args(["vlan", "show", "dev", own]).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let words: Vec<&str> =
                shown.lines().skip(1).map(|line| line.trim_start_matches(own).trim()).collect();
            assert_eq!(words, expected, "{shown}");
            assert!(not.is_none_or(|not| !words.iter().any(|word| word.starts_with(not))), "{shown}");
        }
    });
}

#[test]
fn a_router_has_routes_to_the_container_and_answers_for_its_gateway() {
    on_a_host(|host| {
        let kind = Kind::Veth(Veth {
            mode: VethMode::Router,
            pair: Some(name("web1-host")),
            routes: vec!["10.77.0.9/16".parse().unwrap()],
            receive_queues: Some(3),
            transmit_queues: Some(2),
            ..Veth::default()
        });
        let mut nic = Nic { power: Power::On, ..Nic::new(3, kind) };
        nic.addresses = vec!["192.0.2.7/32".parse().unwrap(), "2001:db8::7/128".parse().unwrap()];
        nic.gateways.v4 = Some("169.254.0.1".parse().unwrap());
        nic.gateways.v6 = Some("fe80::1".parse().unwrap());
        let (container, _) = make(host, &[nic]).unwrap();
        let routes = ip("route show");
        assert!(routes.contains("192.0.2.7 dev web1-host scope link"), "{routes}");
        assert!(routes.contains("10.77.0.0/16 dev web1-host scope link"), "{routes}");
        assert!(ip("-6 route show").contains("2001:db8::7 dev web1-host"));
        let proxies = ip("neigh show proxy dev web1-host");
        assert!(proxies.contains("169.254.0.1") && proxies.contains("fe80::1"), "{proxies}");
        let details = ip("-d link show dev web1-host");
        assert!(details.contains("numrxqueues 3") && details.contains("numtxqueues 2"), "{details}");
        drop(container);
        gone(host, "web1-host");
        assert_eq!(ip("route show"), "");
    });
}

#[test]
fn a_macvlan_is_born_in_the_namespace_in_every_mode() {
    on_a_host(|host| {
        ip("link add lower type veth peer name other");
        ip("link set lower up");
        for (mode, word) in [
            (MacvlanMode::Private, "private"),
            (MacvlanMode::Vepa, "vepa"),
            (MacvlanMode::Bridge, "bridge"),
            (MacvlanMode::PassThrough, "passthru"),
        ] {
            let mut nic = Nic::new(0, Kind::Macvlan { link: name("lower"), mode });
            nic.power = Power::On;
            nic.mtu = Some(1300);
            nic.name = Some(name("lan0"));
            let (container, planned) = made_at_last(host, &nic);
            assert_eq!(planned[0].host_name(), None);
            let details = ip_inside(&container, "-d link show dev lan0");
            assert!(details.contains(&format!("macvlan mode {word}")), "{details}");
            assert!(details.contains("mtu 1300") && details.contains(",UP"), "{details}");
            assert_eq!(host.links().unwrap().len(), 3, "nothing of it is on the host");
        }
    });
}

/// One that takes everything must be alone, and the kernel cleans up behind our back after those before it.
fn made_at_last(host: &mut Rtnetlink, nic: &Nic) -> (OwnedFd, Vec<Planned>) {
    let begun = Instant::now();
    loop {
        match make(host, std::slice::from_ref(nic)) {
            Err(_) if begun.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(10))
            }
            made => return made.unwrap(),
        }
    }
}

#[test]
fn an_ipvlan_is_born_in_the_namespace_in_every_mode() {
    on_a_host(|host| {
        ip("link add lower type veth peer name other");
        let modes = [(IpvlanMode::L2, "l2"), (IpvlanMode::L3, "l3"), (IpvlanMode::L3S, "l3s")];
        for (mode, word) in modes {
            let kind = Kind::Ipvlan { link: name("lower"), mode, isolation: IpvlanIsolation::Private };
            let container = match make(host, &[Nic::new(0, kind)]) {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    assert!(error.full_message().contains("Unknown device type"), "{error:?}");
                    assert!(error.hints()[0].contains("modprobe ipvlan"), "{error:?}");
                    println!("skipped: needs ipvlan in this kernel");
                    return;
                }
                made => made.unwrap().0,
            };
            let details = ip_inside(&container, "-d link show dev eth0");
            assert!(details.contains(&format!("ipvlan mode {word} private")), "{details}");
        }
    });
}

#[test]
fn a_vlan_is_born_in_the_namespace() {
    on_a_host(|host| {
        ip("link add lower type veth peer name other");
        match make(host, &[Nic::new(0, Kind::Vlan { link: name("lower"), id: 7 })]) {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                assert!(error.hints()[0].contains("modprobe 8021q"), "{error:?}");
                println!("skipped: needs vlan in this kernel");
            }
            made => {
                let details = ip_inside(&made.unwrap().0, "-d link show dev eth0");
                assert!(details.contains("vlan protocol 802.1Q id 7"), "{details}");
            }
        }
    });
}

#[test]
fn hardware_comes_back_with_its_name_packet_size_and_note() {
    on_a_host(|host| {
        ip("link add enp1s0 mtu 1450 type veth peer name other");
        ip("link set enp1s0 alias uplink");
        let mut nic = Nic::new(0, Kind::Physical { link: "enp1s0".to_owned() });
        nic.name = Some(name("wan"));
        nic.mtu = Some(1200);
        nic.power = Power::On;
        nic.hardware = Some("00:16:3e:0a:0b:0c".parse().unwrap());
        let (container, planned) = make(host, &[nic.clone()]).unwrap();
        assert!(host.link("enp1s0").unwrap().is_none());
        let wan = inside(&container, "wan");
        assert_eq!((wan.mtu, wan.is_up, wan.hardware), (1200, true, nic.hardware));
        assert_eq!(wan.alias.as_deref(), Some("keiki:1f/web1:0:enp1s0"));
        let Making::Lent(lent) = &planned[0].making else { panic!("{planned:?}") };
        let mut within = Rtnetlink::open_in(container.as_fd()).unwrap();
        for _ in 0..2 {
            give_back(&mut within, &owner(), lent, this_namespace().as_fd()).unwrap();
            let back = host.link("enp1s0").unwrap().unwrap();
            assert_eq!((back.mtu, back.alias.as_deref()), (1450, Some("uplink")));
        }
    });
}

#[test]
fn hardware_that_the_kernel_brought_home_gets_its_name_again() {
    on_a_host(|host| {
        ip("link add enp1s0 type veth peer name other");
        let nic = Nic::new(2, Kind::Physical { link: "enp1s0".to_owned() });
        let (container, planned) = make(host, &[nic]).unwrap();
        let Making::Lent(lent) = &planned[0].making else { panic!("{planned:?}") };
        // What the kernel does with hardware at the death of a namespace; it destroys a veth, so this plays it.
        let mut within = Rtnetlink::open_in(container.as_fd()).unwrap();
        move_link(&mut within, "enp1s0", this_namespace().as_fd(), &name("dev7")).unwrap();
        ip("link set dev7 mtu 1000");
        assert_eq!(
            remove_marked(host, &owner()).unwrap(),
            Vec::<String>::new(),
            "what was lent is never removed"
        );
        let other = Owner::new("1f/web2").unwrap();
        restore(host, &other, lent).unwrap();
        assert!(host.link("enp1s0").unwrap().is_none());
        for _ in 0..2 {
            restore(host, &owner(), lent).unwrap();
            let back = host.link("enp1s0").unwrap().unwrap();
            assert_eq!((back.mtu, back.alias), (1500, None));
        }
    });
}

#[test]
fn lent_hardware_is_not_lent_twice() {
    on_a_host(|host| {
        ip("link add enp1s0 type veth peer name other");
        ip("link set enp1s0 alias keiki:1f/web9:0:enp1s0");
        let error = make(host, &[Nic::new(0, Kind::Physical { link: "enp1s0".to_owned() })]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.full_message().contains("1f/web9"), "{error:?}");
    });
}

#[test]
fn orphans_are_found_by_their_mark_and_only_those_of_their_owner_removed() {
    on_a_host(|host| {
        bridge();
        let (_container, planned) = make(host, &[veth(), Nic { number: 1, ..veth() }]).unwrap();
        ip("link add foreign type veth peer name other");
        ip("link add web2 type veth peer name web2peer");
        ip("link set web2 alias keiki:1f/web2:0");
        let marks: Vec<Mark> = find_marked(host).unwrap().into_iter().map(|marked| marked.mark).collect();
        assert_eq!(marks.len(), 3);
        let mut removed = remove_marked(host, &owner()).unwrap();
        removed.sort();
        let mut made: Vec<&str> = planned.iter().filter_map(Planned::host_name).collect();
        made.sort_unstable();
        assert_eq!(removed, made);
        assert_eq!(remove_marked(host, &owner()).unwrap(), Vec::<String>::new());
        for kept in ["foreign", "web2", "lxcbr0"] {
            assert!(host.link(kept).unwrap().is_some(), "{kept}");
        }
    });
}

#[test]
fn a_taken_name_is_refused_and_the_foreign_interface_left_alone() {
    on_a_host(|host| {
        bridge();
        ip("link add taken type veth peer name other");
        let kind =
            Kind::Veth(Veth { link: Some(name("lxcbr0")), pair: Some(name("taken")), ..Veth::default() });
        let error = make(host, &[Nic::new(0, kind)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        assert!(error.full_message().contains("`taken`"), "{error:?}");
        let foreign = host.link("taken").unwrap().unwrap();
        assert_eq!((foreign.alias, foreign.bridge), (None, None));
    });
}

#[test]
fn what_cannot_be_finished_is_taken_back() {
    on_a_host(|host| {
        bridge();
        let mut nic = veth();
        // The second route is the first again, which the kernel refuses.
        let route: Subnet = "10.77.0.0/16".parse().unwrap();
        nic.kind = Kind::Veth(Veth {
            link: Some(name("lxcbr0")),
            pair: Some(name("half")),
            routes: vec![route, route],
            ..Veth::default()
        });
        let error = make(host, &[nic]).unwrap_err();
        assert!(error.full_message().contains("`10.77.0.0/16`"), "{error:?}");
        assert!(host.link("half").unwrap().is_none());
    });
}

#[test]
fn errors_have_the_kernels_own_words() {
    on_a_host(|host| {
        bridge();
        let mut nic = veth();
        nic.addresses = vec!["192.0.2.7/32".parse().unwrap()];
        nic.gateways.v4 = Some("10.9.9.9".parse().unwrap());
        let (container, mut planned) = make(host, &[nic]).unwrap();
        ip_inside(&container, "route flush dev eth0");
        planned[0].addresses.clear();
        planned[0].routes.remove(0);
        let mut within = Rtnetlink::open_in(container.as_fd()).unwrap();
        let text = configure(&mut within, &planned[0]).unwrap_err().full_message();
        assert!(text.contains("lxc.net.0") && text.contains("Nexthop has invalid gateway"), "{text}");
    });
}

#[test]
fn what_a_link_answered_for_is_taken_back_and_that_twice() {
    on_a_host(|host| {
        bridge();
        std::fs::write("/proc/sys/net/ipv4/conf/lxcbr0/forwarding", "1").unwrap();
        let mut nic = veth();
        nic.addresses = vec!["192.0.2.7/32".parse().unwrap()];
        nic.neighbours = Neighbours::Proxied;
        let (_container, planned) = make(host, &[nic]).unwrap();
        assert!(ip("neigh show proxy").contains("192.0.2.7 dev lxcbr0"));
        for _ in 0..2 {
            retract(host, &planned[0]).unwrap();
            assert_eq!(ip("neigh show proxy"), "");
        }
    });
}

#[test]
fn an_interface_moves_into_a_container_that_runs_and_out_again() {
    on_a_host(|host| {
        ip("link add enp1s0 type veth peer name other");
        let container = namespace();
        move_link(host, "enp1s0", container.as_fd(), &name("eth5")).unwrap();
        assert!(host.link("enp1s0").unwrap().is_none());
        let mut within = Rtnetlink::open_in(container.as_fd()).unwrap();
        let error = move_link(&mut within, "nope", this_namespace().as_fd(), &name("nope")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        move_link(&mut within, "eth5", this_namespace().as_fd(), &name("enp1s0")).unwrap();
        assert!(host.link("enp1s0").unwrap().is_some());
    });
}

#[test]
fn a_socket_opened_in_a_namespace_leaves_the_thread_where_it_was() {
    on_a_host(|host| {
        bridge();
        let container = namespace();
        let mut within = Rtnetlink::open_in(container.as_fd()).unwrap();
        assert_eq!(within.links().unwrap().len(), 1);
        assert!(Rtnetlink::open().unwrap().link("lxcbr0").unwrap().is_some());
        assert!(host.link("lxcbr0").unwrap().is_some());
    });
}
