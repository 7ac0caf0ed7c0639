//! `keiki net`, in a network namespace of the test's own: the machine's network is never touched.

use nix::sched::{CloneFlags, unshare};

use crate::harness::Bed;

const SETTINGS: &str = "LXC_BRIDGE=keikibr1\nLXC_ADDR=10.89.0.1\nLXC_NETWORK=10.89.0.0/24\n\
     LXC_DHCP_RANGE=10.89.0.2,10.89.0.99\nLXC_DOMAIN=lxc\n";

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root for a network namespace");
    }
    let tools = ["/usr/sbin/nft", "/usr/sbin/dnsmasq", "/bin/busybox"];
    tools.into_iter().find(|tool| !std::path::Path::new(tool).exists())
}

fn on_a_host(test: impl FnOnce(&Bed) + Send) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let bed = Bed::new();
        std::fs::write(bed.path().join("lxc-net"), SETTINGS).unwrap();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&bed)));
        // Its dnsmasq must not outlive a test that failed.
        net(&bed, "down --force --quiet").ok();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn net(bed: &Bed, line: &str) -> crate::harness::Run {
    bed.line(&format!("net --settings {} {line}", bed.path().join("lxc-net").display()))
}

#[test]
fn the_network_comes_up_is_shown_and_goes_down_each_time_it_is_asked() {
    if let Some(missing) = missing() {
        println!("skipped: needs {missing}");
        return;
    }
    on_a_host(|bed| {
        assert_eq!(net(bed, "down").ok(), "keikibr1 was down\n");
        for _ in 0..2 {
            assert_eq!(net(bed, "up").ok(), "keikibr1 is up with 10.89.0.1/24\n");
        }
        let shown: serde_json::Value = serde_json::from_str(&net(bed, "status -f json").ok()).unwrap();
        assert_eq!(
            (&shown["standing"], &shown["up"], &shown["rules"]),
            (&"ours".into(), &true.into(), &true.into())
        );
        assert!(shown["dnsmasq"].is_u64() && shown["leases"].as_array().unwrap().is_empty(), "{shown}");
        assert!(net(bed, "status").ok().contains("10.89.0.1/24"));
        assert_eq!(net(bed, "down").ok(), "keikibr1 is down\n");
        assert!(net(bed, "status").ok().contains("absent"));
    });
}

#[test]
fn what_is_wrong_with_the_settings_is_told_with_the_line() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("lxc-net"), "# ours\nLXC_ADDR=$(hostname -i)\n").unwrap();
    let run = net(&bed, "status");
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("lxc-net:2: only a shell could understand this"), "{run}");
}

#[test]
fn a_host_that_does_not_want_it_has_nothing_to_do() {
    if let Some(missing) = missing() {
        println!("skipped: needs {missing}");
        return;
    }
    on_a_host(|bed| {
        std::fs::write(bed.path().join("lxc-net"), format!("{SETTINGS}USE_LXC_BRIDGE=false\n")).unwrap();
        assert_eq!(net(bed, "up").ok(), "nothing to do: USE_LXC_BRIDGE is false\n");
        assert!(net(bed, "status").ok().contains("absent"));
    });
}

#[test]
fn containers_get_an_address_by_dhcp_and_find_each_other_by_name() {
    if let Some(missing) = missing() {
        println!("skipped: needs {missing}");
        return;
    }
    on_a_host(|bed| {
        net(bed, "up").ok();
        for name in ["neta", "netb"] {
            bed.line(&format!("create {name} --bdev dir --template busybox -q")).ok();
            let config = bed.lxcpath().join(name).join("config");
            let text = std::fs::read_to_string(&config).unwrap();
            let text = text.replace("lxc.net.0.type = empty\n", "");
            let net = "lxc.net.0.type = veth\nlxc.net.0.link = keikibr1\nlxc.net.0.flags = up\n";
            std::fs::write(&config, format!("{text}{net}")).unwrap();
            bed.line(&format!("start {name} -q -- /bin/sleep 1000")).ok();
            let script = bed.lxcpath().join(name).join("rootfs/lease");
            let lines =
                "#!/bin/sh\ntest \"$1\" = bound || exit 0\n/bin/busybox ip addr add $ip/$mask dev eth0\n";
            std::fs::write(&script, lines).unwrap();
            std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let ask = format!(
                "exec {name} -- /bin/busybox udhcpc -i eth0 -n -q -f -t 10 -T 1 -x hostname:{name} -s /lease"
            );
            bed.line(&ask).ok();
        }
        let answer = bed.line("exec neta -- /bin/busybox nslookup netb.lxc 10.89.0.1").ok();
        let shown: serde_json::Value = serde_json::from_str(&net(bed, "status -f json").ok()).unwrap();
        let lease = shown["leases"].as_array().unwrap().iter().find(|lease| lease["name"] == "netb").unwrap();
        let address = lease["address"].as_str().unwrap();
        assert!(answer.contains(address), "{answer}");
        bed.line(&format!("exec neta -- /bin/busybox ping -c 1 -W 5 {address}")).ok();
        let run = net(bed, "down");
        assert_eq!(run.code, 6, "{run}");
        assert!(run.stderr.contains("(neta)") && run.stderr.contains("(netb)"), "{run}");
        bed.line("stop --kill -q neta netb").ok();
    });
}
