//! The host's network for containers, whole: on the kernel of this machine with its dnsmasq and nft, in network namespaces of each
//! test's own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test says what it expects and what it skips"
)]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::{Error, ErrorKind};
use keiki_network::bridge::{Change, Places, Ports, Settings, Standing, down, status, up};
use keiki_network::{
    Facts, Kind, Nic, Owner, Power, Rtnetlink, Veth, configure, create, plan, raise_loopback,
};
use nix::sched::{CloneFlags, setns, unshare};

const TEXT: &str = "LXC_BRIDGE=keikibr0\nLXC_ADDR=10.88.0.1\nLXC_NETWORK=10.88.0.0/24\n\
     LXC_DHCP_RANGE=10.88.0.2,10.88.0.99\nLXC_DOMAIN=lxc\nLXC_DHCP_PING=false\n\
     LXC_IPV6_ADDR=fd00:88::1\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fd00:88::/64\nLXC_IPV6_NAT=true\n";

struct Host {
    _directory: tempfile::TempDir,
    places: Places,
    settings: Settings,
    context: Context,
}

impl Host {
    fn up(&self) -> keiki_core::Result<()> {
        up(&self.context, &self.settings, &self.places)
    }

    fn down(&self, ports: Ports) -> keiki_core::Result<Change> {
        down(&self.context, &self.settings, &self.places, ports)
    }

    fn status(&self) -> keiki_network::bridge::Status {
        status(&self.context, &self.settings, &self.places).unwrap()
    }

    /// Asserts that nothing of the network is there.
    fn is_bare(&self) {
        let status = self.status();
        assert_eq!((status.standing, status.dnsmasq, status.has_rules), (Standing::Absent, None, false));
        assert_eq!(run("nft", "list ruleset"), "");
        let left: Vec<_> =
            std::fs::read_dir(&self.places.run).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "keikibr0.lock"), "{left:?}");
    }
}

fn settings(more: &str) -> Settings {
    Settings::parse(&format!("{TEXT}{more}"), Path::new("lxc-net")).unwrap()
}

/// Runs a test in a network namespace of its own.
fn on_a_host(test: impl FnOnce(&Host) + Send) {
    let run = || {
        if let Some(missing) = missing() {
            println!("skipped: needs {missing}");
            return;
        }
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            run: directory.path().join("run"),
            state: directory.path().join("state"),
            hosts: directory.path().join("hosts"),
        };
        let context = Context::default();
        let host = Host { _directory: directory, places, settings: settings(""), context };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&host)));
        // Its dnsmasq must not outlive a test that failed.
        drop(host.down(Ports::Disconnect));
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root for a network namespace");
    }
    let tools = ["/usr/sbin/nft", "/usr/sbin/dnsmasq", "/bin/busybox"];
    tools.into_iter().find(|tool| !Path::new(tool).exists())
}

fn run(program: &str, arguments: &str) -> String {
    let output = std::process::Command::new(program).args(arguments.split(' ')).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn namespace() -> OwnedFd {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap().into()
    };
    std::thread::spawn(make).join().unwrap()
}

fn within<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// Returns a container's namespace with an interface on the bridge.
fn container(name: &str) -> OwnedFd {
    let mut host = Rtnetlink::open().unwrap();
    let link = Some("keikibr0".parse().unwrap());
    let nics = [Nic { power: Power::On, ..Nic::new(0, Kind::Veth(Veth { link, ..Veth::default() })) }];
    let planned = plan(&nics, &Facts::gather(&mut host, &nics).unwrap()).unwrap();
    let container = namespace();
    create(&mut host, &planned[0], &Owner::new(format!("1f/{name}")).unwrap(), container.as_fd()).unwrap();
    let mut inside = Rtnetlink::open_in(container.as_fd()).unwrap();
    raise_loopback(&mut inside).unwrap();
    configure(&mut inside, &planned[0]).unwrap();
    container
}

/// Asks for an address as a container named `name` does, and sets it with its route.
fn ask_for_an_address(container: &OwnedFd, name: &str, directory: &Path) {
    let script = directory.join(format!("{name}.sh"));
    let text = "#!/bin/sh\ntest \"$1\" = bound || exit 0\nip addr add $ip/$mask dev eth0\nip route add default via $router\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let arguments = format!("udhcpc -i eth0 -n -q -f -t 10 -T 1 -x hostname:{name} -s {}", script.display());
    within(container, || run("busybox", &arguments));
}

#[test]
fn containers_get_addresses_and_names_and_a_way_out() {
    on_a_host(|host| {
        host.up().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let web1 = container("web1");
        let web2 = container("web2");
        ask_for_an_address(&web1, "web1", directory.path());
        ask_for_an_address(&web2, "web2", directory.path());
        let status = host.status();
        assert_eq!(status.standing, Standing::Ours);
        assert!(status.is_up && status.has_rules && status.forwards && status.dnsmasq.is_some());
        assert!(status.addresses.contains(&"10.88.0.1/24".to_owned()), "{:?}", status.addresses);
        assert!(status.addresses.contains(&"fd00:88::1/64".to_owned()), "{:?}", status.addresses);
        let mut owners: Vec<&str> = status
            .ports
            .iter()
            .filter_map(|(_, mark)| mark.as_ref().map(|mark| mark.owner.as_str()))
            .collect();
        owners.sort_unstable();
        assert_eq!(owners, ["1f/web1", "1f/web2"]);
        let mut names: Vec<_> = status.leases.iter().filter_map(|lease| lease.name.clone()).collect();
        names.sort();
        assert_eq!(names, ["web1", "web2"]);
        let own = &status.leases.iter().find(|lease| lease.name.as_deref() == Some("web2")).unwrap().address;
        let answer = within(&web1, || run("busybox", "nslookup web2.lxc 10.88.0.1"));
        assert!(answer.contains(own.as_str()), "{answer}");
        within(&web1, || run("busybox", &format!("ping -c 1 -W 5 {own}")));
        // A neighbour of the host's that knows nothing of our network: it can answer only to the host's own address.
        let outside = namespace();
        run("ip", "link add uplink type veth peer name outside");
        run("ip", "address add 192.0.2.1/24 dev uplink");
        run("ip", "link set uplink up");
        let mut own = Rtnetlink::open().unwrap();
        keiki_network::move_link(&mut own, "outside", outside.as_fd(), &"eth0".parse().unwrap()).unwrap();
        within(&outside, || {
            run("ip", "address add 192.0.2.2/24 dev eth0");
            run("ip", "link set eth0 up");
        });
        within(&web1, || run("busybox", "ping -c 2 -W 5 192.0.2.2"));
        let error = host.down(Ports::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains("(web1)") && error.message().contains("(web2)"), "{error:?}");
        assert!(host.status().dnsmasq.is_some(), "a refusal changes nothing");
        assert_eq!(host.down(Ports::Disconnect).unwrap(), Change::Done);
        host.is_bare();
    });
}

#[test]
fn up_and_down_may_be_done_twice_and_put_the_forwarding_back() {
    on_a_host(|host| {
        let read = |path: &str| std::fs::read_to_string(path).unwrap().trim().to_owned();
        let (ipv4, ipv6) = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding");
        for before in ["0", "1"] {
            std::fs::write(ipv4, before).unwrap();
            std::fs::write(ipv6, "0").unwrap();
            assert_eq!(host.down(Ports::Refuse).unwrap(), Change::Nothing);
            host.up().unwrap();
            let first = host.status();
            host.up().unwrap();
            assert_eq!(host.status(), first, "dnsmasq is the same process");
            assert_eq!((read(ipv4).as_str(), read(ipv6).as_str()), ("1", "1"));
            assert_eq!(host.down(Ports::Refuse).unwrap(), Change::Done);
            assert_eq!((read(ipv4).as_str(), read(ipv6).as_str()), (before, "0"));
            assert_eq!(host.down(Ports::Refuse).unwrap(), Change::Nothing);
            host.is_bare();
        }
    });
}

#[test]
fn other_settings_change_what_differs() {
    on_a_host(|host| {
        host.up().unwrap();
        let first = host.status();
        let more = "LXC_ADDR=10.88.0.2\nLXC_DHCP_RANGE=10.88.0.50,10.88.0.60\nLXC_IPV6_ENABLE=false\n";
        up(&host.context, &settings(more), &host.places).unwrap();
        let second = host.status();
        assert_ne!(second.dnsmasq, first.dnsmasq);
        let wanted: Vec<_> = second.addresses.iter().filter(|address| !address.starts_with("fe80")).collect();
        assert_eq!(wanted, ["10.88.0.2/24"]);
    });
}

#[test]
fn a_foreign_bridge_of_that_name_is_refused_and_left_alone() {
    on_a_host(|host| {
        run("ip", "link add keikibr0 type bridge");
        for error in [host.up().unwrap_err(), host.down(Ports::Disconnect).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Foreign);
            assert!(error.hints()[0].contains("lxc-net"), "{error:?}");
        }
        assert_eq!(host.status().standing, Standing::Foreign);
        assert!(!run("ip", "link show keikibr0").contains("10.88"));
        run("ip", "link delete keikibr0");
    });
}

/// Breaks off at one step.
struct BrokenAt(&'static str);

impl Observer for BrokenAt {
    fn step(&self, name: &str) -> keiki_core::Result<()> {
        if name == self.0 {
            // What a kill leaves: nothing after this point is done, and nothing taken back either.
            panic!("killed at {name}");
        }
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

#[test]
fn killed_at_any_step_the_next_call_completes_or_takes_down() {
    for step in ["net.bridge", "net.forwarding", "net.rules", "net.dnsmasq"] {
        on_a_host(|host| {
            for next in [Change::Done, Change::Nothing] {
                let broken = Context::new(Arc::new(BrokenAt(step)));
                let killed = || up(&broken, &host.settings, &host.places);
                assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(killed)).is_err());
                if next == Change::Done {
                    host.up().unwrap();
                    let status = host.status();
                    assert!(status.dnsmasq.is_some() && status.has_rules, "{step}: {status:?}");
                }
                host.down(Ports::Refuse).unwrap();
                host.is_bare();
            }
        });
    }
    for step in ["net.stop-dnsmasq", "net.remove-rules", "net.remove-bridge", "net.restore-forwarding"] {
        on_a_host(|host| {
            host.up().unwrap();
            let broken = Context::new(Arc::new(BrokenAt(step)));
            let killed = || down(&broken, &host.settings, &host.places, Ports::Refuse);
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(killed)).is_err());
            assert_eq!(host.down(Ports::Refuse).unwrap(), Change::Done, "{step}");
            host.is_bare();
        });
    }
}

/// Fails at one step.
struct FailsAt(&'static str);

impl Observer for FailsAt {
    fn step(&self, name: &str) -> keiki_core::Result<()> {
        if name == self.0 { Err(Error::new(ErrorKind::NoSpace, "no space")) } else { Ok(()) }
    }

    fn progress(&self, _progress: Progress) {}
}

#[test]
fn what_fails_is_taken_back_unless_it_was_there_before() {
    on_a_host(|host| {
        let failing = Context::new(Arc::new(FailsAt("net.dnsmasq")));
        up(&failing, &host.settings, &host.places).unwrap_err();
        host.is_bare();
        host.up().unwrap();
        let before = host.status();
        up(&failing, &host.settings, &host.places).unwrap_err();
        assert_eq!(host.status(), before);
    });
}

#[test]
fn a_dnsmasq_that_cannot_start_is_told_in_its_words() {
    on_a_host(|host| {
        let mut settings = settings("");
        settings.dnsmasq_file = Some("/no/such/file".into());
        let error = up(&host.context, &settings, &host.places).unwrap_err();
        assert!(error.full_message().contains("/no/such/file"), "{error:?}");
        host.is_bare();
    });
}

#[test]
fn a_dead_dnsmasq_is_started_again() {
    on_a_host(|host| {
        host.up().unwrap();
        let first = host.status().dnsmasq.unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let begun = Instant::now();
        while host.status().dnsmasq.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(5));
        }
        host.up().unwrap();
        assert_ne!(host.status().dnsmasq, Some(first));
    });
}
