//! Containers with interfaces. Each test has a network namespace of its own that plays the host: monitors are born in the namespace of the
//! thread that starts them, so the machine's own interfaces are never touched.

use std::time::{Duration, Instant};

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::ContainerKey;
use keiki_runtime::{StopMode, StopOptions};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};

use super::ground::{Ground, ground, options};

const MAP: &str =
    "lxc.idmap = u 0 700000 65536\nlxc.idmap = g 0 700000 65536\nlxc.rootfs.options = idmap=container\n";

/// A pair on the bridge; the configuration that a test begins with has the number 0 already.
const VETH: &str = "lxc.net.1.type = veth\nlxc.net.1.link = keikibr0\nlxc.net.1.flags = up\n\
     lxc.net.1.ipv4.address = 10.77.0.7/24\nlxc.net.1.ipv4.gateway = auto\n";

/// Runs a test on a host with a bridge.
fn on_a_host(test: impl FnOnce(Ground) + Send) {
    let run = || {
        let Some(ground) = ground() else { return };
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link add keikibr0 type bridge");
        ip("address add 10.77.0.1/24 dev keikibr0");
        ip("link set keikibr0 up");
        test(ground);
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) -> String {
    let output = std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until nothing marked is on the host.
fn wait_until_nothing_is_left() {
    let begun = Instant::now();
    while ip("link show").contains("keiki:") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", ip("link show"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn shut_down(ground: &Ground, key: &ContainerKey) {
    let options = StopOptions { mode: StopMode::Kill, timeout: Duration::ZERO };
    ground.runtime.stop(key, &options).unwrap();
}

#[test]
fn a_container_has_its_interface_address_and_route_and_reaches_its_host() {
    for (stem, map) in [("net", ""), ("netmap", MAP)] {
        on_a_host(|mut ground| {
            let key = ground.create(stem, &format!("{map}{VETH}"));
            ground.start_sleeper(&key);
            assert!(ip("link show").contains(&format!("/{}:1", key.name)), "{}", ip("link show"));
            let shown = ground.output(&key, "ip addr show dev eth0; ip route");
            assert!(shown.contains("inet 10.77.0.7/24 brd 10.77.0.255"), "{shown}");
            assert!(shown.contains("default via 10.77.0.1 dev eth0"), "{shown}");
            assert!(ground.output(&key, "ip link show dev lo").contains("UP"));
            let pinged = ground.output(&key, "ping -c 1 -W 5 10.77.0.1");
            assert!(pinged.contains("1 packets received"), "{pinged}");
            shut_down(&ground, &key);
            wait_until_nothing_is_left();
        });
    }
}

#[test]
fn a_killed_monitor_leaves_no_interface_and_the_next_start_may_use_the_same_name() {
    on_a_host(|mut ground| {
        let key = ground.create("netkill", &format!("{VETH}lxc.net.1.veth.pair = keiki-pair\n"));
        for _ in 0..3 {
            let pid = ground.start_sleeper(&key);
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
            kill_process(Pid::from_raw(parent.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
            let begun = Instant::now();
            while ground.runtime.state(&key).unwrap() != keiki_runtime::ContainerState::Stopped {
                assert!(begun.elapsed() < Duration::from_secs(5));
                std::thread::yield_now();
            }
            // The command that heals removes it explicitly, if the kernel has not got so far.
            ground.start_sleeper(&key);
            shut_down(&ground, &key);
            wait_until_nothing_is_left();
        }
    });
}

#[test]
fn lent_hardware_comes_back_at_the_end_and_after_a_start_that_failed() {
    on_a_host(|mut ground| {
        ip("link add uplink mtu 1450 type veth peer name other");
        let lines =
            "lxc.net.1.type = phys\nlxc.net.1.link = uplink\nlxc.net.1.name = wan\nlxc.net.1.mtu = 1300\n";
        let key = ground.create("netphys", lines);
        ground.start_sleeper(&key);
        assert!(!ip("link show").contains("uplink"));
        assert!(ground.output(&key, "ip link show dev wan").contains("mtu 1300"));
        shut_down(&ground, &key);
        let back = ip("link show dev uplink");
        assert!(back.contains("mtu 1450") && !back.contains("alias"), "{back}");
        let failed = ground.runtime.start(&Context::default(), &key, &options(&["/no/such/program"]));
        assert!(failed.is_err());
        assert!(ip("link show dev uplink").contains("mtu 1450"));
    });
}

#[test]
fn scripts_are_told_of_the_interface_in_both_ways() {
    for (version, expected) in [
        ("0", "NAME net up veth keikibr0 PEER\nNAME net down veth keikibr0 PEER\n"),
        ("1", "up net veth keikibr0 PEER\ndown net veth keikibr0 PEER\n"),
    ] {
        on_a_host(|mut ground| {
            let script = ground.directory.path().join("script");
            let told = ground.directory.path().join("told");
            let words = if version == "0" {
                "$*"
            } else {
                "$LXC_HOOK_TYPE $LXC_HOOK_SECTION $LXC_NET_TYPE $LXC_NET_PARENT $LXC_NET_PEER"
            };
            std::fs::write(&script, format!("#!/bin/sh\necho {words} >> {}\n", told.display())).unwrap();
            std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let script = script.display();
            let key = ground.create(
                "netscript",
                &format!(
                    "{VETH}lxc.hook.version = {version}\nlxc.net.1.veth.pair = keiki-pair\n\
                     lxc.net.1.script.up = {script}\nlxc.net.1.script.down = {script}\n"
                ),
            );
            ground.start_sleeper(&key);
            shut_down(&ground, &key);
            let expected = expected.replace("NAME", key.name.as_str()).replace("PEER", "keiki-pair");
            assert_eq!(std::fs::read_to_string(&told).unwrap(), expected);
        });
    }
}

#[test]
fn a_script_that_fails_fails_the_start_and_leaves_nothing() {
    on_a_host(|mut ground| {
        let key = ground.create("netfail", &format!("{VETH}lxc.net.1.script.up = /bin/false\n"));
        let error =
            ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "9"])).unwrap_err();
        assert!(error.full_message().contains("/bin/false"), "{error:?}");
        wait_until_nothing_is_left();
    });
}

#[test]
fn a_missing_bridge_is_told_with_the_interface_and_what_to_run() {
    on_a_host(|mut ground| {
        let key = ground.create("netbr", "lxc.net.1.type = veth\nlxc.net.1.link = nobr0\n");
        let error =
            ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "9"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.full_message();
        assert!(text.contains("lxc.net.1") && text.contains("`nobr0`"), "{text}");
        assert!(error.hints().iter().any(|hint| hint.contains("keiki net up")), "{error:?}");
    });
}

#[test]
fn a_gateway_that_the_kernel_refuses_fails_the_start_in_its_words() {
    on_a_host(|mut ground| {
        let lines = VETH.replace("auto", "10.77.0.255");
        let key = ground.create("netgw", &lines);
        let error =
            ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "9"])).unwrap_err();
        let text = error.full_message();
        assert!(text.contains("configure the network") && text.contains("eth0"), "{text}");
        wait_until_nothing_is_left();
    });
}

#[test]
fn a_container_may_share_the_hosts_network() {
    on_a_host(|mut ground| {
        let key = ground.create("netnone", "lxc.net.0.type = none\n");
        ground.start_sleeper(&key);
        assert!(ground.output(&key, "ip link").contains("keikibr0"));
        shut_down(&ground, &key);
    });
}

#[test]
fn a_container_that_reboots_gets_its_interfaces_again() {
    on_a_host(|mut ground| {
        ip("link add uplink type veth peer name other");
        let lines = format!("{VETH}lxc.net.2.type = phys\nlxc.net.2.link = uplink\n");
        let key = ground.create("netboot", &lines);
        let program = "test -e /second && exec sleep 1000; touch /second; ip link > /first; exec reboot -f";
        ground.start(&key, &["/bin/sh", "-c", program]);
        let begun = Instant::now();
        let rootfs = key.home().join("rootfs");
        while ground
            .runtime
            .attach(&key, &super::ground::command(&["/bin/sh", "-c", "ip link show dev uplink"]))
            .ok()
            != Some(0)
            || !rootfs.join("second").exists()
        {
            assert!(begun.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(std::fs::read_to_string(rootfs.join("first")).unwrap().contains("uplink"));
        shut_down(&ground, &key);
        assert!(ip("link show dev uplink").contains("uplink"));
    });
}

/// Returns the number of the monitor that a start has just recorded.
fn recorded_monitor(ground: &Ground) -> Option<i32> {
    let state = ground.left_in_run().into_iter().find(|path| path.ends_with("state"))?;
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(state).ok()?).ok()?;
    i32::try_from(record["monitor"]["pid"].as_i64()?).ok()
}

#[test]
fn a_monitor_killed_at_any_moment_of_a_start_leaves_no_interface() {
    on_a_host(|mut ground| {
        let key = ground.create("netany", VETH);
        for attempt in 0..24_u64 {
            let killed = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_secs(5) {
                        if let Some(pid) = recorded_monitor(&ground) {
                            std::thread::sleep(Duration::from_micros(attempt * 250));
                            let pid = Pid::from_raw(pid).unwrap();
                            killed.store(
                                kill_process(pid, Signal::KILL).is_ok(),
                                std::sync::atomic::Ordering::SeqCst,
                            );
                            return;
                        }
                    }
                });
                // It fails, or it was faster.
                drop(ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "1000"])));
            });
            assert!(killed.load(std::sync::atomic::Ordering::SeqCst), "the test tests nothing");
            shut_down(&ground, &key);
            // Not marked yet, it dies with the namespace of its peer all the same, a moment later.
            let begun = Instant::now();
            while ip("link show").contains("veth") {
                assert!(begun.elapsed() < Duration::from_secs(5), "attempt {attempt}: {}", ip("link show"));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
}
