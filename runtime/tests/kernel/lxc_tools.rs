//! LXC's own tools and containers that Keiki runs, and the other way round.

use std::process::Command;
use std::time::Duration;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::ContainerKey;
use keiki_runtime::{ContainerState, Manager, StopMode, StopOptions};

use super::ground::{command, ground, options};

fn has_lxc() -> bool {
    let found = Command::new("lxc-info").arg("--version").output().is_ok();
    if !found {
        println!("skipped: needs lxc-info");
    }
    found
}

/// Runs one of LXC's tools with a deadline: some wait for ever.
fn lxc(tool: &str, key: &ContainerKey, arguments: &[&str]) -> (bool, String) {
    let mut all = vec!["20", tool, "-P", key.lxcpath.to_str().unwrap()];
    all.extend(arguments);
    let output = Command::new("timeout").args(all).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn lxc_sees_and_stops_what_keiki_runs() {
    let Some(mut ground) = ground() else { return };
    if !has_lxc() {
        return;
    }
    let key = ground.create("theirs", "");
    let name = key.name.to_string();
    let pid = ground.start_sleeper(&key);
    let (_, info) = lxc("lxc-info", &key, &["-n", &name]);
    assert!(info.contains("RUNNING") && info.contains(&pid.to_string()), "{info}");
    let (_, list) = lxc("lxc-ls", &key, &["-f"]);
    assert!(list.contains(&name) && list.contains("RUNNING"), "{list}");
    // LXC calls that a success.
    let (_, text) = lxc("lxc-start", &key, &["-n", &name]);
    assert!(text.contains("already running"), "{text}");
    let (is_stopped, text) = lxc("lxc-stop", &key, &["-n", &name, "-k"]);
    assert!(is_stopped, "{text}");
    let long = Some(Duration::from_secs(5));
    ground.runtime.wait(&key, &[ContainerState::Stopped], long).unwrap();
}

#[test]
fn keiki_sees_enters_and_stops_what_lxc_runs() {
    let Some(mut ground) = ground() else { return };
    if !has_lxc() {
        return;
    }
    let key = ground.create("ours", "lxc.apparmor.profile = unconfined\n");
    let name = key.name.to_string();
    let (is_started, text) = lxc("lxc-start", &key, &["-n", &name, "--", "/bin/sleep", "1000"]);
    assert!(is_started, "{text}");
    let status = ground.runtime.status(&key).unwrap();
    assert_eq!((status.state, status.manager), (ContainerState::Running, Some(Manager::Lxc)));
    assert!(status.pid.is_some());
    assert_eq!(ground.runtime.statuses(&key.lxcpath).unwrap()[0].state, ContainerState::Running);
    let error = ground.runtime.start(&Context::default(), &key, &options(&["/bin/true"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("LXC"), "{error}");
    assert_eq!(ground.runtime.attach(&key, &command(&["/bin/sh", "-c", "exit 3"])).unwrap(), 3);
    ground.runtime.stop(&key, &StopOptions { mode: StopMode::Kill, timeout: Duration::ZERO }).unwrap();
    let long = Some(Duration::from_secs(5));
    ground.runtime.wait(&key, &[ContainerState::Stopped], long).unwrap();
}
